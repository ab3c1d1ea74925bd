import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authority, clientCertHeader, der, extension, type Issued, thumbprint } from './support/certificates.ts';
import { bearer } from './support/doors.ts';
import { startGate, type TestGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { ask, startGateWithMock } from './support/models.ts';
import { call, freshAddress, MtlsFiles, mtlsUrl, serverAuthority, trustDomain } from './support/mtls.ts';

/** `Client-Cert` (RFC 9440) from a proxy that ended TLS, and from everybody who would like to be taken for one. */

const files = new MtlsFiles();
const authority = new Authority('Agents');
const between = new Authority('Between', authority);
const proxy = '127.9.9.9';
const nameConstraints = extension('551d1e', der(0x30, der(0xa0, der(0x30, der(0x82, Buffer.from('example.org'))))));
const strange = { more: [extension('2b060104018f650101', Buffer.from([5, 0]), true)] };
let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
let builder: { id: string };

beforeAll(async () => {
  files.putBundle(authority);
  files.putServer(serverAuthority.server());
  const env = { ...files.env, TRUSTED_PROXIES: proxy, CLIENT_CERT_FROM_PROXIES: 'true' };
  ({ gate, mock, stop } = await startGateWithMock({ env: { ...env, RATE_LIMIT_ADMIN_PER_MINUTE: '100000' } }));
  builder = await agent('builder');
  await gate.budget({ name: 'all', unit: 'USD', limit: 10n ** 15n });
});
afterAll(async () => {
  await stop?.();
  files.remove();
});

async function agent(name: string): Promise<{ id: string }> {
  const certificateScopes = ['models:invoke'];
  return (await gate.api<{ agent: { id: string } }>('AgentService/CreateAgent', { name, certificateScopes })).agent;
}

interface Sent {
  /** The proxy's, unless it says otherwise. */
  readonly from?: string;
  readonly headers?: Record<string, string | string[]>;
  readonly at?: TestGate;
}

const self = '/portcullis.v1.SystemService/GetSelf';

/** Who the gate takes the caller for, or the status of its refusal. */
async function whoIs({ from = proxy, headers = {}, at = gate }: Sent): Promise<string> {
  const asked = httpRequest(at.url + self, {
    method: 'POST',
    agent: false,
    localAddress: from,
    // A proxy tells who its client is, so that nobody pays for another's failures.
    headers: { 'content-type': 'application/json', 'x-forwarded-for': freshAddress(), ...headers },
  });
  asked.end('{}');
  const [answer] = await once(asked, 'response');
  const body = await text(answer);
  return answer.statusCode === 200 ? JSON.parse(body).principal.name : String(answer.statusCode);
}

async function lastReason(of = gate): Promise<unknown> {
  const lines = (await of.settledLog())
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  return lines.findLast(({ auth_reason: reason }) => reason !== undefined)?.auth_reason;
}

const tells = ({ cert }: Pick<Issued, 'cert'>) => ({ 'client-cert': clientCertHeader(cert) });

describe('a proxy that is trusted', () => {
  it('tells who calls, on every listener without TLS', async () => {
    expect(await whoIs({ headers: tells(authority.agent('builder')) })).toBe('builder');
    expect(await whoIs({ headers: { ...tells(authority.agent(builder.id)), 'client-cert-chain': 'anything' } })).toBe(
      'builder',
    );
    const session = connectHttp2(gate.grpcUrl, { localAddress: proxy } as object);
    const stream = session.request({
      ':method': 'POST',
      ':path': self,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...tells(authority.agent('builder')),
    });
    stream.end(Buffer.alloc(5));
    expect(await text(stream.setEncoding('latin1'))).toContain('builder');
    session.destroy();
  });

  it.each<[string, () => Record<string, string | string[]>, string]>([
    ['of another authority', () => tells(new Authority('Others').agent('builder')), 'certificate_untrusted'],
    [
      'of an authority of the same name',
      () => tells(new Authority('Agents').agent('builder')),
      'certificate_untrusted',
    ],
    ['whose issuer is not in the bundle', () => tells(between.agent('builder')), 'certificate_untrusted'],
    ['that has ended', () => tells(authority.agent('builder', { fromS: -100, toS: -10 })), 'certificate_untrusted'],
    ['that has not begun', () => tells(authority.agent('builder', { fromS: 60 })), 'certificate_untrusted'],
    ['for servers', () => tells(authority.agent('builder', { usages: ['2b06010505070301'] })), 'certificate_not_leaf'],
    [
      'with a critical extension that nobody knows',
      () => tells(authority.agent('builder', strange)),
      'certificate_unknown_extension',
    ],
    ['that is no certificate', () => ({ 'client-cert': `:${btoa('no certificate')}:` }), 'certificate_malformed'],
    [
      'in PEM',
      () => ({ 'client-cert': authority.agent('builder').cert.replaceAll('\n', ' ') }),
      'certificate_malformed',
    ],
    ['as text', () => ({ 'client-cert': `"${btoa('x')}"` }), 'certificate_malformed'],
    [
      'and of another one',
      () => ({ 'client-cert': [clientCertHeader(authority.agent('builder').cert), clientCertHeader(authority.cert)] }),
      'certificate_malformed',
    ],
    ['with two names', () => tells(authority.leaf({ uris: names('builder', 'x') })), 'certificate_without_name'],
  ])('is not believed a certificate %s', async (_title, headers, reason) => {
    expect(await whoIs({ headers: headers() })).toBe('401');
    expect(await lastReason()).toBe(reason);
    // What it tells must not be passed over where there is a key as well.
    const { secret } = await gate.agent(`with key ${reason} ${freshAddress()}`);
    expect(await whoIs({ headers: { ...headers(), ...bearer(secret) } })).toBe('401');
  });

  it('tells of a certificate that a key is bound to', async () => {
    const client = authority.agent('builder');
    const key = await boundKey(client);
    expect(await whoIs({ headers: bearer(key) })).toBe('401');
    expect(await lastReason()).toBe('certificate_missing');
    expect(await whoIs({ headers: { ...bearer(key), ...tells(authority.agent('builder')) } })).toBe('401');
    expect(await lastReason()).toBe('certificate_mismatch');
    expect(await whoIs({ headers: { ...bearer(key), ...tells(client) } })).toBe('builder');
  });

  it('whose client is let in loses it with the authority, in mid-stream', async () => {
    const leaving = new Authority('Leaving');
    await taken(() => files.putBundle(authority, leaving));
    await mock.script({ model: 'claude-proxied', tokens: 100_000, tokensPerSecond: 20 });
    const asked = httpRequest(`${gate.url}/v1/messages`, {
      method: 'POST',
      agent: false,
      localAddress: proxy,
      headers: { 'content-type': 'application/json', ...tells(leaving.agent('builder')) },
    });
    asked.end(ask('claude-proxied', { stream: true, max_tokens: 100_000 }));
    const [answer] = await once(asked, 'response');
    expect(answer.statusCode).toBe(200);
    await once(answer, 'data');
    const ended = new Promise((resolve) => answer.on('error', () => undefined).once('close', resolve));
    answer.resume();
    await taken(() => files.putBundle(authority));
    await ended;
    expect(await whoIs({ headers: tells(leaving.agent('builder')) })).toBe('401');
  });

  it('is not believed a certificate whose authority has ended meanwhile, though it was verified before', async () => {
    const ending = new Authority('Ending', undefined, { toS: 10 });
    await taken(() => files.putBundle(authority, ending));
    const headers = tells(ending.agent('builder'));
    expect(await whoIs({ headers })).toBe('builder');
    await expect.poll(() => whoIs({ headers }), { timeout: 30_000, interval: 500 }).toBe('401');
    expect(await lastReason()).toBe('certificate_expired');
    await taken(() => files.putBundle(authority));
  });

  async function taken(put: () => void): Promise<void> {
    const read = async () => (await gate.settledLog()).split('new TLS files are in force').length;
    const before = await read();
    put();
    await expect.poll(read, { timeout: 30_000 }).toBeGreaterThan(before);
  }
});

describe('anybody else', () => {
  it('is nobody, whatever they tell of a certificate', async () => {
    const headers = tells(authority.agent('builder'));
    expect(await whoIs({ from: '127.9.9.8', headers })).toBe('401');
    expect(await lastReason()).toBe('missing');
    // Neither does a proxy in the list of hops make them one.
    expect(await whoIs({ from: '127.9.9.8', headers: { ...headers, 'x-forwarded-for': proxy } })).toBe('401');
  });

  it('does not use a bound key by telling of its certificate', async () => {
    const client = authority.agent('builder');
    const key = await boundKey(client);
    expect(await whoIs({ from: '127.9.9.8', headers: { ...bearer(key), ...tells(client) } })).toBe('401');
    expect(await lastReason()).toBe('certificate_missing');
  });

  it('with a certificate of their own is who that says, not who they tell', async () => {
    const headers = tells(authority.agent('builder'));
    await agent('other');
    const { text: body } = await call(mtlsUrl(gate), authority.agent('other'), self, { body: '{}', headers });
    expect(JSON.parse(body).principal.name).toBe('other');
    const fromProxy = { body: '{}', headers, localAddress: proxy };
    expect(JSON.parse((await call(mtlsUrl(gate), authority.agent('other'), self, fromProxy)).text).principal.name).toBe(
      'other',
    );
  });

  it('does not see it passed on', async () => {
    const { secret } = await gate.agent('forwarder');
    await mock.reset();
    const asked = httpRequest(`${gate.url}/v1/messages`, {
      method: 'POST',
      agent: false,
      headers: { 'content-type': 'application/json', ...bearer(secret), ...tells(authority), 'client-cert-chain': 'x' },
    });
    asked.end(ask('claude-forwarded'));
    const [answer] = await once(asked, 'response');
    expect([answer.statusCode, await text(answer)]).toEqual([200, expect.anything()]);
    expect(JSON.stringify(await mock.requests())).not.toMatch(/client-cert/i);
  });
});

it('a proxy is not believed where the operator did not say that it tells of certificates', async () => {
  const quiet = await startGate({ env: { ...files.env, TRUSTED_PROXIES: proxy } });
  try {
    await quiet.api('AgentService/CreateAgent', { name: 'builder', certificateScopes: ['models:invoke'] });
    expect(await whoIs({ at: quiet, headers: tells(authority.agent('builder')) })).toBe('401');
    expect(await lastReason(quiet)).toBe('missing');
  } finally {
    await quiet.stop();
  }
});

it('needs no listener of its own: a bundle and a trust domain will do', async () => {
  const env = {
    MTLS_TRUST_BUNDLE_FILE: files.bundle,
    MTLS_TRUST_DOMAIN: trustDomain,
    TRUSTED_PROXIES: proxy,
    CLIENT_CERT_FROM_PROXIES: 'true',
  };
  const proxied = await startGate({ env });
  try {
    await proxied.api('AgentService/CreateAgent', { name: 'builder' });
    expect(await whoIs({ at: proxied, headers: tells(authority.agent('builder')) })).toBe('builder');
  } finally {
    await proxied.stop();
  }
});

it.each<[string, Authority, string]>([
  [
    'for some names only',
    new Authority('Some names', undefined, { more: [nameConstraints] }),
    'vouch for some names only',
  ],
  [
    'for servers only',
    new Authority('Servers', undefined, { usages: ['2b06010505070301'] }),
    'may not vouch for clients',
  ],
  [
    'with unknown conditions',
    new Authority('Strange', undefined, strange),
    'critical extensions that are unknown here',
  ],
])(
  'an authority %s is refused where proxies tell of certificates, and not elsewhere',
  async (_title, restricted, message) => {
    const own = new MtlsFiles();
    own.putServer(serverAuthority.server());
    own.putBundle(authority, restricted);
    const proxied = { TRUSTED_PROXIES: proxy, CLIENT_CERT_FROM_PROXIES: 'true' };
    await expect(startGate({ env: { ...own.env, ...proxied } })).rejects.toThrow(message);
    const direct = await startGate({ env: own.env });
    await direct.stop();
    own.remove();
  },
);

it.each<[string, Record<string, string>]>([
  ['MTLS_CERT_FILE', { ...files.env, MTLS_CERT_FILE: '' }],
  ['MTLS_KEY_FILE', { ...files.env, MTLS_KEY_FILE: '' }],
  ['MTLS_TRUST_BUNDLE_FILE', { ...files.env, MTLS_TRUST_BUNDLE_FILE: '' }],
  ['MTLS_TRUST_DOMAIN', { ...files.env, MTLS_TRUST_DOMAIN: '' }],
  ['MTLS_ADDR', { ...files.env, MTLS_ADDR: '' }],
  ['TRUSTED_PROXIES', { ...files.env, CLIENT_CERT_FROM_PROXIES: 'true' }],
])('a gate without %s refuses to start, and says so', async (name, env) => {
  const refusal = `Client certificates are only partly configured: ${name} is missing.`;
  await expect(startGate({ env })).rejects.toThrow(refusal);
});

it.each<[string, Record<string, string>, string]>([
  ['a file that is not there', { MTLS_KEY_FILE: '/nowhere/key.pem' }, 'MTLS_KEY_FILE does not hold: ENOENT'],
  ['a key of another certificate', { MTLS_KEY_FILE: files.certificate }, 'MTLS_KEY_FILE does not hold'],
  ['a bundle of leaves', { MTLS_TRUST_BUNDLE_FILE: files.certificate }, 'is no certificate of an authority'],
  ['a project that is not there', { MTLS_PROJECT: 'nowhere' }, 'MTLS_PROJECT names the project "nowhere"'],
  ['a trust domain that is none', { MTLS_TRUST_DOMAIN: 'Example.org' }, 'write a SPIFFE trust domain'],
])('a gate with %s refuses to start, and says so', async (_title, env, message) => {
  await expect(startGate({ env: { ...files.env, ...env } })).rejects.toThrow(message);
});

function names(...agents: readonly string[]): string[] {
  return agents.map((name) => `spiffe://example.org/agent/${name}`);
}

async function boundKey({ cert }: Issued): Promise<string> {
  const asked = { name: 'bound', kind: 'PRINCIPAL_KIND_AGENT', agentId: builder.id, boundX5tS256: thumbprint(cert) };
  return (await gate.api<{ secret: string }>('AgentService/CreateKey', asked)).secret;
}
