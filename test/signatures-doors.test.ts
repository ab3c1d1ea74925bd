import { createClient, type Interceptor } from '@connectrpc/connect';
import { createGrpcTransport, createGrpcWebTransport, createNodeHttpClient } from '@connectrpc/connect-node';
import { createTransport } from '@connectrpc/connect/protocol-grpc-web';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { methodTable } from '../server/src/api/methods.ts';
import { endpoints } from '../server/src/gateway/models/endpoints.ts';
import { SystemService } from '../server/src/gen/portcullis/v1/system_pb.ts';
import { signedClient } from '../server/src/cli/request-signing.ts';
import { queryAsOwner } from './support/database.ts';
import {
  type Answer,
  bearer,
  chat,
  control,
  type Door,
  doors,
  eventually,
  everyScope,
  fromNewAddress,
  knock,
  messages,
  metrics,
  send,
} from './support/doors.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { ed25519Signer, hmacSigner, newKeyPair, signedHeaders, type TestSigner } from './support/request-signer.ts';
import { fieldOf, Visitor } from './support/visitor.ts';

let gate: TestGate;
let replica: TestGate;
/** A key that must sign, with what signs for it. */
let agent: { readonly keyId: string; readonly secret: string; readonly signer: TestSigner };

const { sentence, code } = messages;
const headers = { 'anthropic-version': '2023-06-01' };
const models: Door = { name: 'GET /v1/models', method: 'GET', path: '/v1/models', headers, sentence, code };

beforeAll(async () => {
  const env = { TRUSTED_PROXIES: '127.0.0.1', RATE_LIMIT_ADMIN_PER_MINUTE: '10000' };
  gate = await startGate({ env });
  replica = await startGate({ env, database: gate.database });
  agent = await signingAgent('signer', everyScope);
});
afterAll(async () => {
  await replica?.stop();
  await gate?.stop();
});

interface Registered {
  readonly signingKey: { readonly id: string; readonly publicKey?: string; readonly revokeTime?: string };
  readonly secret?: string;
}

function register(keyId: string, more: object): Promise<Registered> {
  return gate.api<Registered>('AgentService/RegisterSigningKey', { keyId, ...more });
}

async function signingAgent(name: string, scopes: readonly string[]) {
  const { keyId, secret } = await gate.agent(name, { scopes, requireSignature: true });
  const { publicKey, privateKey } = newKeyPair();
  const { signingKey } = await register(keyId, { algorithm: 'SIGNATURE_ALGORITHM_ED25519', publicKey });
  return { keyId, secret, signer: ed25519Signer(signingKey.id, privateKey) };
}

/** Comes to a door with a signed request. */
async function knockSigned(at: TestGate, door: Door, key: { secret: string; signer: TestSigner }): Promise<Answer> {
  const { method, path, body } = door;
  const headers = { ...door.headers, ...bearer(key.secret) };
  const signed = await signedHeaders(key.signer, {
    method,
    url: at.url + path,
    headers,
    ...(body === undefined ? {} : { body }),
  });
  return send(at.url, {
    method,
    path,
    headers: { ...signed, ...fromNewAddress() },
    ...(body === undefined ? {} : { body }),
  });
}

describe.each([...doors, models].map((door) => [door.name, door] as const))('%s', (_name, door) => {
  it('opens for a key that must sign when it does, and not otherwise', async () => {
    const unsigned = await knock(gate.url, door, { ...bearer(agent.secret), ...fromNewAddress() });
    expect(unsigned.status).toBe(401);
    expect(door.code(unsigned.json)).toBe('unauthenticated');
    expect(door.sentence(unsigned.json)).toMatch(/^This request must carry a signature that holds/);
    expect((await knockSigned(gate, door, agent)).status).toBe(200);
  });

  it('takes a signature where none is needed, and refuses a bad one', async () => {
    const { keyId, secret } = await gate.agent(`free ${door.name}`.replace(/[^a-z]/gi, '-'), { scopes: everyScope });
    const { publicKey, privateKey } = newKeyPair();
    const { signingKey } = await register(keyId, { algorithm: 'SIGNATURE_ALGORITHM_ED25519', publicKey });
    const free = { secret, signer: ed25519Signer(signingKey.id, privateKey) };
    expect((await knock(gate.url, door, bearer(secret))).status).toBe(200);
    expect((await knockSigned(gate, door, free)).status).toBe(200);
    const stranger = ed25519Signer(signingKey.id, newKeyPair().privateKey);
    expect((await knockSigned(gate, door, { secret, signer: stranger })).status).toBe(401);
  });

  it('says of a wrong scope that it is one, signed or not', async () => {
    const { keyId, secret } = await gate.agent(`bare ${door.name}`.replace(/[^a-z]/gi, '-'), {
      scopes: [],
      requireSignature: true,
    });
    expect(keyId).not.toBe('');
    const answer = await knock(gate.url, door, { ...bearer(secret), ...fromNewAddress() });
    expect([answer.status, door.code(answer.json)]).toEqual([403, 'insufficient_scope']);
  });
});

it('no method of the control API, no model endpoint and no page of metrics lets an unsigned request of such a key in', async () => {
  const { key, secret } = await gate.api<{ key: { id: string }; secret: string }>('AgentService/CreateKey', {
    name: 'everything',
    kind: 'PRINCIPAL_KIND_OPERATOR',
    scopes: ['admin'],
    requireSignature: true,
  });
  const json = { 'content-type': 'application/json' };
  const knocks = [
    ...methodTable()
      .filter(({ access, isStream }) => access !== 'public_read' && !isStream)
      .map(({ path }) => ({ method: 'POST', path, body: '{}' })),
    ...endpoints.map(({ path }) => ({ method: 'POST', path, body: '{}' })),
    { method: 'GET', path: '/v1/models' },
    { method: 'GET', path: '/metrics' },
  ];
  for (const asked of knocks) {
    const headers = { ...('body' in asked ? json : {}), ...bearer(secret), ...fromNewAddress() };
    expect((await send(gate.url, { ...asked, headers })).status, asked.path).toBe(401);
  }
  for (const { path } of methodTable().filter(({ isStream }) => isStream)) {
    const headers = { 'content-type': 'application/connect+json', ...bearer(secret), ...fromNewAddress() };
    // An envelope: no flags, the length of two bytes.
    const answer = await send(gate.url, { method: 'POST', path, headers, body: '\0\0\0\0\u0002{}' });
    expect(answer.text, path).toContain('"code":"unauthenticated"');
  }
  // Made for programs that know 403 alone.
  const summary = await send(gate.url, { path: '/v1/metrics', headers: { ...bearer(secret), ...fromNewAddress() } });
  expect(summary.status).toBe(403);
  const [made] = await queryAsOwner<{ count: string }>(gate.database, 'SELECT count(*) FROM projects');
  expect(Number(made!.count)).toBe(1);
  expect(key.id).toHaveLength(12);
});

describe('an HMAC secret', () => {
  it('is shown once, lies sealed, signs on every replica, and stops on every replica when it is revoked', async () => {
    const { keyId, secret } = await gate.agent('hmac', { scopes: everyScope, requireSignature: true });
    const made = await register(keyId, { algorithm: 'SIGNATURE_ALGORITHM_HMAC_SHA256' });
    expect(made.secret).toMatch(/^[A-Za-z0-9_-]{43}$/);
    const key = { secret, signer: hmacSigner(made.signingKey.id, made.secret!) };
    for (const at of [gate, replica]) expect((await knockSigned(at, control, key)).status).toBe(200);
    const listed = await gate.api('AgentService/ListSigningKeys', { keyId });
    expect(JSON.stringify(listed)).not.toContain(made.secret);
    const select = 'SELECT sealed_secret FROM signing_keys WHERE id = $1';
    const [row] = await queryAsOwner<{ sealed_secret: Buffer }>(gate.database, select, [made.signingKey.id]);
    expect(row!.sealed_secret.includes(Buffer.from(made.secret!, 'base64url'))).toBe(false);
    expect(await gate.settledLog()).not.toContain(made.secret);

    await gate.api('AgentService/RevokeSigningKey', { signingKeyId: made.signingKey.id });
    expect((await knockSigned(gate, control, key)).status).toBe(401);
    await eventually(async () => expect((await knockSigned(replica, control, key)).status).toBe(401));
    const [after] = await queryAsOwner<{ sealed_secret: Buffer | null }>(gate.database, select, [made.signingKey.id]);
    expect(after!.sealed_secret).toBeNull();
  });

  it('is not in the answer that is kept for a repeated request', async () => {
    const { keyId } = await gate.agent('repeated');
    const body = JSON.stringify({ keyId, algorithm: 'SIGNATURE_ALGORITHM_HMAC_SHA256' });
    const door: Door = { ...control, path: '/portcullis.v1.AgentService/RegisterSigningKey', body };
    const headers = { ...bearer(gate.adminKey), 'idempotency-key': 'register-once' };
    const first = await knock(gate.url, door, headers);
    const again = await knock(gate.url, door, headers);
    expect(first.json.secret).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(again.json).toEqual({ ...first.json, secret: '' });
    expect(again.headers['idempotency-replayed']).toBe('true');
  });

  it('signs at another replica in the moment in which it was made', async () => {
    for (let i = 0; i < 5; i++) {
      const { keyId, secret } = await gate.agent(`moment-${i}`, { scopes: everyScope, requireSignature: true });
      const made = await register(keyId, { algorithm: 'SIGNATURE_ALGORITHM_HMAC_SHA256' });
      const key = { secret, signer: hmacSigner(made.signingKey.id, made.secret!) };
      expect((await knockSigned(replica, control, key)).status).toBe(200);
    }
  });
});

describe('signing keys', () => {
  const ed25519 = { algorithm: 'SIGNATURE_ALGORITHM_ED25519' };
  const hmac = { algorithm: 'SIGNATURE_ALGORITHM_HMAC_SHA256' };

  it('are up to five public keys of an API key, or one secret, and none twice', async () => {
    const { keyId } = await gate.agent('many');
    const { publicKey } = newKeyPair();
    const first = await register(keyId, { ...ed25519, publicKey });
    await expect(register(keyId, { ...ed25519, publicKey })).rejects.toThrow(/registered for this API key already/);
    await expect(register(keyId, hmac)).rejects.toThrow(/either ed25519 keys or one HMAC secret/);
    for (let i = 1; i < 5; i++) await register(keyId, { ...ed25519, publicKey: newKeyPair().publicKey });
    await expect(register(keyId, { ...ed25519, publicKey: newKeyPair().publicKey })).rejects.toThrow(/may have 5/);
    await gate.api('AgentService/RevokeSigningKey', { signingKeyId: first.signingKey.id });
    await gate.api('AgentService/RevokeSigningKey', { signingKeyId: first.signingKey.id });
    await register(keyId, { ...ed25519, publicKey });

    const page = await gate.api<{ signingKeys: Registered['signingKey'][]; nextPageToken: string }>(
      'AgentService/ListSigningKeys',
      { keyId, pageSize: 4 },
    );
    const rest = await gate.api<typeof page>('AgentService/ListSigningKeys', { keyId, pageToken: page.nextPageToken });
    const all = [...page.signingKeys, ...rest.signingKeys];
    expect(all).toHaveLength(6);
    expect(all.filter(({ revokeTime }) => revokeTime !== undefined).map(({ id }) => id)).toEqual([first.signingKey.id]);
  });

  it('are refused where they prove nothing, for keys that are not there, and for algorithms that nobody named', async () => {
    const { keyId } = await gate.agent('refused');
    const weak = Buffer.from(`01${'00'.repeat(31)}`, 'hex').toString('base64url');
    await expect(register(keyId, { ...ed25519, publicKey: weak })).rejects.toThrow(/400.*only its owner can sign for/);
    await expect(register(keyId, ed25519)).rejects.toThrow(/400.*BEGIN PUBLIC KEY/);
    await expect(register(keyId, { ...hmac, publicKey: newKeyPair().publicKey })).rejects.toThrow(/goes with ed25519/);
    await expect(register(keyId, {})).rejects.toThrow(/400/);
    await expect(register('nobodysKey00', hmac)).rejects.toThrow(/404/);
    await gate.api('AgentService/RevokeKey', { keyId });
    await expect(register(keyId, hmac)).rejects.toThrow(/was revoked/);
  });

  it('of an admin key are for admins alone: a lesser key could else lock them out', async () => {
    const make = async (scopes: string[]) =>
      gate.api<{ key: { id: string }; secret: string }>('AgentService/CreateKey', {
        name: scopes.join(),
        kind: 'PRINCIPAL_KIND_OPERATOR',
        scopes,
      });
    const admin = await make(['admin']);
    const lesser = await make(['keys:write']);
    const { signingKey } = await register(admin.key.id, hmac);
    const asLesser = (method: string, body: object) => gate.api(`AgentService/${method}`, body, lesser.secret);
    await expect(asLesser('RegisterSigningKey', { keyId: admin.key.id, ...hmac })).rejects.toThrow(/403/);
    await expect(asLesser('RevokeSigningKey', { signingKeyId: signingKey.id })).rejects.toThrow(/403/);
    await expect(asLesser('RegisterSigningKey', { keyId: lesser.key.id, ...hmac })).resolves.toBeDefined();
  });

  it('leave entries in the audit log, without a secret', async () => {
    const { keyId } = await gate.agent('audited');
    const { signingKey } = await register(keyId, hmac);
    await gate.api('AgentService/RevokeSigningKey', { signingKeyId: signingKey.id });
    const rows = await queryAsOwner<{ action: string; payload: object }>(
      gate.database,
      'SELECT action, payload FROM audit_entries WHERE target = $1 ORDER BY at',
      [signingKey.id],
    );
    expect(rows).toEqual([
      { action: 'signing_key.registered', payload: { key_id: keyId, algorithm: 'hmac-sha256', public_key: null } },
      { action: 'signing_key.revoked', payload: { key_id: keyId, algorithm: 'hmac-sha256' } },
    ]);
  });
});

describe('gRPC', () => {
  const withKey =
    (key: string): Interceptor =>
    (next) =>
    (request) => {
      request.header.set('authorization', `Bearer ${key}`);
      return next(request);
    };

  it('is refused where a signature is needed, and the sentence says what to use', async () => {
    const interceptors = [withKey(agent.secret)];
    const native = createClient(SystemService, createGrpcTransport({ baseUrl: gate.grpcUrl, interceptors }));
    await expect(native.getSelf({})).rejects.toThrow(/must be signed, which native gRPC cannot be: use Connect/);
    const web = createGrpcWebTransport({ baseUrl: gate.url, httpVersion: '1.1', interceptors });
    await expect(createClient(SystemService, web).getSelf({})).rejects.toThrow(/must carry a signature/);
  });

  it('for the web can be signed', async () => {
    const pair = newKeyPair();
    const { keyId, secret } = await gate.agent('web', { requireSignature: true });
    const { signingKey } = await register(keyId, {
      algorithm: 'SIGNATURE_ALGORITHM_ED25519',
      publicKey: pair.publicKey,
    });
    const signer = { keyid: signingKey.id, alg: 'ed25519', key: pair.privateKey } as const;
    const transport = createTransport({
      baseUrl: gate.url,
      httpClient: signedClient(createNodeHttpClient({ httpVersion: '1.1' }), signer),
      useBinaryFormat: true,
      interceptors: [withKey(secret)],
      acceptCompression: [],
      sendCompression: null,
      compressMinBytes: 1024,
      readMaxBytes: 100_000,
      writeMaxBytes: 100_000,
    });
    const self = await createClient(SystemService, transport).getSelf({});
    expect(self.principal?.keyId).toBe(keyId);
    expect(self.signatureRequired).toBe(true);
  });
});

it('writes of a scope that the policy names must be signed, of its project and from elsewhere', async () => {
  const { project } = await gate.api<{ project: { id: string } }>('ProjectService/CreateProject', { name: 'guarded' });
  const make = (scopes: string[], projectId?: string) =>
    gate.api<{ key: { id: string }; secret: string }>('AgentService/CreateKey', {
      name: 'writer',
      kind: 'PRINCIPAL_KIND_OPERATOR',
      scopes,
      ...(projectId === undefined ? {} : { projectId }),
    });
  const own = await make(['keys:write', 'policy:read'], project.id);
  const elsewhere = await make(['admin']);
  const createAgent = (key: string, name: string) =>
    gate.api('AgentService/CreateAgent', { name, projectId: project.id }, key);
  await createAgent(own.secret, 'before');

  await gate.api('PolicyService/SetPolicy', {
    projectId: project.id,
    document: { signedScopes: ['keys:write', 'policy:write'] },
    stage: 'POLICY_STAGE_ENFORCED',
  });
  await expect(createAgent(own.secret, 'unsigned')).rejects.toThrow(/401.*must carry a signature/);
  await expect(createAgent(elsewhere.secret, 'unsigned')).rejects.toThrow(/401.*must carry a signature/);
  // Other projects and other scopes are as they were.
  await gate.api('AgentService/CreateAgent', { name: 'elsewhere' }, elsewhere.secret);
  await gate.api('PolicyService/GetPolicy', {}, own.secret);
  const self = await gate.api<{ signedScopes: string[] }>('SystemService/GetSelf', {}, own.secret);
  expect(self.signedScopes).toEqual(['keys:write', 'policy:write']);
  // ADMIN_API_KEY works when nothing else does.
  const { publicKey, privateKey } = newKeyPair();
  const { signingKey } = await gate.api<Registered>('AgentService/RegisterSigningKey', {
    keyId: own.key.id,
    algorithm: 'SIGNATURE_ALGORITHM_ED25519',
    publicKey,
    projectId: project.id,
  });
  const door: Door = { ...control, path: '/portcullis.v1.AgentService/CreateAgent', body: '{"name":"signed"}' };
  const key = { secret: own.secret, signer: ed25519Signer(signingKey.id, privateKey) };
  expect((await knockSigned(gate, door, key)).status).toBe(200);
});

it('a session that a key opened is no way around a policy that asks for signatures', async () => {
  const guarded = await startGate();
  try {
    const operator = await guarded.api<{ secret: string }>('AgentService/CreateKey', {
      name: 'stolen',
      kind: 'PRINCIPAL_KIND_OPERATOR',
      scopes: ['keys:write'],
    });
    const document = { signedScopes: ['keys:write', 'policy:write'] };
    await guarded.api('PolicyService/SetPolicy', { document, stage: 'POLICY_STAGE_ENFORCED' });
    const [thief, owner] = [new Visitor(), new Visitor()];
    const createAgent = async (visitor: Visitor, key: string) => {
      await visitor.post(`${guarded.url}/sign-in`, { key, return_to: '' });
      const csrf = fieldOf(await visitor.once('GET', `${guarded.url}/account`, {}), 'csrf');
      const headers = { 'content-type': 'application/json', origin: guarded.url, 'x-portcullis-csrf': csrf };
      const path = '/portcullis.v1.AgentService/CreateAgent';
      return visitor.once('POST', guarded.url + path, headers, JSON.stringify({ name: 'made-in-a-session' }));
    };
    const refused = await createAgent(thief, operator.secret);
    expect(refused.status).toBe(401);
    expect(refused.text).toContain('must carry a signature');
    expect(await createAgent(owner, guarded.adminKey)).toMatchObject({ status: 200 });
  } finally {
    await guarded.stop();
  }
});

it('a policy that names admin covers whatever an administrator writes, and nothing that others do', async () => {
  const { project } = await gate.api<{ project: { id: string } }>('ProjectService/CreateProject', { name: 'admins' });
  const key = async (scopes: string[]) => {
    const { secret } = await gate.api<{ secret: string }>('AgentService/CreateKey', {
      name: 'writer',
      kind: 'PRINCIPAL_KIND_OPERATOR',
      projectId: project.id,
      scopes,
    });
    return secret;
  };
  const [admin, other] = [await key(['admin']), await key(['runs:write', 'telemetry:write'])];
  const document = { signedScopes: ['admin', 'keys:write', 'policy:write'] };
  await gate.api('PolicyService/SetPolicy', { projectId: project.id, document, stage: 'POLICY_STAGE_ENFORCED' });
  // It declares runs:write, which the policy does not name.
  const finish = (secret: string) => gate.api('RunService/FinishRun', { runId: 'run_none' }, secret);
  await expect(finish(admin)).rejects.toThrow(/401.*must carry a signature/);
  await expect(finish(other)).rejects.toThrow(/404|400/);
  await gate.api('AgentService/ListKeys', {}, admin);
});

it('nonces that cannot be asked for let no signed request through', async () => {
  const { keyId, secret } = await gate.agent('nonces', { scopes: everyScope, requireSignature: true });
  const made = await register(keyId, { algorithm: 'SIGNATURE_ALGORITHM_HMAC_SHA256' });
  const key = { secret, signer: hmacSigner(made.signingKey.id, made.secret!) };
  await queryAsOwner(gate.database, 'ALTER TABLE signature_nonces RENAME TO signature_nonces_away');
  try {
    for (const door of [messages, chat, metrics])
      expect((await knockSigned(gate, door, key)).status).toBeGreaterThanOrEqual(500);
  } finally {
    await queryAsOwner(gate.database, 'ALTER TABLE signature_nonces_away RENAME TO signature_nonces');
  }
  expect((await knockSigned(gate, metrics, key)).status).toBe(200);
});
