import { once } from 'node:events';
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { connect as connectTls } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { Authority, type Issued } from './support/certificates.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { ask, startGateWithMock } from './support/models.ts';
import { call, type MtlsGate, serverAuthority, startMtlsGate, whoIs } from './support/mtls.ts';

/** What becomes of connections and calls when certificate, key or trust bundle change under them. */

let mtls: MtlsGate;
let mock: MockUpstream;
const renewed = new Authority('Agents of next year');

beforeAll(async () => {
  mtls = await startMtlsGate({ env: { RATE_LIMIT_ADMIN_PER_MINUTE: '100000' } }, async (options) => {
    const started = await startGateWithMock(options);
    ({ mock } = started);
    return started;
  });
  for (const name of ['builder', 'tester']) {
    await mtls.gate.api('AgentService/CreateAgent', { name, certificateScopes: ['models:invoke'] });
  }
  await mtls.gate.budget({ name: 'all', unit: 'USD', limit: 10n ** 15n });
});
afterAll(() => mtls?.stop());

const who = (client: Issued) => whoIs(mtls.url, client);

async function metric(name: string): Promise<number> {
  const answer = await fetch(`${mtls.gate.url}/metrics`, {
    headers: { authorization: `Bearer ${mtls.gate.adminKey}` },
  });
  const line = (await answer.text()).split('\n').find((text) => text.startsWith(`${name} `));
  return Number(line?.split(' ').at(-1) ?? 0);
}

async function readiness(): Promise<unknown> {
  const answer = await fetch(`${mtls.gate.url}/readyz`);
  return answer.json();
}

/** Waits until the gate took what was put there. */
async function taken(result: 'ok' | 'refused', put: () => void): Promise<void> {
  const name = `tls_reloads_total{result="${result}"}`;
  const before = await metric(name);
  put();
  await expect.poll(() => metric(name), { timeout: 30_000 }).toBeGreaterThan(before);
}

/** A stream of an answer that takes long, under way, with what became of it. */
async function startStream(session: ClientHttp2Session, model: string) {
  await mock.script({ model, tokens: 100_000, tokensPerSecond: 20 });
  const stream = session.request({ ':method': 'POST', ':path': '/v1/messages', 'content-type': 'application/json' });
  const ended = once(stream, 'close');
  stream.on('error', () => undefined);
  stream.end(ask(model, { stream: true, max_tokens: 100_000 }));
  const [headers] = await once(stream, 'response');
  expect(headers[':status']).toBe(200);
  await once(stream, 'data');
  stream.resume();
  return { stream, ended };
}

function open(client: Issued): ClientHttp2Session {
  const session = connectHttp2(mtls.url, { ...client, ca: serverAuthority.cert });
  session.on('error', () => undefined);
  return session;
}

// Whatever a test left there.
afterEach(() =>
  taken('ok', () => {
    mtls.files.putBundle(mtls.authority);
    mtls.files.putServer(serverAuthority.server());
  }),
);

describe('a trust bundle that changes', () => {
  it('ends who is no longer covered, streams in flight included, and nobody else', async () => {
    const oldAgent = mtls.authority.agent('builder');
    const newAgent = renewed.agent('tester');
    expect(await who(newAgent)).not.toBe('tester');
    await taken('ok', () => mtls.files.putBundle(mtls.authority, renewed));

    const [leaving, staying] = [open(oldAgent), open(newAgent)];
    const ending = await startStream(leaving, 'claude-leaving');
    const going = await startStream(staying, 'claude-staying');

    // Calls go on all the while, and none of them may notice.
    const answers: string[] = [];
    const reload = { isOver: false };
    const load = async () => {
      while (!reload.isOver) answers.push(await who(newAgent));
    };
    const workers = [load(), load()];
    await taken('ok', () => mtls.files.putBundle(renewed));
    await ending.ended;
    await expect.poll(() => leaving.destroyed, { timeout: 20_000 }).toBe(true);
    reload.isOver = true;
    await Promise.all(workers);

    expect(new Set(answers)).toEqual(new Set(['tester']));
    expect(going.stream.destroyed).toBe(false);
    expect(await who(oldAgent)).not.toBe('builder');
    staying.destroy();
    // Whoever left takes its upstream call along.
    await vi.waitFor(async () => expect(await metric('calls_in_flight')).toBe(0), { timeout: 30_000 });
  });

  it('that does not hold changes nothing, and log, metric and readiness say so', async () => {
    const agent = mtls.authority.agent('builder');
    const ended = new Authority('Ended', undefined, { toS: -10 });
    const cutOff = mtls.authority.cert + renewed.cert.slice(0, -50);
    for (const content of ['', 'garbage', mtls.authority.agent('builder').cert, ended.cert, cutOff]) {
      await taken('refused', () => mtls.files.put(mtls.files.bundle, content));
      expect(await who(agent)).toBe('builder');
    }
    expect(await readiness()).toMatchObject({ server: 'ok', tls_files: 'outdated' });
    expect(await mtls.gate.settledLog()).toContain('MTLS_TRUST_BUNDLE_FILE does not hold');
    await taken('ok', () => mtls.files.putBundle(mtls.authority));
    expect(await readiness()).toMatchObject({ server: 'ok', tls_files: 'ok' });
  });

  it('is still TLS 1.3 alone, with a certificate alone, and takes up no session of before', async () => {
    const agent = mtls.authority.agent('builder');
    const { hostname, port } = new URL(mtls.url);
    const tls = { host: hostname, port: Number(port), ca: serverAuthority.cert, ...agent };
    const first = connectTls(tls);
    first.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
    const [session] = await once(first, 'session');
    first.destroy();
    await taken('ok', () => mtls.files.putBundle(renewed));
    const second = connectTls({ ...tls, session });
    let received = '';
    second.on('error', () => undefined).on('data', (chunk: Buffer) => (received += String(chunk)));
    second.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await new Promise((resolve) => second.once('close', resolve));
    expect(received).toBe('');
    await expect(call(mtls.url, renewed.agent('builder'), '/healthz', { maxVersion: 'TLSv1.2' })).rejects.toThrow(
      /protocol version|EPROTO/i,
    );
    await expect(call(mtls.url, {}, '/healthz')).rejects.toThrow(
      /E(PROTO|CONNRESET|RR_SSL)|alert|hang up|disconnected/i,
    );
  });
});

it('an agent that is disabled, or whose person is, loses its streams in flight', async () => {
  const { person } = await mtls.gate.api<{ person: { id: string } }>('ProjectService/CreatePerson', {
    email: 'owner@example.com',
    name: 'Owner',
  });
  const make = (name: string, more: object = {}) =>
    mtls.gate.api<{ agent: { id: string } }>('AgentService/CreateAgent', {
      name,
      certificateScopes: ['models:invoke'],
      ...more,
    });
  const { agent } = await make('leaver');
  await make('owned', { personId: person.id });
  const ends = [
    ['leaver', () => mtls.gate.api('AgentService/DisableAgent', { agentId: agent.id })],
    ['owned', () => mtls.gate.api('ProjectService/DisablePerson', { personId: person.id })],
  ] as const;
  for (const [name, end] of ends) {
    const session = open(mtls.authority.agent(name));
    const { ended } = await startStream(session, `claude-${name}`);
    await end();
    await ended;
    expect(await who(mtls.authority.agent(name))).toBe('401');
    session.destroy();
  }
});

describe('a server certificate that changes', () => {
  it('is shown to new connections, while those of before go on', async () => {
    const session = open(mtls.authority.agent('builder'));
    const { stream } = await startStream(session, 'claude-through');
    const next = serverAuthority.server({ commonName: 'next' });
    await taken('ok', () => mtls.files.putServer(next));
    await expect.poll(shownName, { timeout: 20_000 }).toBe('next');
    expect(stream.destroyed).toBe(false);
    session.destroy();
    expect(await metric('tls_certificate_not_after_seconds')).toBeGreaterThan(Date.now() / 1000);
  });

  it.each<[string, () => Issued, string]>([
    [
      'is of another key',
      () => ({ ...serverAuthority.server(), key: mtls.authority.key }),
      'MTLS_KEY_FILE does not hold',
    ],
    ['has ended', () => serverAuthority.server({ fromS: -100, toS: -10 }), 'MTLS_CERT_FILE does not hold'],
    ['has not begun', () => serverAuthority.server({ fromS: 600, toS: 1200 }), 'MTLS_CERT_FILE does not hold'],
    ['is none', () => ({ cert: 'none', key: mtls.authority.key }), 'MTLS_CERT_FILE does not hold'],
    ['has a key that is none', () => ({ ...serverAuthority.server(), key: 'none' }), 'MTLS_KEY_FILE does not hold'],
  ])('and %s is not taken', async (_title, made, message) => {
    const before = await shownName();
    await taken('refused', () => mtls.files.putServer(made()));
    expect(await shownName()).toBe(before);
    const log = await mtls.gate.settledLog();
    expect(log).toContain(message);
    expect(log).not.toContain('PRIVATE KEY');
  });

  it('is warned of before it ends', async () => {
    await taken('ok', () => mtls.files.putServer(serverAuthority.server({ fromS: -1000, toS: 100 })));
    await expect
      .poll(() => mtls.gate.settledLog(), { timeout: 60_000 })
      .toContain('the certificate in MTLS_CERT_FILE ends soon');
  });

  async function shownName(): Promise<string> {
    const { hostname, port } = new URL(mtls.url);
    const agent = mtls.authority.agent('builder');
    const socket = connectTls({ host: hostname, port: Number(port), ca: serverAuthority.cert, ...agent });
    await once(socket, 'secureConnect');
    const name = socket.getPeerX509Certificate()?.subject ?? '';
    socket.destroy();
    return name.replace('CN=', '');
  }
});
