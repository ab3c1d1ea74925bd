import { once } from 'node:events';
import { type ParsedMail, simpleParser } from 'mailparser';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';

export interface ReceivedMail {
  readonly from: string;
  /** Of the envelope: where it really goes. */
  readonly to: readonly string[];
  /** As it came. */
  readonly raw: string;
  readonly mail: ParsedMail;
  readonly secure: boolean;
}

export interface MailSink {
  readonly port: number;
  readonly received: readonly ReceivedMail[];
  /** What the next recipients are answered with, instead of being taken: null takes them. */
  refuseWith: (address: string) => number | null;
  close(): Promise<void>;
}

/** A mail server on a socket of this machine, which keeps what it is given. */
export async function startMailSink(
  options: SMTPServerOptions = { disabledCommands: ['AUTH', 'STARTTLS'] },
): Promise<MailSink> {
  const received: ReceivedMail[] = [];
  const server = new SMTPServer({
    authOptional: true,
    ...options,
    onRcptTo: ({ address }, _session, callback) => {
      const status = sink.refuseWith(address);
      if (status === null) callback();
      else callback(Object.assign(new Error('refused by the test'), { responseCode: status }));
    },
    onData: (stream, session, callback) => {
      void (async () => {
        const raw = Buffer.concat(await stream.toArray()).toString();
        const { mailFrom, rcptTo } = session.envelope;
        received.push({
          from: mailFrom === false ? '' : mailFrom.address,
          to: rcptTo.map(({ address }) => address),
          raw,
          mail: await simpleParser(raw),
          secure: session.secure,
        });
        callback();
      })();
    },
  });
  // Of connections that clients break off.
  server.on('error', () => undefined);
  const listening = server.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  const address = listening.address();
  const sink: MailSink = {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    received,
    refuseWith: () => null,
    close: () => new Promise((done) => server.close(done)),
  };
  return sink;
}
