import { createServer, type Socket } from 'node:net';
import { once } from 'node:events';
import type { SMTPServerOptions } from 'smtp-server';
import { afterEach, describe, expect, it } from 'vitest';
import { Authority } from '../../../../test/support/certificates.ts';
import { type MailSink, startMailSink } from '../../../../test/support/mail-sink.ts';
import type { Approval } from '../model.ts';
import { createEmail, type EmailOptions } from './email.ts';

const opened: { close(): unknown }[] = [];
afterEach(async () => {
  for (const thing of opened.splice(0).toReversed()) await thing.close();
});

const approval = {
  id: 'apr_1',
  kind: 'model_call',
  risk: 'normal',
  quorum: 1,
  requester: { kind: 'agent', name: 'builder' },
  runId: null,
  action: 'models.invoke:opus',
  summary: 'Ask opus.',
  expiresAt: Date.now() + 60_000,
} as Approval;
const lead = {
  url: 'https://gate.example/v1/hitl/approve/apr_1?token=p1.a.b',
  decides: true,
  endsAt: approval.expiresAt,
};
const ada = { id: 'psn_ada', email: 'ada@example.com' };
const never = new AbortController().signal;

async function sink(...options: Parameters<typeof startMailSink>): Promise<MailSink> {
  const started = await startMailSink(...options);
  opened.push(started);
  return started;
}

function email(port: number, more: Partial<EmailOptions> = {}) {
  const channel = createEmail({
    host: '127.0.0.1',
    port,
    tls: 'off',
    user: null,
    password: null,
    from: 'Portcullis <gate@example.com>',
    ...more,
  });
  opened.push(channel);
  return channel;
}

describe('Mail', () => {
  it('comes to one person, from the configured address, under an id that stays', async () => {
    const { port, received } = await sink();
    const channel = email(port);
    for (let n = 0; n < 2; n++) expect(await channel.send(approval, lead, ada, never)).toEqual({ outcome: 'sent' });
    const [first, second] = received;
    expect(first).toMatchObject({ from: 'gate@example.com', to: ['ada@example.com'], secure: false });
    expect(first?.mail.subject).toBe('Approval needed: a model call');
    expect(first?.mail.text).toContain(lead.url);
    expect(first?.mail.html).toContain('<a href="https://gate.example/v1/hitl/approve/apr_1?token=p1.a.b">');
    expect(first?.mail.headers.get('auto-submitted')).toBe('auto-generated');
    expect(first?.mail.messageId).toMatch(/^<apr_1\.[0-9a-f]{16}@example\.com>$/);
    expect(second?.mail.messageId).toBe(first?.mail.messageId);
    expect(first?.raw).not.toContain('psn_ada');
  });

  it('has no header, recipient or part that its requester made up', async () => {
    const { port, received } = await sink();
    const evil = `x\r\nBcc: spy@example.com\r\nSubject: won\r\n\r\n<script>alert(1)</script>\r\n.\r\nMAIL FROM:<a@b.c>`;
    const hostile = { ...approval, summary: evil, action: evil, requester: { ...approval.requester, name: evil } };
    expect(await email(port).send(hostile, lead, ada, never)).toEqual({ outcome: 'sent' });
    expect(received).toHaveLength(1);
    const [{ mail, to } = expect.fail('nothing came')] = received;
    expect(to).toEqual(['ada@example.com']);
    expect([...mail.headers.keys()].toSorted()).toEqual([
      'auto-submitted',
      'content-type',
      'date',
      'from',
      'message-id',
      'mime-version',
      'subject',
      'to',
      'x-auto-response-suppress',
    ]);
    expect(mail.subject).toBe('Approval needed: a model call');
    expect(mail.html).not.toContain('<script');
    expect(mail.attachments).toEqual([]);
  });

  it.each([
    'a@example.com, spy@example.com',
    'ada@example.com\r\nBcc: spy@example.com',
    'Ada <ada@example.com>',
    '"ada spy"@example.com',
    'ada@example.com>',
    'ada',
    '@example.com',
    '',
  ])('goes to nothing that is more or less than one address: %j', async (address) => {
    const { port, received } = await sink();
    expect(await email(port).send(approval, lead, { id: 'psn_x', email: address }, never)).toMatchObject({
      outcome: 'failed',
    });
    expect(received).toEqual([]);
  });

  it('is given up where the server refuses the person for good, and tried again where it may come right', async () => {
    const server = await sink();
    const channel = email(server.port);
    server.refuseWith = () => 550;
    expect(await channel.send(approval, lead, ada, never)).toEqual({ outcome: 'failed', note: 'EENVELOPE 550' });
    server.refuseWith = () => 451;
    expect(await channel.send(approval, lead, ada, never)).toEqual({ outcome: 'retry', note: 'EENVELOPE 451' });
    await server.close();
    opened.splice(opened.indexOf(server), 1);
    expect(await channel.send(approval, lead, ada, never)).toEqual({ outcome: 'retry', note: 'ESOCKET' });
  });

  it('does not wait for a silent server once the gate stops', async () => {
    const held: Socket[] = [];
    const silent = createServer((socket) => void held.push(socket.on('error', () => undefined)));
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    opened.push({ close: () => (silent.close(), held.forEach((socket) => socket.destroy())) });
    const address = silent.address();
    const stopping = new AbortController();
    const channel = email(typeof address === 'object' && address ? address.port : 0);
    const sending = channel.send(approval, lead, ada, stopping.signal);
    await expect.poll(() => held.length).toBe(1);
    stopping.abort();
    expect(await sending).toEqual({ outcome: 'retry', note: 'shutting down' });
  });
});

describe('TLS', () => {
  const authority = new Authority('Mail authority');
  const { cert, key } = authority.server();
  const login = (expected: string): SMTPServerOptions => ({
    cert,
    key,
    authOptional: false,
    onAuth: ({ username, password }, _session, callback) =>
      username === 'gate' && password === expected
        ? callback(null, { user: 'gate' })
        : callback(Object.assign(new Error('no'), { responseCode: 535 })),
  });
  const trusted = { host: 'localhost', ca: [authority.cert] };

  it('is what mail goes through, STARTTLS or from the first byte, with a login', async () => {
    const upgraded = await sink(login('pässword%'));
    const credentials = { user: 'gate', password: 'pässword%' };
    const channel = email(upgraded.port, { ...trusted, ...credentials, tls: 'required' });
    expect(await channel.send(approval, lead, ada, never)).toEqual({ outcome: 'sent' });
    expect(upgraded.received[0]?.secure).toBe(true);
    const implicit = await sink({ ...login('p'), secure: true });
    const other = email(implicit.port, { ...trusted, user: 'gate', password: 'p', tls: 'implicit' });
    expect(await other.send(approval, lead, ada, never)).toEqual({ outcome: 'sent' });
    const wrong = email(implicit.port, { ...trusted, user: 'gate', password: 'q', tls: 'implicit' });
    expect(await wrong.send(approval, lead, ada, never)).toEqual({ outcome: 'retry', note: 'EAUTH 535' });
  });

  it('is not left out because a server offers none, nor because its certificate does not hold', async () => {
    const stripped = await sink();
    const channel = email(stripped.port, { ...trusted, tls: 'required' });
    expect(await channel.send(approval, lead, ada, never)).toMatchObject({ outcome: 'retry' });
    expect(stripped.received).toEqual([]);
    const server = await sink({ cert, key, disabledCommands: ['AUTH'] });
    const untrusting = email(server.port, { host: 'localhost', tls: 'required' });
    expect(await untrusting.send(approval, lead, ada, never)).toMatchObject({ outcome: 'retry' });
    expect(server.received).toEqual([]);
  });
});
