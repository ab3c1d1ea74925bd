import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { credentials, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authority, type Issued, type Leaf, publicKeyOf, thumbprint } from './support/certificates.ts';
import { bearer, send } from './support/doors.ts';
import { StockClient } from './support/grpc.ts';
import { call, freshAddress, type MtlsGate, serverAuthority, startMtlsGate, whoIs } from './support/mtls.ts';

let mtls: MtlsGate;
let builder: { id: string };

beforeAll(async () => {
  mtls = await startMtlsGate({ env: { RATE_LIMIT_ADMIN_PER_MINUTE: '100000' } });
  builder = await agent('builder', ['models:invoke', 'runs:write']);
});
afterAll(() => mtls?.stop());

async function agent(name: string, certificateScopes: readonly string[] = []): Promise<{ id: string }> {
  const made = await mtls.gate.api<{ agent: { id: string } }>('AgentService/CreateAgent', { name, certificateScopes });
  return made.agent;
}

async function keyOf(agentId: string, more: object = {}): Promise<string> {
  const asked = { name: 'a key', kind: 'PRINCIPAL_KIND_AGENT', agentId, scopes: ['runs:write'], ...more };
  return (await mtls.gate.api<{ secret: string }>('AgentService/CreateKey', asked)).secret;
}

async function operatorKey(more: object = {}): Promise<string> {
  const asked = { name: 'ops', kind: 'PRINCIPAL_KIND_OPERATOR', scopes: ['admin'], ...more };
  return (await mtls.gate.api<{ secret: string }>('AgentService/CreateKey', asked)).secret;
}

const who = (client: Partial<Issued>, key?: string) => whoIs(mtls.url, client, key);

/** The reason that the log has for the last refusal. */
async function lastReason(): Promise<unknown> {
  const lines = (await mtls.gate.settledLog())
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  return lines.findLast(({ auth_reason: reason }) => reason !== undefined)?.auth_reason;
}

async function metric(name: string): Promise<number> {
  const { text } = await send(mtls.gate.url, { path: '/metrics', headers: bearer(mtls.gate.adminKey) });
  const line = text.split('\n').find((each) => each.startsWith(`${name} `));
  return Number(line?.split(' ').at(-1) ?? 0);
}

describe('a connection', () => {
  it('is made with a certificate of the bundle, and speaks TLS 1.3 alone', async () => {
    const good = mtls.authority.agent('builder');
    expect(await who(good)).toBe('builder');
    const options = { maxVersion: 'TLSv1.2' as const };
    await expect(call(mtls.url, good, '/healthz', options)).rejects.toThrow(/protocol version|EPROTO/i);
  });

  it.each<[string, () => Partial<Issued>]>([
    ['no certificate', () => ({})],
    ['one of another authority', () => new Authority('Others').agent('builder')],
    ['one of an authority of the same name', () => new Authority('Agents').agent('builder')],
    ['one of the authority of servers', () => serverAuthority.agent('builder')],
    ['one that has ended', () => mtls.authority.agent('builder', { fromS: -100, toS: -10 })],
    ['one that has not begun', () => mtls.authority.agent('builder', { fromS: 600, toS: 1200 })],
    ['one for servers only', () => mtls.authority.agent('builder', { usages: ['2b06010505070301'] })],
    ['one that an agent signed', () => signedByAnAgent()],
  ])('is not made with %s', async (_title, client) => {
    expect(await who(client())).toMatch(/^E(PROTO|RR_SSL|CONNRESET|PIPE)/);
  });

  it('is not made with a certificate whose private key the client has not', async () => {
    const { cert } = mtls.authority.agent('builder');
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const thief = { cert, key: privateKey.export({ type: 'pkcs8', format: 'pem' }) };
    expect(await who(thief)).not.toBe('builder');
  });

  it.each<[string, () => Partial<Issued>]>([
    ['certificate_missing', () => ({})],
    ['certificate_untrusted', () => new Authority('Others').agent('builder')],
  ])('that is not made is counted as %s, and the log says so', async (reason, client) => {
    const name = `tls_handshakes_refused_total{reason="${reason}"}`;
    const before = await metric(name);
    const logged = async () => (await mtls.gate.settledLog()).split(`"reason":"${reason}"`).length;
    const linesBefore = await logged();
    await who(client());
    expect(await metric(name)).toBe(before + 1);
    // Lines are a second apart at least, so that nobody fills the log.
    await expect
      .poll(async () => [await who(client()), await logged()].at(-1), { timeout: 30_000, interval: 500 })
      .toBeGreaterThan(linesBefore);
  });

  it('that a client gives up is counted too', async () => {
    const before = await metric('tls_handshakes_refused_total{reason="closed"}');
    const { hostname, port } = new URL(mtls.url);
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    socket.resetAndDestroy();
    const now = () => metric('tls_handshakes_refused_total{reason="closed"}');
    await expect.poll(now, { timeout: 20_000 }).toBeGreaterThan(before);
  });

  it("is a browser's from our own https origin, and no other", async () => {
    const from = (origin: string) =>
      call(mtls.url, mtls.authority.agent('builder'), '/v1/models', { headers: { origin } });
    expect((await from(mtls.url)).status).toBe(200);
    expect((await from(mtls.url.replace('https:', 'http:'))).status).toBe(403);
  });

  it('is made anew each time: no session is taken up again', async () => {
    const good = mtls.authority.agent('builder');
    const { hostname, port } = new URL(mtls.url);
    const open = (session?: Buffer) =>
      connectTls({
        host: hostname,
        port: Number(port),
        ca: serverAuthority.cert,
        ...good,
        ...(session && { session }),
      });
    const first = open();
    first.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
    const [session] = await once(first, 'session');
    first.destroy();
    const second = open(session);
    await once(second, 'secureConnect');
    expect(second.isSessionReused()).toBe(false);
    second.destroy();
  });

  function signedByAnAgent(): Issued {
    const leaf = new Authority('builder', mtls.authority, { ca: false, keyUsage: 0x80 });
    const { cert, key } = leaf.agent('builder');
    return { cert: cert + leaf.cert, key };
  }
});

describe('a certificate alone', () => {
  it('is the agent that it names, by name or id, with the scopes that the agent was given for it', async () => {
    for (const name of ['builder', builder.id]) {
      const options = { body: '{}' };
      const client = mtls.authority.agent(name);
      const { text } = await call(mtls.url, client, '/portcullis.v1.SystemService/GetSelf', options);
      expect(JSON.parse(text).principal).toMatchObject({
        kind: 'PRINCIPAL_KIND_AGENT',
        id: builder.id,
        agentId: builder.id,
        scopes: ['models:invoke', 'runs:write'],
      });
    }
  });

  it('opens what these scopes open, at every door, and nothing else', async () => {
    const client = mtls.authority.agent('builder');
    const start = { body: '{"workflow":"w"}' };
    expect((await call(mtls.url, client, '/portcullis.v1.RunService/StartRun', start)).status).toBe(200);
    expect((await call(mtls.url, client, '/v1/models')).status).toBe(200);
    const list = { body: '{}' };
    expect((await call(mtls.url, client, '/portcullis.v1.AgentService/ListKeys', list)).status).toBe(403);
    expect((await call(mtls.url, client, '/metrics')).status).toBe(404);
    expect((await call(mtls.url, client, '/healthz')).text).toBe('ok');
  });

  it('has no scope unless the agent was given some', async () => {
    await agent('newcomer');
    const client = mtls.authority.agent('newcomer');
    expect(await who(client)).toBe('newcomer');
    expect((await call(mtls.url, client, '/v1/models')).status).toBe(403);
  });

  it('cannot be given what no agent may hold, nor what its maker lacks or is limited by', async () => {
    await expect(agent('boss', ['admin'])).rejects.toThrow('An agent cannot hold admin');
    const lesser = await operatorKey({ scopes: ['keys:write'], neverExpires: true });
    const make = (name: string, key: string) =>
      mtls.gate.api('AgentService/CreateAgent', { name, certificateScopes: ['runs:write'] }, key);
    await expect(make('a', lesser)).rejects.toThrow('insufficient_scope');
    await expect(make('b', await operatorKey({ lifetime: '3600s' }))).rejects.toThrow('for a time only');
  });

  it.each<[string, Leaf, string]>([
    [
      'two ids',
      { uris: ['spiffe://example.org/agent/builder', 'spiffe://example.org/agent/x'] },
      'certificate_without_name',
    ],
    ['another trust domain', { uris: ['spiffe://example.com/agent/builder'] }, 'wrong_trust_domain'],
    ['a workload that is no agent', { uris: ['spiffe://example.org/ns/builder'] }, 'certificate_without_name'],
    ['an agent and more', { uris: ['spiffe://example.org/agent/builder/x'] }, 'certificate_without_name'],
    ['an agent that is not there', { uris: ['spiffe://example.org/agent/nobody'] }, 'unknown_agent'],
    ['the id in its common name', { commonName: 'spiffe://example.org/agent/builder' }, 'certificate_without_name'],
    ['the id in a DNS name', { dns: ['x, URI:spiffe://example.org/agent/builder'] }, 'certificate_without_name'],
    [
      'the rights of an authority',
      { uris: ['spiffe://example.org/agent/builder'], ca: true, keyUsage: 0x86 },
      'certificate_not_leaf',
    ],
  ])('with %s is nobody', async (_title, leaf, reason) => {
    expect(await who(mtls.authority.leaf(leaf))).toBe('401');
    expect(await lastReason()).toBe(reason);
  });

  it('is refused once it has ended, though its connection lives', async () => {
    const client = mtls.authority.agent('builder', { toS: 4 });
    const { session, ask } = openSession(client);
    expect(await ask()).toBe(200);
    await expect.poll(ask, { timeout: 20_000 }).toBe(401);
    expect(await lastReason()).toBe('certificate_expired');
    session.destroy();
  });

  it('ends with its agent, on connections that were made before', async () => {
    const { id } = await agent('leaver', ['models:invoke']);
    const { session, ask } = openSession(mtls.authority.agent('leaver'));
    expect(await ask()).toBe(200);
    await mtls.gate.api('AgentService/DisableAgent', { agentId: id });
    expect(await ask()).toBe(401);
    expect(await lastReason()).toBe('agent_disabled');
    session.destroy();
  });
});

/** A connection of HTTP/2 that stays, and the status of a request on it. */
function openSession(client: Issued) {
  const session = connectHttp2(mtls.url, {
    ...client,
    ca: serverAuthority.cert,
    localAddress: freshAddress(),
  } as object);
  const ask = async (): Promise<number> => {
    const stream = session.request({ ':path': '/v1/models' });
    const [headers] = await once(stream, 'response');
    stream.resume();
    await once(stream, 'close');
    return headers[':status'];
  };
  return { session, ask };
}

describe('a key beside a certificate', () => {
  it('says what its agent may do, when both are the same agent', async () => {
    const key = await keyOf(builder.id);
    expect(await who(mtls.authority.agent('builder'), key)).toBe('builder');
    expect(await who(mtls.authority.agent(builder.id), key)).toBe('builder');
    const models = { headers: { ...bearer(key) } };
    expect((await call(mtls.url, mtls.authority.agent('builder'), '/v1/models', models)).status).toBe(403);
  });

  it('is refused with a certificate of somebody else, or of nobody', async () => {
    const key = await keyOf(builder.id);
    const other = await agent('other');
    for (const client of [mtls.authority.agent('other'), mtls.authority.agent(other.id), mtls.authority.leaf()]) {
      expect(await who(client, key)).toBe('401');
      expect(await lastReason()).toBe('certificate_mismatch');
    }
    expect(await who(mtls.authority.agent('builder'), mtls.gate.adminKey)).toBe('401');
    expect(await who(mtls.authority.agent('builder'), await operatorKey())).toBe('401');
    expect(await lastReason()).toBe('certificate_mismatch');
  });
});

describe('a bound key', () => {
  it('holds with the certificate of its thumbprint alone, on no other listener, and its use is noted then alone', async () => {
    const client = mtls.authority.agent('builder');
    const boundX5tS256 = thumbprint(client.cert);
    const key = await keyOf(builder.id, { boundX5tS256 });
    expect(await whoIsOnPlain(key)).toBe(401);
    expect(await lastReason()).toBe('certificate_missing');
    const renewed = mtls.authority.leafFor(publicKeyOf(client.cert), { uris: ['spiffe://example.org/agent/builder'] });
    expect(await who({ ...client, cert: renewed }, key)).toBe('401');
    expect(await lastReason()).toBe('certificate_mismatch');
    expect(await who(mtls.authority.agent('other'), key)).toBe('401');
    expect(await lastUse(key)).toBeUndefined();
    expect(await who(client, key)).toBe('builder');
    await expect.poll(() => lastUse(key), { timeout: 20_000 }).toBeDefined();
  });

  it('may be an operator’s: a certificate without an agent’s name will do, or any of its SPIFFE id', async () => {
    const nameless = mtls.authority.leaf({ commonName: 'laptop' });
    const byThumbprint = await operatorKey({ boundX5tS256: thumbprint(nameless.cert) });
    expect(await who(nameless, byThumbprint)).toBe('ops');
    const boundSpiffeId = 'spiffe://example.org/operator/alice';
    const byId = await operatorKey({ boundSpiffeId });
    expect(await who(mtls.authority.leaf({ uris: [boundSpiffeId] }), byId)).toBe('ops');
    expect(await who(mtls.authority.leaf({ uris: [boundSpiffeId] }), byId)).toBe('ops');
    for (const uris of [
      ['spiffe://example.org/operator/bob'],
      [boundSpiffeId, boundSpiffeId],
      [`${boundSpiffeId}/x`],
    ]) {
      expect(await who(mtls.authority.leaf({ uris }), byId)).toBe('401');
    }
    expect(await who(nameless, byId)).toBe('401');
  });

  it('keeps its binding when it is rotated, and cannot make a key without it', async () => {
    const client = mtls.authority.leaf({ commonName: 'laptop' });
    const bound = { boundX5tS256: thumbprint(client.cert), requireSignature: false };
    const asked = { name: 'ops', kind: 'PRINCIPAL_KIND_OPERATOR', scopes: ['admin'], ...bound };
    const made = await mtls.gate.api<{ key: { id: string }; secret: string }>('AgentService/CreateKey', asked);
    const send = async (method: string, body: object) => {
      const options = { body: JSON.stringify(body), headers: { ...bearer(made.secret) } };
      const answer = await call(mtls.url, client, `/portcullis.v1.AgentService/${method}`, options);
      return { status: answer.status, ...JSON.parse(answer.text) };
    };
    const rotated = await send('RotateKey', { keyId: made.key.id });
    expect(rotated).toMatchObject({ status: 200, key: { boundX5tS256: bound.boundX5tS256 } });
    expect(await whoIsOnPlain(rotated.secret)).toBe(401);
    const free = { name: 'free', kind: 'PRINCIPAL_KIND_OPERATOR', scopes: ['admin'] };
    expect(await send('CreateKey', free)).toMatchObject({ status: 403 });
    expect(await send('CreateKey', { ...free, boundX5tS256: bound.boundX5tS256 })).toMatchObject({ status: 200 });
  });

  it.each([
    [{ boundX5tS256: 'A'.repeat(42) }, 'bound_x5t_s256 must be'],
    [{ boundX5tS256: 'B'.repeat(43) }, 'bound_x5t_s256 must be'],
    [{ boundSpiffeId: 'spiffe://Example.org/agent/x' }, 'bound_spiffe_id must be'],
    [{ boundSpiffeId: 'https://example.org' }, 'bound_spiffe_id must be'],
  ])('is not made with %j', async (binding, message) => {
    await expect(keyOf(builder.id, binding)).rejects.toThrow(message);
  });

  async function whoIsOnPlain(key: string): Promise<number> {
    const asked = httpRequest(`${mtls.gate.url}/portcullis.v1.SystemService/GetSelf`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...bearer(key) },
      localAddress: freshAddress(),
      agent: false,
    });
    asked.end('{}');
    const [answer] = await once(asked, 'response');
    answer.resume();
    return answer.statusCode;
  }

  async function lastUse(key: string): Promise<unknown> {
    const { keys } = await mtls.gate.api<{ keys: { id: string; lastUseTime?: string }[] }>('AgentService/ListKeys', {
      pageSize: 500,
    });
    return keys.find(({ id }) => key.startsWith(`pcl_${id}_`))?.lastUseTime;
  }
});

it('gRPC clients call with a certificate as with any other', async () => {
  const self = async ({ cert, key }: Issued) => {
    const [root, own, chain] = [serverAuthority.cert, key, cert].map((pem) => Buffer.from(pem));
    const url = `https://localhost:${new URL(mtls.url).port}`;
    const client = new StockClient(url, credentials.createSsl(root, own, chain));
    return client.call('SystemService/GetSelf').finally(() => client.close());
  };
  expect((await self(mtls.authority.agent('builder'))).answer.principal.name).toBe('builder');
  expect((await self(mtls.authority.agent('nobody'))).code).toBe(status.UNAUTHENTICATED);
  expect((await self(new Authority('Others').agent('builder'))).code).toBe(status.UNAVAILABLE);
});
