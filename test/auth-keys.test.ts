import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcWebTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AgentService } from '../server/src/gen/portcullis/v1/agent_pb.ts';
import { ErrorInfoSchema } from '../server/src/gen/portcullis/v1/error_pb.ts';
import { formatApiKey, generateApiKey, parseApiKey } from '../server/src/identity/api-key.ts';
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
} from './support/doors.ts';
import { startGate, type TestGate } from './support/gate.ts';

let gate: TestGate;
let good: string;
const bad: Record<string, Record<string, string>> = {};

beforeAll(async () => {
  gate = await startGate({ env: { TRUSTED_PROXIES: '127.0.0.1', RATE_LIMIT_ADMIN_PER_MINUTE: '1000' } });
  good = (await gate.agent('builder', { scopes: everyScope })).secret;
  const revoked = await gate.agent('revoked', { scopes: everyScope });
  await gate.api('AgentService/RevokeKey', { keyId: revoked.keyId });
  const expired = await gate.agent('expired', { scopes: everyScope });
  await expire(expired.keyId);
  const disabled = await gate.agent('disabled', { scopes: everyScope });
  await gate.api('AgentService/DisableAgent', { agentId: disabled.agentId });
  const otherSecret = formatApiKey({ ...generateApiKey(), id: parseApiKey(good)?.id ?? '' });
  Object.assign(bad, {
    'no credential': {},
    'a malformed key': bearer(`${good.slice(0, -1)}${good.endsWith('a') ? 'b' : 'a'}`),
    'a key that nobody issued': bearer(formatApiKey(generateApiKey())),
    'a known key id with another secret': bearer(otherSecret),
    'a revoked key': bearer(revoked.secret),
    'an expired key': bearer(expired.secret),
    'the key of a disabled agent': bearer(disabled.secret),
    'something that is no key': bearer('let-me-in'),
    'another scheme': { authorization: `Digest ${good}` },
    'two different credentials at once': { ...bearer(good), 'x-api-key': gate.adminKey },
    'Basic, which is off': { authorization: `Basic ${btoa(`admin:${good}`)}` },
  });
});
afterAll(() => gate?.stop());

/** Lets a key expire, as time does it. */
async function expire(keyId: string): Promise<void> {
  await queryAsOwner(
    gate.database,
    `WITH bumped AS (UPDATE control_version SET version = version + 1 RETURNING version)
     UPDATE api_keys SET expires_at = now() - interval '1 s', control_version = bumped.version FROM bumped WHERE id = $1`,
    [keyId],
  );
}

/** What the audit log has of strangers at an address, oldest first. */
function auditOf(address: string): Promise<{ payload: object; target: string; actor_kind: string }[]> {
  return queryAsOwner(
    gate.database,
    `SELECT * FROM audit_entries WHERE action = 'credential.refused' AND actor_id = $1 ORDER BY at`,
    [address],
  );
}

/** The same request id for all, so that nothing may differ. */
function come(door: Door, headers: Record<string, string>): Promise<Answer> {
  return knock(gate.url, door, { ...fromNewAddress(), 'x-request-id': 'req_same', ...headers });
}

describe.each(doors.map((door) => [door.name, door] as const))('%s', (_name, door) => {
  it('opens for a good key in either header, or the same one in both', async () => {
    for (const headers of [
      bearer(good),
      { 'x-api-key': good },
      { ...bearer(good), 'x-api-key': good },
      { authorization: `bearer ${good}` },
    ]) {
      expect(await come(door, headers)).toMatchObject({ status: 200 });
    }
  });

  it('refuses whatever does not hold with the same 401, byte for byte', async () => {
    const bodies = new Map<string, string>();
    for (const [what, headers] of Object.entries(bad)) {
      // Expiry is read from the database by the poll of the control state.
      const answer = await eventually(async () => {
        const refused = await come(door, headers);
        expect(refused.status, what).toBe(401);
        return refused;
      });
      expect(answer.headers['www-authenticate'], what).toBe('Bearer');
      expect(answer.headers['x-should-retry'], what).toBe('false');
      expect(answer.headers['x-request-id'], what).toBe('req_same');
      bodies.set(answer.text, what);
    }
    expect([...bodies.values()]).toHaveLength(1);
  });

  it('refuses a good key in the URL, whatever stands in the headers', async () => {
    for (const name of ['key', 'token', 'api_key', 'access_token', 'Authorization']) {
      const path = `${door.path}?${name}=${encodeURIComponent(good)}`;
      expect(await knock(gate.url, { ...door, path }, fromNewAddress())).toMatchObject({ status: 401 });
      expect(await knock(gate.url, { ...door, path }, { ...bearer(good), ...fromNewAddress() })).toMatchObject({
        status: 401,
      });
    }
    expect(await knock(gate.url, { ...door, path: `${door.path}?beta=true` }, bearer(good))).toMatchObject({
      status: 200,
    });
  });

  it('answers a good key without its scope with 403, and names the scope', async () => {
    const { secret } = await gate.agent(`scopeless at ${door.name.replaceAll('/', ' ')}`, { scopes: ['tools:read'] });
    const answer = await come(door, bearer(secret));
    expect(answer.status).toBe(403);
    expect(door.code(answer.json)).toBe('insufficient_scope');
    expect(door.sentence(answer.json)).toMatch(/scope (models:invoke|keys:read|metrics:read)/);
  });
});

it('all doors say the same sentence to a stranger', async () => {
  const sentences = new Set<unknown>();
  for (const door of doors) sentences.add(door.sentence((await come(door, {})).json));
  expect(sentences.size).toBe(1);
});

it('a gRPC-Web client is refused in its own protocol, with the same sentence and its details', async () => {
  const transport = createGrpcWebTransport({ baseUrl: gate.url, httpVersion: '1.1' });
  const refused = await createClient(AgentService, transport)
    .listAgents({})
    .catch((error: unknown) => ConnectError.from(error));
  if (!(refused instanceof ConnectError)) throw new Error('it was let in');
  const { json } = await come(control, {});
  expect([refused.code, refused.rawMessage]).toEqual([Code.Unauthenticated, control.sentence(json)]);
  expect(refused.findDetails(ErrorInfoSchema)).toMatchObject([{ code: 'unauthenticated', final: true }]);
});

describe('a key of one project in another', () => {
  let inA: Awaited<ReturnType<TestGate['agent']>>;
  let keyOfB: string;
  let runOfA: string;

  beforeAll(async () => {
    inA = await gate.agent('of A', { scopes: everyScope });
    const { run } = await gate.api<{ run: { id: string } }>('RunService/StartRun', { workflow: 'w' }, inA.secret);
    runOfA = run.id;
    const { project } = await gate.api<{ project: { id: string } }>('ProjectService/CreateProject', { name: 'b' });
    const inB = { projectId: project.id };
    await gate.api('AgentService/CreateAgent', { name: 'of B', ...inB });
    const made = await gate.api<{ secret: string }>('AgentService/CreateKey', {
      ...inB,
      kind: 'PRINCIPAL_KIND_SERVICE',
      name: 'of B',
      scopes: [...everyScope, 'keys:write', 'runs:read'],
    });
    keyOfB = made.secret;
  });

  const as = (method: string, body: object, key = keyOfB) =>
    knock(gate.url, { ...control, path: `/portcullis.v1.${method}`, body: JSON.stringify(body) }, bearer(key));

  it('cannot call for its run', async () => {
    for (const door of [messages, chat]) {
      const answer = await knock(gate.url, door, { ...bearer(keyOfB), 'x-portcullis-run': runOfA });
      expect(answer.status).toBe(404);
    }
    expect(await knock(gate.url, messages, { ...bearer(inA.secret), 'x-portcullis-run': runOfA })).toMatchObject({
      status: 200,
    });
  });

  it('sees none of its agents, keys and runs, and cannot tell that they exist', async () => {
    const { json } = await as('AgentService/ListAgents', {});
    expect(json.agents.map(({ name }: { name: string }) => name)).toEqual(['of B']);
    expect((await as('AgentService/ListKeys', {})).json.keys).toHaveLength(1);
    for (const [method, field, id] of [
      ['AgentService/GetAgent', 'agentId', inA.agentId],
      ['AgentService/DisableAgent', 'agentId', inA.agentId],
      ['AgentService/RevokeKey', 'keyId', inA.keyId],
      ['AgentService/RotateKey', 'keyId', inA.keyId],
      ['RunService/GetRun', 'runId', runOfA],
      ['RunService/FinishRun', 'runId', runOfA],
    ] as const) {
      const state = method === 'RunService/FinishRun' ? { outcome: 'RUN_STATE_SUCCEEDED' } : {};
      const theirs = await as(method, { [field]: id, ...state });
      const nobodys = await as(method, { [field]: `${id.slice(0, -3)}zzz`, ...state });
      expect(theirs.status, method).toBe(404);
      expect(theirs.json.message.replaceAll(id, '')).toBe(nobodys.json.message.replaceAll(`${id.slice(0, -3)}zzz`, ''));
    }
    const { projectId } = (await as('AgentService/ListAgents', {}, inA.secret)).json.agents[0];
    expect((await as('AgentService/ListAgents', { projectId })).status).toBe(403);
    expect((await knock(gate.url, messages, bearer(inA.secret))).status).toBe(200);
  });
});

describe('failed credentials', () => {
  it('are in the audit log: the first verbatim, and never with the secret', async () => {
    const stale = formatApiKey(generateApiKey());
    const from = fromNewAddress();
    const address = from['x-forwarded-for'];
    for (let i = 0; i < 12; i++) await knock(gate.url, messages, { ...bearer(stale), ...from });
    const entries = await eventually(async () => {
      const rows = await auditOf(address);
      expect(rows).toHaveLength(1);
      return rows;
    });
    expect(entries[0]).toMatchObject({
      actor_kind: 'unknown',
      target: parseApiKey(stale)?.id,
      payload: { reason: 'unknown_key', method: 'api_key', client_address: address },
    });
    expect(JSON.stringify(entries)).not.toContain(parseApiKey(stale)?.secret);
  });

  it('wait longer and longer, with 429 and Retry-After, at every door; a missing one does not count', async () => {
    for (const door of doors) {
      const from = fromNewAddress();
      for (let i = 0; i < 8; i++) expect((await knock(gate.url, door, from)).status).toBe(401);
      const wrong = { ...from, ...bearer(formatApiKey(generateApiKey())) };
      const statuses: number[] = [];
      for (let i = 0; i < 8; i++) statuses.push((await knock(gate.url, door, wrong)).status);
      expect(statuses, door.name).toEqual([401, 401, 401, 401, 401, 429, 429, 429]);
      const answer = await knock(gate.url, door, wrong);
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
      expect(door.code(answer.json)).toBe('rate_limited');
    }
  });

  it('of one stale key in a loop leave 60 good keys at the same address alone', async () => {
    const from = fromNewAddress();
    const keys = await Promise.all(
      Array.from({ length: 60 }, async (_, n) => (await gate.agent(`neighbour ${n}`)).secret),
    );
    const loop = { ends: false, refused: 0 };
    const stale = (async () => {
      const wrong = { ...from, ...bearer(formatApiKey(generateApiKey())) };
      while (!loop.ends) {
        expect([401, 429]).toContain((await knock(gate.url, messages, wrong)).status);
        loop.refused++;
      }
    })();
    await eventually(() => expect(loop.refused).toBeGreaterThan(10));
    const statuses: number[] = [];
    for (let round = 0; round < 3; round++) {
      const answers = await Promise.all(keys.map((key) => knock(gate.url, messages, { ...from, ...bearer(key) })));
      statuses.push(...answers.map(({ status }) => status));
    }
    loop.ends = true;
    await stale;
    expect(statuses.filter((status) => status !== 200)).toEqual([]);
    expect(statuses).toHaveLength(180);
  });
});

it('a revoked key stops on a second replica too, within a second', async () => {
  const replica = await startGate({
    database: gate.database,
    env: { TRUSTED_PROXIES: '127.0.0.1', ADMIN_API_KEY: gate.adminKey },
  });
  try {
    const { secret, keyId } = await gate.agent('on two replicas');
    expect((await knock(replica.url, messages, bearer(secret))).status).toBe(200);
    await gate.api('AgentService/RevokeKey', { keyId });
    expect((await knock(gate.url, messages, { ...bearer(secret), ...fromNewAddress() })).status).toBe(401);
    await eventually(async () => {
      expect((await knock(replica.url, messages, { ...bearer(secret), ...fromNewAddress() })).status).toBe(401);
    }, 1_000);
    expect((await knock(replica.url, metrics, bearer(gate.adminKey))).status).toBe(200);
  } finally {
    await replica.stop();
  }
});

it('no secret is in the log, where the reasons are', async () => {
  const log = await gate.settledLog();
  for (const reason of ['missing', 'unknown_key', 'bad_secret', 'key_revoked', 'key_expired', 'in_url'])
    expect(log).toContain(`"auth_reason":"${reason}"`);
  expect(log).not.toContain(parseApiKey(good)?.secret);
  expect(gate.output).not.toContain(parseApiKey(good)?.secret);
});

it('what repeated in the audit log is counted in one entry, at the latest when the gate stops', async () => {
  const stale = formatApiKey(generateApiKey());
  const from = fromNewAddress();
  for (let i = 0; i < 12; i++) await knock(gate.url, messages, { ...bearer(stale), ...from });
  expect(await gate.end()).toBe(0);
  const entries = await auditOf(from['x-forwarded-for']);
  expect(entries.map(({ payload }) => payload)).toMatchObject([{ reason: 'unknown_key' }, { count: 11 }]);
});
