import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { status } from '@grpc/grpc-js';
import { Client, escapeIdentifier } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { controlRequestBytesMax } from '../server/src/base/limits.ts';
import { ServerReflection } from '../server/src/gen/grpc/reflection/v1/reflection_pb.ts';
import { formatApiKey, generateApiKey } from '../server/src/identity/api-key.ts';
import { appPrivileges } from '../server/src/pg/grants.ts';
import { queryAsOwner } from './support/database.ts';
import { bearer, eventually, fromNewAddress } from './support/doors.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { StockClient } from './support/grpc.ts';
import { listeningSockets } from './support/listening.ts';
import { ask, doors, post, type RawAnswer, startGateWithMock } from './support/models.ts';

/** The hardening list's criteria of acceptance, at a production gate with no option set that need not be, and the behaviours to keep. */

const soon = { timeout: 30_000, interval: 50 };

describe('in production', () => {
  const adminKey = 'Wm7Qz3Xr9Tk2Vb5Ny8Lc4Hd6Jf1Gs0PwU';
  const sharedToken = 'Rt6Yh2Uj8Ik4Ol0Pz5Xc9Vb3Nm7Qw1EdF';
  let gate: TestGate;
  let client: StockClient;
  /** With the default limits. */
  const env = {
    NODE_ENV: 'production',
    ADMIN_API_KEY: adminKey,
    AUTH_TOKEN: sharedToken,
    RATE_LIMIT_API_PER_MINUTE: '',
    RATE_LIMIT_MODELS_PER_MINUTE: '',
  };

  beforeAll(async () => {
    gate = await startGate({ env });
    client = new StockClient(gate.grpcUrl);
  });
  afterAll(async () => {
    client?.close();
    await gate?.stop();
  });

  async function operator(...scopes: string[]): Promise<Record<string, string>> {
    const asked = { name: 'operator', kind: 'PRINCIPAL_KIND_OPERATOR', scopes };
    const { secret } = await gate.api<{ secret: string }>('AgentService/CreateKey', asked, adminKey);
    return bearer(secret);
  }

  it('Criterion 1: in production gRPC reflection is not there', async () => {
    const question = (async function* () {
      yield { messageRequest: { case: 'listServices', value: '' } } as const;
    })();
    const asking = async () => {
      const transport = createGrpcTransport({ baseUrl: gate.grpcUrl });
      for await (const _ of createClient(ServerReflection, transport).serverReflectionInfo(question));
    };
    const thrown: unknown = await asking().catch((error: unknown) => error);
    expect(ConnectError.from(thrown).code).toBe(Code.Unimplemented);
  });

  it('Criterion 2: in production private reads and writes need a credential', async () => {
    for (const method of ['AnalyticsService/ListAttempts', 'PolicyService/GetPolicy', 'RunService/StartRun'])
      expect(await client.call(method)).toMatchObject({ code: status.UNAUTHENTICATED });
    for (const page of ['/metrics', '/v1/models']) expect((await fetch(gate.url + page)).status).toBe(401);
  });

  it('Criterion 3: in production a key acts on policy and administration by a scope for that alone', async () => {
    const [agentLike, policy] = [await operator('runs:write', 'telemetry:write'), await operator('policy:write')];
    const cap = { name: 'not there' };
    expect(await client.call('PolicyService/DeletePolicyCap', cap, agentLike)).toMatchObject({
      code: status.PERMISSION_DENIED,
    });
    expect(await client.call('PolicyService/DeletePolicyCap', cap, policy)).toMatchObject({ code: status.NOT_FOUND });
    expect(await client.call('ProjectService/CreateProject', { name: 'x' }, policy)).toMatchObject({
      code: status.PERMISSION_DENIED,
    });
  });

  it('Criterion 4: in production the shared token opens nothing unless it is allowed', async () => {
    expect(await client.call('SystemService/GetSelf', {}, bearer(sharedToken))).toMatchObject({
      code: status.UNAUTHENTICATED,
    });
    expect(gate.output).toMatch(/AUTH_TOKEN is ignored/);
  });

  it('Criterion 5: in production messages and rates are limited without an option', async () => {
    const key = await operator('keys:write');
    const large = { name: 'large', description: 'x'.repeat(controlRequestBytesMax) };
    expect(await client.call('AgentService/CreateAgent', large, key)).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
    });
    const burst = Array.from({ length: 1_500 }, () => client.call('SystemService/GetSelf', {}, key));
    const codes = (await Promise.all(burst)).map(({ code }) => code);
    expect(new Set(codes)).toEqual(new Set([status.OK, status.RESOURCE_EXHAUSTED]));
  });

  it.skipIf(process.platform !== 'linux')(
    'Criterion 6: in production the kernel lists loopback listeners alone',
    () => {
      const listening = listeningSockets(gate.pid);
      expect(listening).toHaveLength(2);
      expect(listening.filter((address) => !address.startsWith('127.0.0.1:'))).toEqual([]);
    },
  );

  it('Criterion 8: in production connections, and how long statements wait, are bounded without an option', async () => {
    const [poolDefault, direct] = [20, 4];
    const key = await operator('keys:read');
    const blocker = new Client({ connectionString: gate.database.ownerUrl });
    await blocker.connect();
    await blocker.query('BEGIN; LOCK TABLE agents IN ACCESS EXCLUSIVE MODE');
    const burst = Promise.all(Array.from({ length: 40 }, () => client.call('AgentService/ListAgents', {}, key)));
    const connections = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'portcullis%'`;
    const waiting = async () =>
      (await queryAsOwner(gate.database, `${connections} AND wait_event_type = 'Lock'`)).length;
    await expect.poll(waiting, soon).toBe(poolDefault);
    expect((await queryAsOwner(gate.database, connections)).length).toBeLessThanOrEqual(poolDefault + direct);
    // Nobody lets go of the lock before they are all answered.
    expect((await burst).map(({ code }) => code)).toEqual(Array(40).fill(status.UNAVAILABLE));
    await blocker.end();
    await eventually(async () => {
      expect(await client.call('AgentService/ListAgents', {}, key)).toMatchObject({ code: status.OK });
    });
  });
});

describe('behaviours to keep', () => {
  let gate: TestGate;
  let client: StockClient;
  let stop: () => Promise<void>;
  beforeAll(async () => {
    ({ gate, stop } = await startGateWithMock({ env: { TRUSTED_PROXIES: '127.0.0.1', LOG_LEVEL: 'trace' } }));
    client = new StockClient(gate.grpcUrl);
  });
  afterAll(async () => {
    client?.close();
    await stop?.();
  });

  const { path, model } = doors.anthropic;
  const callModel = (secret: string, more: Record<string, string> = {}): Promise<RawAnswer> =>
    post(gate, path, ask(model), { ...bearer(secret), ...more });

  it('Behaviour 1: a key that nobody issued, that was revoked, that expired or whose agent is disabled is refused like no key at all', async () => {
    const [revoked, expired, disabled] = [await gate.agent('a'), await gate.agent('b'), await gate.agent('c')];
    for (const { secret } of [revoked, expired, disabled])
      expect(await client.call('SystemService/GetSelf', {}, bearer(secret))).toMatchObject({ code: status.OK });
    await gate.api('AgentService/RevokeKey', { keyId: revoked.keyId });
    await gate.api('AgentService/DisableAgent', { agentId: disabled.agentId });
    await queryAsOwner(
      gate.database,
      `WITH bumped AS (UPDATE control_version SET version = version + 1 RETURNING version)
       UPDATE api_keys SET expires_at = now() - interval '1 s', control_version = bumped.version FROM bumped WHERE id = $1`,
      [expired.keyId],
    );
    const unknown = formatApiKey(generateApiKey());
    const none = await client.call('SystemService/GetSelf', {}, fromNewAddress());
    expect(none.code).toBe(status.UNAUTHENTICATED);
    for (const secret of [unknown, revoked.secret, disabled.secret, expired.secret]) {
      await eventually(async () => {
        const { code, sentence } = await client.call(
          'SystemService/GetSelf',
          {},
          { ...fromNewAddress(), ...bearer(secret) },
        );
        expect([code, sentence]).toEqual([none.code, none.sentence]);
      });
    }
  });

  it('Behaviour 9: of a key only a digest is kept, and neither it nor the text of a conversation is in a table or in the log', async () => {
    const { secret } = await gate.agent('confidential');
    const said = 'what-was-said-4f7a1c9e2b8d';
    const body = ask(model, { messages: [{ role: 'user', content: said }] });
    expect((await post(gate, path, body, bearer(secret))).status).toBe(200);
    const kept: string[] = [await gate.settledLog(), gate.output];
    for (const table of Object.keys(appPrivileges)) {
      const rows = await queryAsOwner<{ row: string }>(
        gate.database,
        `SELECT t::text AS row FROM ${escapeIdentifier(table)} t`,
      );
      kept.push(...rows.map(({ row }) => row));
    }
    expect(kept.length).toBeGreaterThan(30);
    const forms = [secret.slice(17), said].flatMap((text) => [text, Buffer.from(text).toString('hex')]);
    expect(forms.filter((form) => kept.some((text) => text.includes(form)))).toEqual([]);
  });

  it('Behaviour 10: a dry run is recorded and stops nothing, and what is in force stops the call and is named', async () => {
    const { agentId, secret } = await gate.agent('tried');
    const budget = { unit: 'REQUESTS', limit: 0n, selector: { agentId } } as const;
    const dryRun = await gate.budget({ name: 'a dry run', mode: 'DRY_RUN', ...budget });
    const passed = await callModel(secret);
    expect(passed.status).toBe(200);
    const row = await gate.ledgerRow(String(passed.headers['x-request-id']));
    expect(row.shadowVerdicts).toMatchObject([{ budgetId: dryRun, limit: '0' }]);
    await gate.budget({ name: 'in force', ...budget });
    const stopped = await callModel(secret);
    expect(stopped.status).toBe(429);
    expect(JSON.parse(stopped.body.toString())).toMatchObject({ error: { details: { rule: 'in force' } } });
  });

  it('Behaviour 11: of 30 calls at once a budget for 7 admits 7, and the others are in the totals as refused', async () => {
    const { agentId, secret } = await gate.agent('many');
    await gate.budget({ name: 'seven', unit: 'REQUESTS', limit: 7n, selector: { agentId } });
    const { answer } = await client.call('RunService/StartRun', { workflow: 'burst' }, bearer(secret));
    const runId: string = answer.run.id;
    const calls = Array.from({ length: 30 }, () => callModel(secret, { 'x-portcullis-run': runId }));
    const statuses = (await Promise.all(calls)).map((each) => each.status);
    expect(statuses.filter((code) => code === 200)).toHaveLength(7);
    expect(statuses.filter((code) => code === 429)).toHaveLength(23);
    await eventually(async () => {
      const read = await client.call('RunService/GetRun', { runId }, bearer(secret));
      expect(read.answer.totals).toMatchObject({ attempts: '30', refusedAttempts: '23' });
    });
  });

  it('Behaviour 11: a run that is finished twice has the same totals, and no agent reaches the run of another', async () => {
    const [one, two] = [await gate.agent('owner'), await gate.agent('stranger')];
    const { answer } = await client.call('RunService/StartRun', { workflow: 'once' }, bearer(one.secret));
    const runId: string = answer.run.id;
    expect((await callModel(one.secret, { 'x-portcullis-run': runId })).status).toBe(200);
    const finish = (secret: string, outcome: string) =>
      client.call('RunService/FinishRun', { runId, outcome }, bearer(secret));
    expect(await finish(two.secret, 'RUN_STATE_FAILED')).toMatchObject({ code: status.NOT_FOUND });
    expect((await callModel(two.secret, { 'x-portcullis-run': runId })).status).toBe(404);
    const first = await finish(one.secret, 'RUN_STATE_SUCCEEDED');
    const second = await finish(one.secret, 'RUN_STATE_SUCCEEDED');
    expect(first.answer.totals).toMatchObject({ attempts: '1' });
    expect(second.answer).toEqual(first.answer);
    expect(await finish(one.secret, 'RUN_STATE_FAILED')).toMatchObject({ code: status.ALREADY_EXISTS });
  });
});
