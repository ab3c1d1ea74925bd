import { type IdPrefix, newId } from '../../server/src/base/ids.ts';
import type { Queryable } from '../../server/src/pg/tx.ts';
import type { TestDatabase } from './database.ts';

/** Whose rows are written. */
export interface Owner {
  readonly projectId: string;
  readonly agentId: string;
}

const dayMs = 86_400_000;

/** Rows of every kind that grows, over some days back: as many of each, and a few events and opinions a run. */
export async function writeExportedRows(db: Queryable, { projectId, agentId }: Owner, each: number): Promise<void> {
  const ids = (prefix: IdPrefix, count = each) =>
    Array.from({ length: count }, () => newId(prefix, Date.now() - Math.floor(Math.random() * 5 * dayMs)));
  const runIds = ids('run');
  const every = <T>(count: number, make: (n: number) => T) => Array.from({ length: count }, (_, n) => make(n));
  const run = (text: string, values: unknown[]) => db.query(text, values);
  await run(
    `INSERT INTO runs (id, project_id, agent_id, workflow, state, finished_at, control_version)
     SELECT id, $1, $2, 'flow', CASE WHEN n % 3 = 0 THEN 'running' ELSE 'succeeded' END,
       CASE WHEN n % 3 > 0 THEN now() END, 1
     FROM unnest($3::text[]) WITH ORDINALITY AS of (id, n)`,
    [projectId, agentId, runIds],
  );
  await run(
    `INSERT INTO run_events (id, project_id, agent_id, run_id, type, level, message, data, occurred_at)
     SELECT id, $1, $2, run_id, 'step', 'info', repeat('event ', 20), '{"n":1}', now()
     FROM unnest($3::text[], $4::text[]) AS of (id, run_id)`,
    [
      projectId,
      agentId,
      // An id is of about the time of its run.
      every(2 * each, (n) => runIds[n % each]!.replace('run_', 'evt_').slice(0, -6) + newId('evt').slice(-6)),
      every(2 * each, (n) => runIds[n % each]),
    ],
  );
  await run(
    `INSERT INTO attempts (id, request_id, project_id, agent_id, run_id, workflow, provider, model_asked, model_served, dialect_in,
       streamed, tokens_input, tokens_output, tokens_cache_read, tokens_cache_write_5m, tokens_cache_write_1h,
       tokens_reasoning, cost_nanousd, provenance, outcome, started_at, queue_ms, total_ms, overrun, corrects)
     SELECT id, 'req_' || n, $1, $2, run_id, 'flow', 'claude', 'claude-1', 'claude-1', 'anthropic', false, 10, 10, 0, 0, 0, 0, 1000,
       'measured', 'success', now(), 0, 1, false, CASE WHEN corrects THEN id END
     FROM unnest($3::text[], $4::text[]) WITH ORDINALITY AS of (id, run_id, n), (VALUES (false), (true)) AS rows (corrects)
     WHERE NOT corrects OR n % 10 = 0`,
    [projectId, agentId, ids('att'), runIds],
  );
  await run(
    `INSERT INTO provisional_attempts (id, project_id, agent_id, client_id, call_id, fingerprint, provider, model, tokens_input,
       tokens_output, tokens_cache_read, tokens_cache_write, cost_nanousd, outcome, started_at)
     SELECT id, $1, $2, id, id, sha256(id::bytea), 'claude', 'claude-1', 1, 1, 0, 0, 1, 'success', now()
     FROM unnest($3::text[]) AS of (id)`,
    [projectId, agentId, ids('prv')],
  );
  await run(
    `INSERT INTO run_ratings (run_id, project_id, rated_by, rating, comment)
     SELECT run_id, $1, 'psn_' || n, 4, 'good' FROM unnest($2::text[]) AS of (run_id), generate_series(1, 2) AS n`,
    [projectId, runIds.filter((_, n) => n % 4 === 0)],
  );
  await run(
    `INSERT INTO run_evaluations (run_id, project_id, evaluator, score_ppm, notes, recorded_by)
     SELECT run_id, $1, 'tests', 500000, 'half', 'svc_1' FROM unnest($2::text[]) AS of (run_id)`,
    [projectId, runIds.filter((_, n) => n % 5 === 0)],
  );
  await run(
    `INSERT INTO benchmarks (id, project_id, workflow, provider_type, provider, model, tokens_input, tokens_output, cost_nanousd,
       latency_ms, notes, recorded_by)
     SELECT id, $1, 'flow', 'api', 'claude', 'claude-1', 1, 1, 1, 1, '', 'test' FROM unnest($2::text[]) AS of (id)`,
    [projectId, ids('bmk')],
  );
  await run(
    `INSERT INTO tasks (id, project_id, title, details, status, tags, created_by)
     SELECT id, $1, 'task ' || n, repeat('d', (n % 7 * 3000)::int), 'todo', '{a,b}', 'test'
     FROM unnest($2::text[]) WITH ORDINALITY AS of (id, n)`,
    [projectId, ids('task')],
  );
  await run(
    `INSERT INTO notes (id, project_id, title, body, tags, created_by)
     SELECT id, $1, 'note', 'body', '{}', 'test' FROM unnest($2::text[]) AS of (id)`,
    [projectId, ids('note')],
  );
  await run(
    `INSERT INTO changelog (id, project_id, category, summary, details, actor_kind, actor_id)
     SELECT id, $1, 'ops', 'changed', '', 'operator', 'test' FROM unnest($2::text[]) AS of (id)`,
    [projectId, ids('chg')],
  );
}

const keys = {
  team: 'SELECT id FROM teams WHERE deleted_at IS NULL AND project_id = $1',
  person: 'SELECT id FROM people WHERE project_id = $1',
  agent: 'SELECT id FROM agents WHERE project_id = $1',
  key: 'SELECT id FROM api_keys WHERE project_id = $1',
  budget: 'SELECT id FROM budgets WHERE deleted_at IS NULL AND project_id = $1',
  policyVersion: 'SELECT version::text AS id FROM policy_versions WHERE project_id = $1',
  killSwitch: 'SELECT id FROM kill_switches WHERE project_id = $1',
  promptVersion: 'SELECT id FROM prompt_versions WHERE project_id = $1',
  publishedWorkflow: 'SELECT workflow AS id FROM published_workflows WHERE unpublished_at IS NULL AND project_id = $1',
  run: 'SELECT id FROM runs WHERE project_id = $1',
  runEvent: 'SELECT id FROM run_events WHERE project_id = $1',
  attempt: "SELECT id || coalesce(' of ' || corrects, '') AS id FROM attempts WHERE project_id = $1",
  reportedAttempt: 'SELECT id FROM provisional_attempts WHERE project_id = $1',
  rating: "SELECT run_id || ' ' || rated_by AS id FROM run_ratings WHERE project_id = $1",
  evaluation: "SELECT run_id || ' ' || evaluator AS id FROM run_evaluations WHERE project_id = $1",
  benchmark: 'SELECT id FROM benchmarks WHERE project_id = $1',
  task: 'SELECT id FROM tasks WHERE project_id = $1',
  note: 'SELECT id FROM notes WHERE project_id = $1',
  changelogEntry: 'SELECT id FROM changelog WHERE project_id = $1',
} as const;

export type Kind = keyof typeof keys;

/** What there is now, by kind: names of records as {@link nameOf} makes them. */
export async function standingRows({ pool }: TestDatabase, projectId: string): Promise<Map<Kind, string[]>> {
  const found = new Map<Kind, string[]>();
  for (const [kind, statement] of Object.entries(keys)) {
    const { rows } = await pool.query<{ id: string }>(statement, [projectId]);
    found.set(
      kind as Kind,
      rows.map(({ id }) => id),
    );
  }
  return found;
}

/** The rows of the kinds that are only appended to which were committed when a snapshot was taken. */
export async function appendedRows(
  { pool }: TestDatabase,
  projectId: string,
  snapshot: string,
): Promise<Map<Kind, string[]>> {
  const found = new Map<Kind, string[]>();
  for (const kind of ['attempt', 'runEvent'] as const) {
    const { rows } = await pool.query<{ id: string }>(
      `${keys[kind]} AND pg_visible_in_snapshot(tx_id::text::xid8, $2)`,
      [projectId, snapshot],
    );
    found.set(
      kind,
      rows.map(({ id }) => id),
    );
  }
  return found;
}

/** What tells a record from the others of its kind. */
export function nameOf(kind: string, record: object): string {
  const { id, corrects, version, workflow, runId, ratedBy, evaluator } = record as Readonly<
    Record<string, string | undefined>
  >;
  switch (kind) {
    case 'attempt':
      return corrects === undefined ? String(id) : `${id} of ${corrects}`;
    case 'policyVersion':
      return String(version);
    case 'publishedWorkflow':
      return String(workflow);
    case 'rating':
      return `${runId} ${ratedBy}`;
    case 'evaluation':
      return `${runId} ${evaluator}`;
    default:
      return String(id);
  }
}
