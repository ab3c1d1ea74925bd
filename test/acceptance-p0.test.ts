import { join } from 'node:path';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { status } from '@grpc/grpc-js';
import { escapeIdentifier } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type MethodRow, methodTable } from '../server/src/api/methods.ts';
import { controlRequestBytesMax, http2StreamsMax } from '../server/src/base/limits.ts';
import { RetryInfoSchema } from '../server/src/gen/google/rpc/error_details_pb.ts';
import { ServerReflection } from '../server/src/gen/grpc/reflection/v1/reflection_pb.ts';
import { SystemService } from '../server/src/gen/portcullis/v1/system_pb.ts';
import { formatApiKey, generateApiKey } from '../server/src/identity/api-key.ts';
import { scopes } from '../server/src/identity/scopes.ts';
import { appPrivileges } from '../server/src/pg/grants.ts';
import { queryAsOwner } from './support/database.ts';
import { bearer, eventually, fromNewAddress, knock, messages, send } from './support/doors.ts';
import { secretsKey, startGate, type TestGate } from './support/gate.ts';
import { type GrpcOutcome, StockClient } from './support/grpc.ts';
import { endHeaders, fields, frame, FrameClient, frameTypes } from './support/http2-frames.ts';
import { isPortTaken, listeningSockets } from './support/listening.ts';
import { Program } from './support/program.ts';

/** The hardening list, P0: what holds before anything else does. docs/hardening.md names each of these tests. */

let gate: TestGate;
let client: StockClient;
beforeAll(async () => {
  gate = await startGate({ env: { TRUSTED_PROXIES: '127.0.0.1', AUTH_TOKEN: sharedToken } });
  client = new StockClient(gate.grpcUrl);
});
afterAll(async () => {
  client?.close();
  await gate?.stop();
});

const sharedToken = 'everybody-has-this-5v7x9z1b3d5f7h9j1l3n';
const nameOf = ({ service, method }: MethodRow) => `${service.replace('portcullis.v1.', '')}/${method}`;

async function withOwnGate(env: Record<string, string>, work: (own: TestGate) => Promise<void>): Promise<void> {
  const own = await startGate({ env });
  try {
    await work(own);
  } finally {
    await own.stop();
  }
}

/** The services that a reflection client is told of. @throws ConnectError */
async function reflected(at: TestGate): Promise<string[]> {
  const question = (async function* () {
    yield { messageRequest: { case: 'listServices', value: '' } } as const;
  })();
  const names: string[] = [];
  const transport = createGrpcTransport({ baseUrl: at.grpcUrl });
  for await (const { messageResponse } of createClient(ServerReflection, transport).serverReflectionInfo(question)) {
    if (messageResponse.case === 'listServicesResponse')
      names.push(...messageResponse.value.service.map(({ name }) => name));
  }
  return names;
}

it('P0-01: gRPC reflection is off unless it is asked for, and production does not start with it', async () => {
  const thrown: unknown = await reflected(gate).catch((error: unknown) => error);
  expect(ConnectError.from(thrown).code).toBe(Code.Unimplemented);
  await withOwnGate({ ENABLE_REFLECTION: 'true' }, async (open) => {
    expect(await reflected(open)).toContain('portcullis.v1.RunService');
  });
  const production = startGate({ env: { ENABLE_REFLECTION: 'true', NODE_ENV: 'production' } });
  await expect(production).rejects.toThrow(/gRPC reflection must be off in production/);
});

const isLinux = process.platform === 'linux';
const defaultPorts = [8080, 50051];
const cannotBindDefaults = !isLinux || defaultPorts.some(isPortTaken);
if (cannotBindDefaults) {
  const why = isLinux ? `something listens on one of ${defaultPorts.join(', ')}` : 'this is not Linux';
  if (process.env['REQUIRE_ALL'] === '1') throw new Error(`P0-02 cannot be tried, and nothing may be left out: ${why}`);
  console.warn(`P0-02 is not tried: ${why}.`);
}

it.skipIf(cannotBindDefaults)(
  'P0-02: without an address option the kernel lists loopback listeners alone for the process',
  async () => {
    const { folder, configFile, database } = gate;
    const own = { CONFIG_FILE: configFile, DATA_DIR: folder, LOG_FILE: join(folder, 'bare.log') };
    const env = { NODE_ENV: 'test', DATABASE_URL: database.appUrl, SECRETS_KEY: secretsKey, ...own };
    const bare = new Program(['serve'], { cwd: folder, env });
    try {
      await eventually(() => expect(bare.output).toMatch(/listens on/), 60_000);
      expect(listeningSockets(bare.process.pid ?? 0)).toEqual(['127.0.0.1:50051', '127.0.0.1:8080']);
    } finally {
      await bare.end();
    }
    // Who asks for more gets it, and the kernel's list shows it.
    await withOwnGate({ HTTP_ADDR: '0.0.0.0:0' }, async (open) => {
      const [wide] = listeningSockets(open.pid).filter((address) => !address.startsWith('127.0.0.1:'));
      expect(wide).toMatch(/^0\.0\.0\.0:\d+$/);
    });
  },
);

it('P0-03: a message over 1 MiB is refused as RESOURCE_EXHAUSTED, no answer exceeds 2 MiB, and a 257th stream is refused', async () => {
  const large = { name: 'large', description: 'x'.repeat(controlRequestBytesMax) };
  const refused = await client.call('AgentService/CreateAgent', large, bearer(gate.adminKey));
  expect(refused).toMatchObject({ code: status.RESOURCE_EXHAUSTED, answer: null });

  await queryAsOwner(
    gate.database,
    `INSERT INTO agents (id, project_id, name, description, created_by, control_version)
     SELECT 'agt_wordy' || n, id, 'wordy ' || n, repeat('x', 50000), 'test', 1 FROM projects, generate_series(1, 50) AS n`,
  );
  const list = (pageSize: number) => client.call('AgentService/ListAgents', { pageSize }, bearer(gate.adminKey));
  expect(await list(50)).toMatchObject({ code: status.RESOURCE_EXHAUSTED, answer: null });
  expect(await list(10)).toMatchObject({ code: status.OK });

  const frames = new FrameClient(gate.grpcUrl);
  const path = '/portcullis.v1.SystemService/GetSelf';
  const target = { ':method': 'POST', ':scheme': 'http', ':authority': 'localhost', ':path': path };
  const call = { ...target, 'content-type': 'application/grpc', te: 'trailers' };
  const ids = Array.from({ length: http2StreamsMax + 1 }, (_, n) => 2 * n + 1);
  const openStream = (id: number) =>
    frame(frameTypes.headers, endHeaders, id, fields({ ...call, ...bearer(gate.adminKey) }));
  frames.send(...ids.map(openStream));
  const refusedStream = 7;
  await eventually(() => expect(frames.errors(frameTypes.rstStream)).toEqual(new Map([[ids.at(-1), refusedStream]])));
  frames.end();
});

/** What is in the database, but for what says who was refused and how a key was used. */
async function contents(): Promise<Record<string, string>> {
  const told = new Set(['audit_entries', 'instances', 'schema_migrations', 'ledger_dropped_days']);
  const tables = Object.keys(appPrivileges).filter((table) => !told.has(table));
  const counts = tables.map((table) => `(SELECT count(*) FROM ${escapeIdentifier(table)})::text AS ${table}`);
  const [row = {}] = await queryAsOwner<Record<string, string>>(
    gate.database,
    `SELECT ${counts.join(', ')}, (SELECT version FROM control_version)::text AS version`,
  );
  return row;
}

it('P0-04: without a credential no method answers but the public leaderboard, whatever it reads, in any protocol', async () => {
  const methods = methodTable().filter(({ access }) => access !== 'public_read');
  expect(methods.length).toBeGreaterThan(50);
  expect(methodTable().filter((method) => !methods.some(({ path }) => path === method.path))).toMatchObject([
    { method: 'GetPublicLeaderboard' },
  ]);
  const before = await contents();
  const sentences = new Set<string>();
  for (const method of methods) {
    const stranger = await client.call(nameOf(method), {}, fromNewAddress());
    const wrong = { ...fromNewAddress(), ...bearer(formatApiKey(generateApiKey())) };
    const liar = await client.call(nameOf(method), {}, wrong);
    for (const { code, sentence } of [stranger, liar]) {
      expect(code, nameOf(method)).toBe(status.UNAUTHENTICATED);
      sentences.add(sentence);
    }
    const connect = method.isStream ? 'application/connect+' : 'application/';
    for (const type of [`${connect}json`, `${connect}proto`, 'application/grpc-web+proto']) {
      const headers = { ...fromNewAddress(), 'content-type': type };
      const answer = await send(gate.url, { method: 'POST', path: method.path, headers, body: '' });
      const grpcStatus = answer.headers['grpc-status'] ?? /grpc-status: *(\d+)/i.exec(answer.text)?.[1];
      // A stream of Connect says it in its last message.
      const streamed = /"code":"([a-z_]+)"/.exec(answer.text)?.[1];
      const said = grpcStatus ?? (answer.status === 200 ? streamed : answer.status);
      expect(said, `${nameOf(method)} as ${type}`).toBeOneOf([401, '16', 'unauthenticated']);
    }
  }
  expect(sentences.size).toBe(1);
  expect(await contents()).toEqual(before);
});

/** What a key must not have either, since it covers the scope. */
function coveredBy(needed: string): Set<string> {
  const more = needed.endsWith(':read') ? ['admin:read', needed.replace(/read$/, 'write')] : [];
  return new Set([needed, 'admin', ...more]);
}

function isScopeRefusal({ code, sentence }: GrpcOutcome): boolean {
  return code === status.PERMISSION_DENIED && sentence.includes('scope');
}

describe('P0-05', () => {
  const keys = new Map<string, { without: string; only: string }>();
  const methods = methodTable().filter(({ scope }) => scope !== 'authenticated' && scope !== null);
  /** Calls that would do something if they were let in. */
  const meant: Readonly<Record<string, object>> = {
    'AgentService/CreateAgent': { name: 'smuggled' },
    'PolicyService/SetPolicy': { document: { rules: [], caps: [] }, stage: 'POLICY_STAGE_ENFORCED' },
    'PolicyService/DeletePolicyCap': { name: 'a cap' },
    'PolicyService/EngageKillSwitch': { scope: 'KILL_SCOPE_EVERYTHING', reason: 'smuggled' },
    'ProjectService/CreateProject': { name: 'smuggled' },
    'RunService/StartRun': { workflow: 'smuggled' },
  };

  beforeAll(async () => {
    const issue = async (held: readonly string[], by?: string) => {
      const asked = { name: 'a key', kind: 'PRINCIPAL_KIND_OPERATOR', scopes: held };
      return (await gate.api<{ secret: string }>('AgentService/CreateKey', asked, by)).secret;
    };
    // The bootstrap key may not give what it has not: it decides no approvals.
    const root = await issue(['admin']);
    for (const needed of new Set(methods.map(({ scope }) => scope ?? ''))) {
      const without = await issue(
        scopes.filter((scope) => !coveredBy(needed).has(scope)),
        root,
      );
      keys.set(needed, { without, only: await issue([needed]) });
    }
  });

  it('P0-05: a key with every scope but the needed one is refused as PERMISSION_DENIED, nothing is done, and the audit log has it', async () => {
    const before = await contents();
    for (const method of methods) {
      const { without = '' } = keys.get(method.scope ?? '') ?? {};
      const refused = await client.call(nameOf(method), meant[nameOf(method)], bearer(without));
      expect(refused, nameOf(method)).toMatchObject({ code: status.PERMISSION_DENIED, answer: null });
      expect(refused.sentence).toContain(`scope ${method.scope}`);
    }
    expect(await contents()).toEqual(before);
    const targets = new Set(methods.map(({ service, method }) => `${service}.${method}`));
    await eventually(async () => {
      const rows = await queryAsOwner<{ target: string }>(
        gate.database,
        `SELECT target FROM audit_entries WHERE action = 'scope.denied'`,
      );
      expect(new Set(rows.map(({ target }) => target))).toEqual(targets);
    });
  });

  it('P0-05: a key with the needed scope and no other is let in by each method', async () => {
    for (const method of methods) {
      const { only = '' } = keys.get(method.scope ?? '') ?? {};
      const outcome = await client.call(nameOf(method), {}, bearer(only));
      expect(isScopeRefusal(outcome), nameOf(method)).toBe(false);
      expect(outcome.code, nameOf(method)).not.toBe(status.UNAUTHENTICATED);
    }
  });
});

it('P0-06: the shared legacy token is ignored with a warning unless it is allowed, and then has only the scopes that it was given', async () => {
  const call = (at: StockClient, method: string) =>
    at.call(method, { workflow: 'legacy' }, { ...bearer(sharedToken), ...fromNewAddress() });
  expect(gate.output).toMatch(/AUTH_TOKEN is ignored/);
  expect(await call(client, 'SystemService/GetSelf')).toMatchObject({ code: status.UNAUTHENTICATED });
  const allowed = { AUTH_TOKEN: sharedToken, ALLOW_LEGACY_AUTH_TOKEN: 'true', AUTH_TOKEN_SCOPES: 'runs:read' };
  await withOwnGate(allowed, async (own) => {
    const at = new StockClient(own.grpcUrl);
    expect(await call(at, 'SystemService/GetSelf')).toMatchObject({ code: status.OK });
    expect(await call(at, 'RunService/StartRun')).toMatchObject({ code: status.PERMISSION_DENIED });
    at.close();
  });
  for (const scope of ['admin', 'policy:write', 'keys:write'])
    await expect(startGate({ env: { ...allowed, AUTH_TOKEN_SCOPES: scope } })).rejects.toThrow(/must not contain/);
});

it('P0-07: a wrong token is refused alike, whatever its length and however much of it is right', async () => {
  const changed = (text: string, at: number) =>
    `${text.slice(0, at)}${text[at] === 'a' ? 'b' : 'a'}${text.slice(at + 1)}`;
  await withOwnGate(
    {
      AUTH_TOKEN: sharedToken,
      ALLOW_LEGACY_AUTH_TOKEN: 'true',
      AUTH_TOKEN_SCOPES: 'runs:read',
      TRUSTED_PROXIES: '127.0.0.1',
    },
    async (own) => {
      const at = new StockClient(own.grpcUrl);
      const agentKey = (await own.agent('builder')).secret;
      const outcomes = new Set<string>();
      for (const right of [sharedToken, agentKey, own.adminKey]) {
        const equal = [0, Math.floor(right.length / 2), right.length - 1].map((place) => changed(right, place));
        const others = [right.slice(0, -1), right.slice(1), right.slice(0, 1), `${right}x`, right.repeat(20)];
        for (const wrong of [...equal, ...others]) {
          const { code, sentence } = await at.call(
            'SystemService/GetSelf',
            {},
            { ...bearer(wrong), ...fromNewAddress() },
          );
          outcomes.add(`${code} ${sentence}`);
        }
        expect(await at.call('SystemService/GetSelf', {}, bearer(right))).toMatchObject({ code: status.OK });
      }
      expect([...outcomes]).toEqual([expect.stringMatching(/^16 /)]);
      at.close();
    },
  );
});

it('P0-08: a burst over the limit is RESOURCE_EXHAUSTED with when to come back, and another key does not pay for it', async () => {
  await withOwnGate({ RATE_LIMIT_API_PER_MINUTE: '10' }, async (own) => {
    const [one, two] = [await own.agent('one'), await own.agent('two')];
    const system = createClient(SystemService, createGrpcTransport({ baseUrl: own.grpcUrl }));
    const self = (key: string) => system.getSelf({}, { headers: bearer(key) });
    const burst = await Promise.allSettled(Array.from({ length: 30 }, () => self(one.secret)));
    const refusals = burst.flatMap((result) =>
      result.status === 'rejected' ? [ConnectError.from(result.reason)] : [],
    );
    expect(refusals.length).toBeGreaterThan(0);
    expect(burst.length - refusals.length).toBeGreaterThanOrEqual(10);
    for (const refused of refusals) {
      expect(refused.code).toBe(Code.ResourceExhausted);
      const [retry] = refused.findDetails(RetryInfoSchema);
      expect(Number(retry?.retryDelay?.seconds)).toBeGreaterThan(0);
    }
    await expect(self(two.secret)).resolves.toMatchObject({ principal: { name: 'two' } });
  });
});

it('P0-08: failed logins are limited by address, while another address and valid keys behind the same one are not', async () => {
  const [here, elsewhere] = [fromNewAddress(), fromNewAddress()];
  const { secret } = await gate.agent('neighbour');
  const attempt = (from: Record<string, string>) =>
    client.call('SystemService/GetSelf', {}, { ...from, ...bearer(formatApiKey(generateApiKey())) });
  const codes: status[] = [];
  for (let n = 0; n < 30; n++) codes.push((await attempt(here)).code);
  expect(codes.slice(0, 5)).toEqual(Array(5).fill(status.UNAUTHENTICATED));
  expect(codes.filter((code) => code === status.RESOURCE_EXHAUSTED).length).toBeGreaterThan(15);
  expect((await attempt(elsewhere)).code).toBe(status.UNAUTHENTICATED);
  for (let n = 0; n < 20; n++) {
    const valid = { ...here, ...bearer(secret) };
    expect(await client.call('SystemService/GetSelf', {}, valid)).toMatchObject({ code: status.OK });
    expect((await knock(gate.url, messages, valid)).status).toBe(200);
  }
});
