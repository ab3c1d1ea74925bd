import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { runCommand } from './support/cli.ts';
import { createTestDatabase, queryAsOwner, type TestDatabase } from './support/database.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { type CostReader, readCosts } from './support/statement-costs.ts';

/** What strangers see of the leaderboard, and what their looking costs. */

let database: TestDatabase;
let costs: CostReader;
let gate: TestGate;
let replica: TestGate;
const adminKey = 'public-leaderboard-7q3w5e9r1t2y4u6i8o0p';

beforeAll(async () => {
  database = await createTestDatabase();
  costs = await readCosts(database);
  gate = await startGate({ database, env: { DATABASE_URL: costs.url, ADMIN_API_KEY: adminKey } });
  replica = await startGate({ database, env: { ADMIN_API_KEY: adminKey } });
});
afterAll(async () => {
  await replica?.stop();
  await gate?.stop();
  await costs?.close();
  await database?.drop();
});

interface Shown {
  readonly makeTime?: string;
  readonly workflows: readonly {
    readonly title: string;
    readonly windowDays: number;
    readonly entries: readonly Readonly<Record<string, unknown>>[];
  }[];
}

const path = '/portcullis.v1.AnalyticsService/GetPublicLeaderboard';

/** Asks without a credential. */
async function look(
  at: TestGate,
  headers: Record<string, string> = {},
  request: object = {},
): Promise<{ status: number; body: Shown }> {
  const answer = await fetch(at.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(request),
  });
  return { status: answer.status, body: (await answer.json()) as Shown };
}

const admin = <T>(method: string, body: object) => gate.api<T>(`AnalyticsService/${method}`, body, adminKey);
const eventually = <T>(what: () => Promise<T>) => vi.waitFor(what, { timeout: 60_000, interval: 300 });

/** Runs that ended some days ago, as they are recorded. */
async function ended(
  projectId: string,
  workflow: string,
  label: string,
  digest: string,
  runs: number,
  daysAgo = 1,
): Promise<void> {
  const agent = `agt_of_${projectId}`;
  await queryAsOwner(
    database,
    `INSERT INTO agents (id, project_id, name, created_by, control_version) VALUES ($1, $2, 'secret agent', 'test', 1)
     ON CONFLICT DO NOTHING`,
    [agent, projectId],
  );
  await queryAsOwner(
    database,
    `INSERT INTO prompt_versions (id, project_id, workflow, digest, label, label_confirmed, registered_by)
     VALUES ('prm_' || $3, $1, $2, $3, $4, $4 <> 'hidden', 'test')`,
    [projectId, workflow, digest, label],
  );
  await queryAsOwner(
    database,
    `WITH made AS (
       INSERT INTO runs (id, project_id, agent_id, workflow, prompt_version, task_id, state, started_at, finished_at, control_version)
       SELECT 'run_' || left($4, 8) || n, $1, $2, $3, $4, 'secret task', CASE WHEN n % 4 = 0 THEN 'failed' ELSE 'succeeded' END,
              now() - $6 * interval '1 day' - interval '3 s', now() - $6 * interval '1 day', 1 FROM generate_series(1, $5::int) AS n RETURNING id
     ) INSERT INTO run_totals (run_id, project_id, cost_nanousd, model, recount) SELECT id, $1, 123456789, 'secret model', true FROM made`,
    [projectId, agent, workflow, digest, runs, daysAgo],
  );
}

it('has published workflows alone, as titles, labels and aggregates of five runs or more', async () => {
  const self = await gate.api<{ principal: { projectId: string } }>('SystemService/GetSelf', {}, adminKey);
  const { projectId } = self.principal;
  const names = ['many', 'some', 'few'].map((name, at) => [name, String(at).repeat(64)] as const);
  for (const [at, [label, digest]] of names.entries())
    await ended(projectId, 'secret workflow', `<b>${label}</b>`, digest, [12, 5, 4][at] ?? 0);
  await ended(projectId, 'secret workflow', 'hidden', 'e'.repeat(64), 30);
  await ended(projectId, 'secret workflow', 'today', 'd'.repeat(64), 20, 0);
  await ended(projectId, 'unpublished', 'unpublished', 'f'.repeat(64), 20);
  // Too few to tell what each of them is.
  await queryAsOwner(
    database,
    `INSERT INTO run_ratings (run_id, project_id, rated_by, rating, comment)
     SELECT 'run_00000000' || n, $1, 'secret person', 5, 'secret comment' FROM generate_series(1, 4) AS n`,
    [projectId],
  );
  await admin('PublishWorkflow', { workflow: 'secret workflow', title: 'Fixing <bugs>' });
  const { workflows, makeTime } = await eventually(async () => {
    const { body } = await look(gate);
    expect(body.workflows[0]?.entries).toHaveLength(3);
    return body;
  });
  expect(Math.abs(Date.now() - Date.parse(makeTime ?? ''))).toBeLessThan(120_000);
  expect(workflows).toHaveLength(1);
  expect(workflows[0]).toMatchObject({ title: 'Fixing <bugs>', windowDays: 30 });
  const entries = workflows[0]?.entries ?? [];
  const [hidden, many, some] = ['version eeeeeeee', '<b>many</b>', '<b>some</b>'].map((label) =>
    entries.find((entry) => entry['label'] === label),
  );
  expect(hidden).toMatchObject({ runs: '30', durationP50Ms: expect.any(Number) });
  expect(hidden).not.toHaveProperty('durationP95Ms');
  expect(many).toMatchObject({
    rank: 2,
    label: '<b>many</b>',
    runs: '12',
    successRate: 0.75,
    costPerSuccessNanousd: '160000000',
  });
  for (const member of ['rating', 'durationP50Ms', 'durationP95Ms']) expect(many).not.toHaveProperty(member);
  expect(some).toEqual({
    label: '<b>some</b>',
    runs: '5',
    cancelled: '0',
    successRate: 0.8,
    successInterval: { low: expect.any(Number), high: expect.any(Number) },
    costPerSuccessNanousd: '150000000',
  });
  const text = JSON.stringify(workflows);
  expect(text).not.toMatch(/secret|unpublished|run_|agt_|prj_|prm_|few|hidden|today|000000000000/);
  await eventually(async () => expect((await look(replica)).body.workflows).toEqual(workflows));
  expect((await look(gate, {}, { title: 'Fixing <bugs>' })).body.workflows).toEqual(workflows);
  expect((await look(gate, {}, { title: 'secret workflow' })).status).toBe(404);
});

it('costs strangers and the database nothing: no statement, no credential, a bound by address', async () => {
  const bad = { authorization: 'Bearer pcl_nonsense', 'x-api-key': `pcl_${'A'.repeat(12)}_${'B'.repeat(43)}xxxxxx` };
  costs.take();
  const beganAt = Date.now();
  for (let n = 0; n < 100; n++) expect((await look(gate, n % 2 === 0 ? {} : bad)).status).toBe(200);
  const took = Date.now() - beganAt;
  const during = costs.take().length;
  await new Promise((rest) => setTimeout(rest, Math.max(took, 3_000)));
  // What the gate does by itself, it does in the meantime too; of 100 requests not one in five had a statement.
  expect(during).toBeLessThan(costs.take().length + 20);
  const statuses = new Set<number>();
  for (let n = 0; n < 400; n++) statuses.add((await look(gate)).status);
  expect(statuses).toEqual(new Set([200, 429]));
  // Who has a credential is not held up by them.
  await admin('ListPublishedWorkflows', {});
});

it('is given up at once where it is unpublished, and as soon on other replicas as they know', async () => {
  const published = await admin<{ publishedWorkflows: object[] }>('ListPublishedWorkflows', {});
  expect(published.publishedWorkflows).toMatchObject([{ workflow: 'secret workflow', title: 'Fixing <bugs>' }]);
  await replica.api('AnalyticsService/UnpublishWorkflow', { workflow: 'secret workflow' }, adminKey);
  expect((await look(replica)).body.workflows).toEqual([]);
  await eventually(async () => expect((await look(gate)).body.workflows).toEqual([]));
  await expect(admin('UnpublishWorkflow', { workflow: 'secret workflow' })).rejects.toThrow('not_found');
  const { rows } = await database.pool.query<{ action: string }>(
    `SELECT action, target, payload->>'title' AS title FROM audit_entries WHERE action LIKE 'workflow.%' ORDER BY id`,
  );
  expect(rows).toEqual([
    { action: 'workflow.published', target: 'secret workflow', title: 'Fixing <bugs>' },
    { action: 'workflow.unpublished', target: 'secret workflow', title: 'Fixing <bugs>' },
  ]);
});

it('is published by who may write policies, under a title that nobody else has', async () => {
  const { secret } = await gate.api<{ secret: string }>(
    'AgentService/CreateKey',
    { name: 'reader', kind: 'PRINCIPAL_KIND_OPERATOR', scopes: ['admin:read', 'telemetry:write', 'runs:write'] },
    adminKey,
  );
  const method = 'AnalyticsService/PublishWorkflow';
  await expect(gate.api(method, { workflow: 'w', title: 't' }, secret)).rejects.toThrow('insufficient_scope');
  await admin('PublishWorkflow', { workflow: 'one', title: 'One' });
  await expect(admin('PublishWorkflow', { workflow: 'two', title: 'One' })).rejects.toThrow('already_exists');
  await expect(admin('PublishWorkflow', { workflow: 'two', title: '\u202eowT' })).rejects.toThrow('400');
  await expect(admin('PublishWorkflow', { workflow: 'two', title: '\u3164\u2800' })).rejects.toThrow('can be seen');
  const environment = { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: adminKey };
  const command = (...args: string[]) => runCommand(['leaderboard', ...args], { environment });
  expect((await command('publish', 'two', 'Two')).stdout).toContain('"Two" is public');
  expect((await command('published')).stdout).toMatch(/one +One[^]*two +Two/);
  expect(JSON.parse((await command('unpublish', 'two', '--json')).stdout)).toMatchObject({
    publishedWorkflow: { workflow: 'two' },
  });
  expect((await command('published')).stdout).not.toContain('Two');
});

it('is still there, with its time, when the database is not', async () => {
  const before = await eventually(async () => {
    const { body } = await look(gate);
    expect(body.workflows).toHaveLength(1);
    return body;
  });
  await costs.close();
  const { status, body } = await eventually(async () => {
    const answer = await look(gate);
    expect(answer.status).toBe(200);
    await expect(admin('ListPublishedWorkflows', {})).rejects.toThrow(/50\d/);
    return answer;
  });
  expect(status).toBe(200);
  expect(body.workflows).toEqual(before.workflows);
  expect(body.makeTime).toBeDefined();
});
