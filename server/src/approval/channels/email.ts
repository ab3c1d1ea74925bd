import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createTransport } from 'nodemailer';
import { approvalMessageMs } from '../../base/approval-limits.ts';
import type { Approval } from '../model.ts';
import type { Channel, Lead, Recipient, Sent } from './model.ts';
import { mailWords } from './wording.ts';

export interface EmailOptions {
  readonly host: string;
  readonly port: number;
  /** `implicit`: TLS from the first byte. `required`: STARTTLS, or nothing is sent. `off`: in the clear. */
  readonly tls: 'implicit' | 'required' | 'off';
  readonly user: string | null;
  readonly password: string | null;
  /** Who the mail is from: an address, or a name and an address in angle brackets. */
  readonly from: string;
  /** Certificates, in PEM, trusted instead of those that Node trusts. */
  readonly ca?: readonly string[];
}

const connectMs = 10_000;

/** One address and nothing else: no list, no comment, no quoting, no line break. */
const address = /^[^\s@<>()[\]\\,;:"\p{C}]{1,64}@[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/iu;

/** Mail to everyone who may decide, one to each, by SMTP. */
export function createEmail(options: EmailOptions): Channel {
  const { host, port, tls, user, password, from, ca } = options;
  const transport = createTransport({
    host,
    port,
    secure: tls === 'implicit',
    requireTLS: tls === 'required',
    ignoreTLS: tls === 'off',
    tls: { minVersion: 'TLSv1.2', ...(ca && { ca: [...ca] }) },
    ...(user !== null && { auth: { user, pass: password ?? '' } }),
    connectionTimeout: connectMs,
    greetingTimeout: connectMs,
    socketTimeout: connectMs,
    dnsTimeout: connectMs,
    // A message is what wording.ts makes: nothing in it names a file or an address to be read.
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  const domain = /@([^\s>]+)>?$/.exec(from)?.[1] ?? host;
  return {
    name: 'email',
    audience: { kind: 'everyone' },
    async send(approval: Approval, lead: Lead, to: Recipient | null, signal: AbortSignal): Promise<Sent> {
      if (to === null || !address.test(to.email)) return { outcome: 'failed', note: 'no address that mail can go to' };
      const sending = transport.sendMail({
        from,
        to: { name: '', address: to.email },
        ...mailWords(approval, lead),
        messageId: `<${approval.id}.${tag(to.id)}@${domain}>`,
        // RFC 3834: that nobody's absence answers.
        headers: { 'Auto-Submitted': 'auto-generated', 'X-Auto-Response-Suppress': 'All' },
      });
      const late = new AbortController();
      const timer = sleep(approvalMessageMs, 'late', { signal: AbortSignal.any([signal, late.signal]) });
      try {
        const first = await Promise.race([sending, timer]);
        return first === 'late' ? { outcome: 'retry', note: 'no answer in time' } : { outcome: 'sent' };
      } catch (error) {
        return signal.aborted ? { outcome: 'retry', note: 'shutting down' } : outcomeOf(error);
      } finally {
        late.abort();
        // Whichever of them is left over has nobody to tell.
        timer.catch(() => undefined);
        sending.catch(() => undefined);
      }
    },
    close: () => transport.close(),
  };
}

/** One mail of a request to a person is one to their mail program, however often it comes. */
function tag(personId: string): string {
  return createHash('sha256').update(personId).digest('hex').slice(0, 16);
}

/** A 5xx answer to a recipient or a message is final (RFC 5321, 4.2.1); one to a login may be a password that is being changed. */
function outcomeOf(error: unknown): Sent {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'no code';
  const status = error instanceof Error && 'responseCode' in error ? Number(error.responseCode) : 0;
  const note = status > 0 ? `${code} ${status}` : code;
  return status >= 500 && (code === 'EENVELOPE' || code === 'EMESSAGE')
    ? { outcome: 'failed', note }
    : { outcome: 'retry', note };
}
