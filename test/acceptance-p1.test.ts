import { status } from '@grpc/grpc-js';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createEmptyDatabase, queryAsOwner, type TestDatabase } from './support/database.ts';
import { bearer, eventually, fromNewAddress } from './support/doors.ts';
import { secretsKey, startGate, type TestGate } from './support/gate.ts';
import { StockClient } from './support/grpc.ts';
import { Program, run } from './support/program.ts';

/** The hardening list, P1 but for P1-05, which has a file of its own. docs/hardening.md names each of these tests. */

let gate: TestGate;
let client: StockClient;
beforeAll(async () => {
  gate = await startGate({ env: { TRUSTED_PROXIES: '127.0.0.1' } });
  client = new StockClient(gate.grpcUrl);
});
afterAll(async () => {
  client?.close();
  await gate?.stop();
});

const soon = { timeout: 30_000, interval: 50 };

describe('P1-01', () => {
  const poolMax = 3;
  /** The ledger's two, and the one that control state is read on (docs/reference/config.md, DATABASE_POOL_MAX). */
  const direct = 3;
  let own: TestGate;
  let blocker: Client;

  beforeAll(async () => {
    own = await startGate({
      env: {
        DATABASE_POOL_MAX: String(poolMax),
        DATABASE_CONNECT_MS: '60000',
        DATABASE_STATEMENT_MS: '60000',
        DATABASE_LOCK_MS: '60000',
        DATABASE_IDLE_MS: '1000',
      },
    });
  });
  afterAll(() => own?.stop());

  async function connections(more = ''): Promise<number> {
    const rows = await queryAsOwner(
      own.database,
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'portcullis%' ${more}`,
    );
    return rows.length;
  }

  const waiting = () => connections(`AND wait_event_type = 'Lock'`);

  /** Keeps every statement on agents waiting while `work` runs. */
  async function whileLocked(work: () => Promise<void>): Promise<void> {
    blocker = new Client({ connectionString: own.database.ownerUrl });
    await blocker.connect();
    try {
      await blocker.query('BEGIN; LOCK TABLE agents IN ACCESS EXCLUSIVE MODE');
      await work();
    } finally {
      await blocker.end();
    }
  }

  it('P1-01: 50 requests at once use no more connections than the pool has, and all are answered', async () => {
    const at = new StockClient(own.grpcUrl);
    let burst: Promise<{ code: status }[]> = Promise.resolve([]);
    const seen: number[] = [];
    await whileLocked(async () => {
      burst = Promise.all(
        Array.from({ length: 50 }, () => at.call('AgentService/ListAgents', {}, bearer(own.adminKey))),
      );
      await expect.poll(waiting, soon).toBe(poolMax);
      for (let looks = 0; looks < 10; looks++) seen.push(await connections());
      expect(await waiting()).toBe(poolMax);
    });
    for (let looks = 0; looks < 10; looks++) seen.push(await connections());
    expect(Math.max(...seen)).toBeLessThanOrEqual(poolMax + direct);
    expect((await burst).map(({ code }) => code)).toEqual(Array(50).fill(status.OK));
    // What nobody needs is given back.
    await expect.poll(() => connections(), soon).toBeLessThan(poolMax + direct);
    at.close();
  });

  it('P1-01: a statement that takes longer than DATABASE_STATEMENT_MS is cut in the database', async () => {
    const impatient = await startGate({
      database: own.database,
      env: { ADMIN_API_KEY: own.adminKey, DATABASE_STATEMENT_MS: '1000', DATABASE_LOCK_MS: '60000' },
    });
    const at = new StockClient(impatient.grpcUrl);
    try {
      await whileLocked(async () => {
        const cut = await at.call('AgentService/ListAgents', {}, bearer(own.adminKey));
        expect(cut).toMatchObject({
          code: status.UNAVAILABLE,
          sentence: expect.stringContaining('does not answer in time'),
        });
        await expect.poll(waiting, soon).toBe(0);
      });
      expect(await at.call('AgentService/ListAgents', {}, bearer(own.adminKey))).toMatchObject({ code: status.OK });
    } finally {
      at.close();
      await impatient.stop();
    }
  });
});

describe('P1-02', () => {
  const insufficientPrivilege = '42501';
  let empty: TestDatabase;
  beforeAll(async () => {
    empty = await createEmptyDatabase();
  });
  afterAll(() => empty?.drop());

  const env = () => ({ NODE_ENV: 'test', SECRETS_KEY: secretsKey, HTTP_ADDR: '127.0.0.1:0', GRPC_ADDR: '127.0.0.1:0' });
  const tables = () => queryAsOwner(empty, `SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace`);

  it('P1-02: a missing or an older schema is refused at the start with what to do, and the start makes nothing', async () => {
    const start = () => run(['serve'], { cwd: gate.folder, env: { ...env(), DATABASE_URL: empty.appUrl } });
    const refused = await start();
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/The schema is at version 0, this code needs \d+: run `portcullis migrate` first\./);
    expect(await tables()).toEqual([]);

    const migrated = await run(['migrate'], {
      cwd: gate.folder,
      env: { ...env(), DATABASE_URL: empty.appUrl, MIGRATE_DATABASE_URL: empty.ownerUrl },
    });
    expect(migrated.code, migrated.output).toBe(0);
    const serving = new Program(['serve'], { cwd: gate.folder, env: { ...env(), DATABASE_URL: empty.appUrl } });
    await eventually(() => expect(serving.output).toMatch(/listens on/), 60_000);
    expect(await serving.end()).toBe(0);

    await queryAsOwner(
      empty,
      'DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)',
    );
    const older = await start();
    expect([older.code, older.stderr]).toEqual([1, expect.stringContaining('run `portcullis migrate` first')]);
  });

  it.each([
    'CREATE TABLE smuggled (id text)',
    'CREATE TEMPORARY TABLE smuggled (id text)',
    'CREATE EXTENSION pg_trgm',
    'CREATE FUNCTION smuggled() RETURNS int LANGUAGE sql RETURN 1',
    'ALTER TABLE runs ADD COLUMN smuggled text',
    'ALTER TABLE audit_entries DISABLE TRIGGER ALL',
    'CREATE INDEX ON runs (summary)',
    'DROP TABLE runs',
    'TRUNCATE runs',
    'DELETE FROM runs',
    'SET ROLE portcullis_owner',
  ])('P1-02: the role of the application may not: %s', async (statement) => {
    await expect(empty.pool.query(statement)).rejects.toMatchObject({ code: insufficientPrivilege });
  });
});

it('P1-04: a write that is sent again under its Idempotency-Key gets the first answer and happens once; another payload or caller does not', async () => {
  const [one, two] = [await gate.agent('writer'), await gate.agent('other writer')];
  const start = (secret: string, workflow: string) =>
    client.call('RunService/StartRun', { workflow }, { ...bearer(secret), 'idempotency-key': 'the same' });
  const first = await start(one.secret, 'nightly');
  const again = await start(one.secret, 'nightly');
  expect([first.code, again.code]).toEqual([status.OK, status.OK]);
  expect(again.answer).toEqual(first.answer);
  expect([first, again].map(({ metadata }) => metadata['idempotency-replayed'])).toEqual([undefined, 'true']);

  const differs = await start(one.secret, 'daily');
  expect(differs).toMatchObject({ code: status.INVALID_ARGUMENT, answer: null });
  const others = await start(two.secret, 'nightly');
  expect(others.code).toBe(status.OK);
  expect(others.answer.run.id).not.toBe(first.answer.run.id);

  const runs = await queryAsOwner<{ agent_id: string }>(gate.database, 'SELECT agent_id FROM runs ORDER BY started_at');
  expect(runs.map((row) => row.agent_id)).toEqual([one.agentId, two.agentId]);
});

describe('P1-06', () => {
  interface Entry {
    readonly action: string;
    readonly actor_kind: string;
    readonly actor_id: string;
    readonly target: string;
    readonly payload: unknown;
  }
  const entries = (action: string) =>
    queryAsOwner<Entry>(gate.database, 'SELECT * FROM audit_entries WHERE action = $1 ORDER BY at DESC', [action]);

  it('P1-06: failed keys, denied scopes, changes of policy and kill switches leave entries with who did it to what', async () => {
    const operator = await gate.api<{ key: { id: string }; secret: string }>('AgentService/CreateKey', {
      name: 'the operator',
      kind: 'PRINCIPAL_KIND_OPERATOR',
      scopes: ['policy:write', 'keys:write'],
    });
    const by = bearer(operator.secret);
    const { principal } = await gate.api<{ principal: { id: string } }>('SystemService/GetSelf', {}, operator.secret);
    const actor = { actor_kind: 'operator', actor_id: principal.id };

    const { agentId, keyId, secret } = await gate.agent('watched');
    await client.call('AgentService/RevokeKey', { keyId }, by);
    const from = fromNewAddress();
    await client.call('SystemService/GetSelf', {}, { ...bearer(secret), ...from });
    await client.call('ProjectService/CreateProject', { name: 'denied' }, by);
    const document = { rules: [], caps: [], signedScopes: [] };
    await client.call('PolicyService/SetPolicy', { document, stage: 'POLICY_STAGE_ENFORCED' }, by);
    const engage = { scope: 'KILL_SCOPE_AGENT', value: agentId, reason: 'It is watched.' };
    const { answer } = await client.call('PolicyService/EngageKillSwitch', engage, by);
    await client.call('PolicyService/ReleaseKillSwitch', { killSwitchId: answer.killSwitch.id }, by);

    const newest = async (action: string) => (await entries(action))[0];
    await eventually(async () => {
      expect(await newest('credential.refused')).toMatchObject({
        actor_kind: 'unknown',
        actor_id: expect.stringContaining(from['x-forwarded-for'].split('.').slice(0, 3).join('.')),
        target: keyId,
      });
    });
    await eventually(async () => {
      const target = 'portcullis.v1.ProjectService.CreateProject';
      expect(await newest('scope.denied')).toMatchObject({ ...actor, target });
    });
    expect(await newest('key.created')).toMatchObject({ target: keyId });
    expect(await newest('key.revoked')).toMatchObject({ ...actor, target: keyId });
    expect(await newest('policy.put_in_force')).toMatchObject({ ...actor, payload: expect.any(Object) });
    for (const action of ['kill.engaged', 'kill.released'])
      expect(await newest(action)).toMatchObject({ ...actor, target: answer.killSwitch.id });
    expect(JSON.stringify(await entries('credential.refused'))).not.toContain(secret.slice(18));
  });

  it.each(['UPDATE audit_entries SET payload = NULL', 'DELETE FROM audit_entries', 'TRUNCATE audit_entries'])(
    'P1-06: the role of the application may not: %s',
    async (statement) => {
      await expect(gate.database.pool.query(statement)).rejects.toMatchObject({ code: '42501' });
    },
  );
});
