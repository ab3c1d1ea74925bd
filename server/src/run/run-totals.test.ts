import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, queryAsOwner, testBounds, type TestDatabase } from '../../../test/support/database.ts';
import { judgeOf } from '../../../test/support/policy.ts';
import { newId } from '../base/ids.ts';
import { runErrorCharsMax, runSummaryCharsMax } from '../base/telemetry-limits.ts';
import { BudgetService } from '../budget/budget-service.ts';
import type { Principal } from '../identity/model.ts';
import { createPool } from '../pg/pool.ts';
import { controlWrite } from '../pg/tx.ts';
import { KillIndex } from '../policy/kill-index.ts';
import { runOutcomes } from './model.ts';
import { RunService, type StartOfRun } from './service.ts';

const projectId = 'prj_a';
const digest = 'ab'.repeat(32);
let db: TestDatabase;
let other: TestDatabase['pool'];
/** Of two replicas. */
let services: readonly [RunService, RunService];
/** How long the tests have slept, as far as the services know. */
let sleptMs = 0;

beforeAll(async () => {
  db = await createTestDatabase();
  other = createPool({ ...testBounds, connectionString: db.appUrl });
  await controlWrite(db.pool, async (tx, version) => {
    await tx.query(`INSERT INTO projects (id, name, control_version) VALUES ('prj_a', 'a', $1)`, [version]);
    await tx.query(
      `INSERT INTO agents (id, project_id, name, created_by, control_version) VALUES ('agt_1', 'prj_a', 'one', 'test', $1)`,
      [version],
    );
  });
  await queryAsOwner(
    db,
    `INSERT INTO prompt_versions (id, project_id, workflow, digest, label, registered_by)
     VALUES ('pv_1', 'prj_a', 'fix-bug', $1, 'terse', 'test'), ('pv_2', 'prj_a', 'write-docs', repeat('c', 64), 'other', 'test')`,
    [digest],
  );
  services = [serviceOn(db.pool), serviceOn(other)];
});
afterEach(() => {
  sleptMs = 0;
});
afterAll(async () => {
  await other?.end();
  await db?.drop();
});

function serviceOn(pool: TestDatabase['pool']): RunService {
  const now = () => Date.now() + sleptMs;
  return new RunService(pool, now, new KillIndex(), new BudgetService(pool, Date.now), judgeOf());
}

/** What a service asks the database by itself and in transactions. */
async function statementsOf(work: (service: RunService) => Promise<unknown>): Promise<string[]> {
  const texts: string[] = [];
  const noting = <T extends object>(target: T): T =>
    new Proxy(target, {
      get: (of, name) => {
        const value: unknown = Reflect.get(of, name);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => {
          if (name === 'query') texts.push(String(args[0]));
          const made: unknown = Reflect.apply(value, of, args);
          return name === 'connect' && made instanceof Promise ? made.then((client: object) => noting(client)) : made;
        };
      },
    });
  await work(serviceOn(noting(db.pool)));
  return texts;
}

const agent: Principal = {
  kind: 'agent',
  id: 'agt_1',
  name: 'one',
  projectId,
  scopes: new Set(['runs:write']),
  method: 'api_key',
  agentId: 'agt_1',
  personId: null,
  keyId: null,
  runId: null,
  models: null,
  teams: [],
  requiresSignature: false,
  binding: null,
  cidrs: null,
  token: null,
  expiresAt: null,
};

async function start(more: Partial<StartOfRun> = {}) {
  const asked = { projectId, agentId: null, workflow: 'fix-bug', taskId: null, promptVersion: null, maxRetries: null };
  return (await services[0].start(agent, 'req_t', { ...asked, ...more })).result;
}

async function finish(id: string, at = services[0], more: Partial<Parameters<RunService['finish']>[2]> = {}) {
  const said = { id, projectId, outcome: 'succeeded', summary: '', error: '', ...more } as const;
  return (await at.finish(agent, 'req_t', said)).result;
}

const get = async (id: string) => services[1].get(agent, { id, projectId });

async function attempt(
  runId: string,
  cost: number,
  more: { readonly outcome?: string; readonly corrects?: string } = {},
) {
  const { outcome = 'success', corrects = null } = more;
  const attemptId = corrects ?? newId('att');
  await db.pool.query(
    `INSERT INTO attempts (id, request_id, project_id, agent_id, run_id, dialect_in, streamed, tokens_input,
       tokens_output, tokens_cache_read, tokens_cache_write_5m, tokens_cache_write_1h, tokens_reasoning,
       cost_nanousd, provenance, outcome, started_at, queue_ms, total_ms, overrun, corrects)
     VALUES ($1, 'req', 'prj_a', 'agt_1', $2, 'anthropic', false, 10, 5, 1, 2, 3, 0, $4, 'measured', $3, now(), 0, 0,
       false, $5)`,
    [attemptId, runId, outcome, cost, corrects],
  );
  return attemptId;
}

describe('what a run is started with', () => {
  test('is told of it for ever: task, retries, and the digest of its prompt, by whichever name that was given', async () => {
    for (const promptVersion of [digest, 'terse']) {
      const run = await start({ taskId: 'task-7', promptVersion, maxRetries: 0 });
      expect(run).toMatchObject({ taskId: 'task-7', promptVersion: digest, maxRetries: 0, error: '' });
      expect((await get(run.id)).run).toEqual(run);
    }
  });

  test('is the version of a digest in whichever case it was told', async () => {
    expect(await start({ promptVersion: digest.toUpperCase() })).toMatchObject({ promptVersion: digest });
  });

  test.each(['a\0b', ' ', 'x'.repeat(101)])('is no version of a name such as %j', async (promptVersion) => {
    await expect(start({ promptVersion })).rejects.toMatchObject({
      code: 'invalid_argument',
      members: { param: 'prompt_version' },
    });
  });

  test.each(['unknown', 'other', 'd'.repeat(64), "terse'; --"])(
    'must be registered for its workflow: the prompt version %s is not',
    async (promptVersion) => {
      await expect(start({ promptVersion })).rejects.toMatchObject({
        code: 'not_found',
        message: expect.stringContaining(promptVersion) as unknown,
        members: { param: 'prompt_version' },
      });
    },
  );

  test.each([-1, 10, 1.5])('is no number of retries such as %d', async (maxRetries) => {
    await expect(start({ maxRetries })).rejects.toMatchObject({ members: { param: 'max_retries' } });
  });
});

describe('a run that is finished', () => {
  test('by a hundred callers of two replicas, while calls settle, has one outcome and one answer, now and later', async () => {
    const { id } = await start();
    await attempt(id, 100);
    const settling = (async () => {
      for (let n = 0; n < 30; n++) await attempt(id, 1);
    })();
    const results = await Promise.allSettled(
      Array.from({ length: 100 }, (_, n) =>
        finish(id, services[n % 2 === 0 ? 0 : 1], { outcome: runOutcomes[n % 3]!, summary: `said ${n}` }),
      ),
    );
    await settling;
    const told = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
    expect(told.length).toBeGreaterThanOrEqual(33);
    for (const one of told) expect(one).toEqual(told[0]);
    for (const error of refused) expect(error).toMatchObject({ code: 'conflict' });
    await attempt(id, 10_000);
    const outcome = told[0]!.run.state as (typeof runOutcomes)[number];
    expect(await finish(id, services[1], { outcome, summary: 'again' })).toEqual(told[0]);
    // What settles after its end is the run's all the same.
    expect((await get(id)).totals).toMatchObject({ attempts: 32n, costUsd: 10_130n });
    const entries = await db.pool.query(`SELECT action FROM audit_entries WHERE target = $1 ORDER BY at`, [id]);
    expect(entries.rows).toEqual([{ action: 'run.started' }, { action: 'run.finished' }]);
  });

  test('is marked to be counted in the transaction of its end', async () => {
    const { id } = await start();
    const marked = async () =>
      (await db.pool.query(`SELECT recount FROM run_totals WHERE run_id = $1`, [id])).rows as { recount: boolean }[];
    expect(await marked()).toEqual([]);
    await expect(finish(id, services[0], { error: 'but it succeeded' })).rejects.toMatchObject({
      code: 'invalid_argument',
    });
    expect(await marked()).toEqual([]);
    await finish(id);
    expect(await marked()).toEqual([{ recount: true }]);
    // Who finishes it again changes nothing.
    await queryAsOwner(db, `UPDATE run_totals SET recount = false WHERE run_id = $1`, [id]);
    await finish(id);
    expect(await marked()).toEqual([{ recount: false }]);
  });

  test('waits for whoever counts it without holding up other control writes', async () => {
    const { id } = await start();
    await db.pool.query(`INSERT INTO run_totals (run_id, project_id) VALUES ($1, 'prj_a')`, [id]);
    const counting = await other.connect();
    try {
      await counting.query('BEGIN');
      await counting.query(`UPDATE run_totals SET attempts = 1 WHERE run_id = $1`, [id]);
      const finishing = finish(id);
      await expect
        .poll(async () => (await db.pool.query(`SELECT FROM pg_locks WHERE NOT granted`)).rowCount)
        .toBeGreaterThan(0);
      await start();
      await counting.query('COMMIT');
      expect((await finishing).run.state).toBe('succeeded');
    } finally {
      counting.release();
    }
  });

  test('says what came of it and why, whatever characters that has, and is not left running for one of them', async () => {
    const text = 'Error: \u001b[2Jboom\0\n  at <script>alert(1)</script>\u202e \ud800';
    const kept = 'Error: \u001b[2Jboom\ufffd\n  at <script>alert(1)</script>\u202e \ufffd';
    const family = '👩\u200d👩\u200d👧';
    for (const [said, told] of [
      [text, kept],
      [family, family],
      ['a\nb', 'a\nb'],
      ['🙂'.repeat(300), '🙂'.repeat(300)],
    ] as const) {
      const { id } = await start();
      const { run } = await finish(id, services[0], { outcome: 'failed', summary: said, error: said });
      expect(run).toMatchObject({ state: 'failed', summary: told, error: told });
      expect((await get(id)).run).toEqual(run);
    }
  });

  test.each([
    ['summary', runSummaryCharsMax],
    ['error', runErrorCharsMax],
  ])('says no more of its %s than %d characters, however many units these are', async (param, charsMax) => {
    const { id } = await start();
    const ended = (chars: number) => finish(id, services[0], { outcome: 'failed', [param]: '🙂'.repeat(chars) });
    await expect(ended(charsMax + 1)).rejects.toMatchObject({ code: 'invalid_argument', members: { param } });
    expect((await ended(charsMax)).run.state).toBe('failed');
  });

  test('a second time is written nowhere, and sums nothing', async () => {
    const { id } = await start();
    await finish(id);
    const version = async () => (await db.pool.query('SELECT version FROM control_version')).rows;
    const before = await version();
    const asked = await statementsOf((service) => finish(id, service));
    await expect(finish(id, services[0], { outcome: 'failed' })).rejects.toMatchObject({ code: 'conflict' });
    expect(await version()).toEqual(before);
    expect(asked).toHaveLength(1);
  });

  test('by an agent whose it is not costs that agent one look-up, whatever the run has', async () => {
    const { id } = await start();
    await attempt(id, 1);
    const stranger = { ...agent, id: 'agt_2', agentId: 'agt_2' };
    for (const runId of [id, 'run_none']) {
      const said = { id: runId, projectId, outcome: 'failed', summary: '', error: '' } as const;
      const asked = await statementsOf((service) =>
        expect(service.finish(stranger, 'req_t', said)).rejects.toMatchObject({ code: 'not_found' }),
      );
      expect(asked).toHaveLength(1);
    }
  });
});

describe('the totals of a run', () => {
  test('are those of its ledger rows, corrections included', async () => {
    const { id } = await start();
    const first = await attempt(id, 700);
    await attempt(id, 0, { outcome: 'budget' });
    await attempt(id, -200, { corrects: first });
    const { totals } = await get(id);
    expect(totals).toMatchObject({ attempts: 2n, refused: 1n, costUsd: 500n, tokensInput: 30n, tokensCacheWrite: 15n });
  });

  const count = (id: string, attempts: number, cost: number) =>
    queryAsOwner(
      db,
      `INSERT INTO run_totals (run_id, project_id, attempts, cost_nanousd, estimated_nanousd) VALUES ($1, 'prj_a', $2, $3, 100)
       ON CONFLICT (run_id) DO UPDATE SET attempts = $2, cost_nanousd = $3, estimated_nanousd = 100`,
      [id, attempts, cost],
    );
  const drop = (...attempts: string[]) => queryAsOwner(db, `DELETE FROM attempts WHERE id = ANY ($1)`, [attempts]);

  test('outlive the ledger: where it has dropped some of the run they are what was counted', async () => {
    const { id } = await start();
    const [first, second] = [await attempt(id, 300), await attempt(id, 400)];
    await finish(id);
    await count(id, 2, 700);
    expect((await get(id)).totals).toMatchObject({ costUsd: 700n, estimatedUsd: 0n });
    for (const gone of [first, second]) {
      await drop(gone);
      expect((await get(id)).totals).toMatchObject({
        attempts: 2n,
        costUsd: 700n,
        estimatedUsd: 100n,
        measuredUsd: 600n,
      });
    }
    // Who finishes it again is told what the first one was.
    expect((await finish(id)).totals).toMatchObject({ costUsd: 700n, estimatedUsd: 0n });
  });

  test('are not forgotten of a run that runs longer than its ledger is kept, and are what it ends with', async () => {
    const { id } = await start();
    const attempts = [];
    for (let n = 0; n < 5; n++) attempts.push(await attempt(id, 100));
    await count(id, 5, 500);
    await drop(...attempts);
    expect((await get(id)).totals).toMatchObject({ attempts: 5n, costUsd: 500n });
    expect((await finish(id)).totals).toMatchObject({ attempts: 5n, costUsd: 500n });
    expect((await finish(id)).totals).toMatchObject({ attempts: 5n, costUsd: 500n });
  });

  test('are those of the ledger while that has all of the run, whenever it ended and whatever is counted of it', async () => {
    const { id } = await start();
    await attempt(id, 300);
    await attempt(id, 400);
    await finish(id);
    for (const counted of [0, 1, 2]) {
      await count(id, counted, 1);
      await queryAsOwner(db, `UPDATE runs SET finished_at = finished_at + interval '1 ms' WHERE id = $1`, [id]);
      sleptMs = counted * 25 * 3_600_000;
      expect((await get(id)).totals).toMatchObject({ attempts: 2n, costUsd: 700n, measuredUsd: 700n });
    }
  });
});
