import { queryAsOwner, type TestDatabase } from './database.ts';

/** Whose rows are made. Rows of a lower era have lower ids: they are older, by any list. */
export interface Growth {
  readonly projectId: string;
  /** Two digits. */
  readonly era: string;
  readonly agentId: string;
  readonly keyId: string;
  readonly principalId: string;
  readonly runs: number;
  /** Of every other kind of row. */
  readonly others: number;
}

/** Rows of every kind that lists show and hot writes pass by, at once; none of them is what a call is for. */
export async function grow(database: TestDatabase, growth: Growth): Promise<void> {
  const { projectId, era, agentId, keyId, principalId, runs, others } = growth;
  const constants = { projectId, era, agentId, keyId, principalId, runs, others };
  for (const statement of statements) {
    const names = [...new Set([...statement.matchAll(/:(\w+)\b/g)].map(([, name = '']) => name))].filter(
      (name): name is keyof typeof constants => name in constants,
    );
    const text = names.reduce((sql, name, n) => sql.replaceAll(`:${name}`, `$${n + 1}`), statement);
    await queryAsOwner(
      database,
      text,
      names.map((name) => constants[name]),
    );
  }
}

/** What the planner learns by itself in time. */
export async function gatherStatistics(database: TestDatabase): Promise<void> {
  await queryAsOwner(database, 'VACUUM ANALYZE');
}

const id = (prefix: string, digits = 22) => `'${prefix}_00' || :era::text || lpad(n::text, ${digits}, '0')`;
const many = 'generate_series(1, :others::int) AS n';

const grownBucket = `date_trunc('day', now(), 'UTC')`;
const grownSeries = `rollup_series WHERE project_id = :projectId::text AND prompt_version LIKE 'version ' || :era::text || '%'`;

const statements: readonly string[] = [
  `INSERT INTO projects (id, name, control_version)
   SELECT ${id('prj')}, 'project ' || :era::text || n, 1 FROM ${many}`,
  `INSERT INTO people (id, project_id, email, name, control_version)
   SELECT ${id('psn')}, :projectId::text, n || '@' || :era::text || '.example.com', 'person', 1 FROM ${many}`,
  `INSERT INTO teams (id, project_id, name, created_by)
   SELECT ${id('team')}, :projectId::text, 'team ' || :era::text || n, 'test' FROM ${many}`,
  `INSERT INTO agents (id, project_id, name, created_by, control_version)
   SELECT ${id('agt')}, :projectId::text, 'grown ' || :era::text || n, 'test', 1 FROM ${many}`,
  `INSERT INTO api_keys (id, project_id, agent_id, kind, name, secret_hash, scopes, created_by, created_at, expires_at, control_version)
   SELECT 'K' || :era::text || lpad(n::text, 9, '0'), :projectId::text, ${id('agt')}, 'agent', 'grown', sha256(n::text::bytea),
          '{runs:write}', 'test', timestamptz '2026-01-01' + :era::int * interval '1 day' + n * interval '1 s',
          now() + interval '1 day', 1
   FROM ${many}`,
  `INSERT INTO signing_keys (id, project_id, key_id, algorithm, public_key, created_by, revoked_at, control_version)
   SELECT ${id('sgk')}, :projectId::text, :keyId::text, 'ed25519', sha256(n::text::bytea), 'test', now(), 1 FROM ${many}`,
  // A principal has few.
  `INSERT INTO sessions (id, digest, project_id, principal_id, person_id, method, key_id, address, user_agent, expires_at)
   SELECT ${id('ses')}, sha256((:era::text || n)::bytea), :projectId::text,
          CASE WHEN n <= 15 THEN :principalId::text ELSE ${id('psn')} END,
          CASE WHEN n > 15 THEN ${id('psn')} END, CASE WHEN n <= 15 THEN 'key' ELSE 'oidc' END,
          CASE WHEN n <= 15 THEN :keyId::text END, '192.0.2.1', 'test', now() + interval '1 hour'
   FROM ${many}`,
  `INSERT INTO logins (id, project_id, person_id, scopes, client_name, address, seed, expires_at)
   SELECT ${id('lgn')}, :projectId::text, ${id('psn')}, '{runs:write}', 'test', '192.0.2.1', sha256(n::text::bytea),
          now() + interval '1 day'
   FROM ${many}`,
  // All that ended in the last minutes is looked at once a minute (budget/notices.ts): these ended before.
  `INSERT INTO runs (id, project_id, agent_id, workflow, state, started_at, finished_at, control_version)
   SELECT ${id('run')}, :projectId::text, CASE WHEN n % 2 = 0 THEN :agentId::text ELSE 'agt_00' || :era::text || lpad('1', 22, '0') END,
          'flow ' || n % 50, 'succeeded', now() - interval '2 hours', now() - interval '1 hour', 1
   FROM generate_series(1, :runs::int) AS n`,
  `INSERT INTO run_totals (run_id, project_id) SELECT ${id('run')}, :projectId::text FROM generate_series(1, :runs::int) AS n`,
  `INSERT INTO run_events (id, project_id, agent_id, run_id, type, level, message, occurred_at)
   SELECT telemetry_day_start('run_events', (now() AT TIME ZONE 'UTC')::date) || '00' || :era::text || lpad(n::text, 12, '0'),
          :projectId::text, :agentId::text, ${id('run')}, 'step', 'info', 'grown', now() FROM ${many}`,
  `INSERT INTO budgets (id, project_id, name, agent_id, unit, "window", limit_amount, created_by, control_version)
   SELECT ${id('bud')}, :projectId::text, 'grown ' || :era::text || n, ${id('agt')}, 'usd', 'lifetime', 1000000000, 'test', 1 FROM ${many}`,
  `INSERT INTO budget_counters (budget_id, window_key, posted) SELECT ${id('bud')}, 'lifetime', 900000000 FROM ${many}`,
  `INSERT INTO budget_notices (budget_id, window_key, percent, id, project_id, posted, limit_amount, mode)
   SELECT ${id('bud')}, 'lifetime', 80, ${id('ntc')}, :projectId::text, 900000000, 1000000000, 'enforce' FROM ${many}`,
  `INSERT INTO lease_postings (project_id, budget_id, window_key, instance_id, epoch, amount)
   SELECT :projectId::text, ${id('bud')}, 'lifetime', 'ins_gone', n, 1 FROM ${many}`,
  `INSERT INTO kill_switches (id, scope, value, project_id, reason, engaged_by, released_at, released_by, control_version)
   SELECT ${id('kil')}, 'workflow', 'flow ' || n, :projectId::text, 'grown', 'test', now(), 'test', 1 FROM ${many}`,
  `INSERT INTO instances (id, started_at, seen_at, stopped_at)
   SELECT ${id('ins')}, now() - interval '1 day', now() - interval '1 day',
          CASE WHEN n % 2 = 0 THEN now() - interval '1 day' END
   FROM ${many}`,
  `INSERT INTO policy_versions (project_id, version, document, rule_count, cap_count, digest, author_id, author_name)
   SELECT :projectId::text, :era::int * 100000 + n, '{"rules":[],"caps":[],"signed_scopes":[]}', 0, 0, sha256(n::text::bytea), 'test',
          'test'
   FROM ${many}`,
  `INSERT INTO attempts (id, request_id, project_id, agent_id, key_id, run_id, workflow, provider, model_asked, model_served, dialect_in,
     streamed, tokens_input, tokens_output, tokens_cache_read, tokens_cache_write_5m, tokens_cache_write_1h, tokens_reasoning,
     cost_nanousd, provenance, outcome, started_at, queue_ms, total_ms, overrun)
   SELECT ledger_day_start((now() AT TIME ZONE 'UTC')::date) || '00' || :era::text || lpad(n::text, 12, '0'), 'req_grown',
          :projectId::text, :agentId::text, :keyId::text, ${id('run')}, 'flow ' || n % 50, 'claude', 'claude-1', 'claude-1',
          'anthropic', false, 10, 10, 0, 0, 0, 0, 1000, 'measured', 'success', now(), 0, 1, false
   FROM ${many}`,
  `INSERT INTO prompt_versions (id, project_id, workflow, digest, label, registered_by)
   SELECT ${id('prm')}, :projectId::text, 'flow ' || n % 50, encode(sha256((:era::text || n)::bytea), 'hex'), 'version ' || :era::text || n,
          'test' FROM ${many}`,
  `INSERT INTO counted_runs (run_id, project_id, workflow, prompt_version, model, day, outcome, cost_nanousd, duration_bin)
   SELECT id, project_id, workflow, '', '', (finished_at AT TIME ZONE 'UTC')::date, state, 0, 0
   FROM runs WHERE project_id = :projectId::text AND state = 'succeeded' ON CONFLICT DO NOTHING`,
  `INSERT INTO version_days (project_id, workflow, prompt_version, model, day, succeeded, failed, cancelled, cost_nanousd,
     succeeded_nanousd, cost_squares, ratings, rating_ppm, rating_squares, evaluations, evaluation_ppm, evaluation_squares)
   SELECT :projectId::text, 'flow ' || n % 50, 'version ' || :era::text || n % 70, '', current_date - n / 3500, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0
   FROM ${many} ON CONFLICT DO NOTHING`,
  `INSERT INTO published_workflows (project_id, workflow, title, published_by, unpublished_at, control_version)
   SELECT :projectId::text, 'flow ' || :era::text || n, 'grown', 'test', now(), 1 FROM ${many}`,
  // A project has 10,000 series at most (decision 0022).
  `INSERT INTO rollup_series (project_id, workflow, prompt_version, model)
   SELECT :projectId::text, 'flow ' || n % 50, 'version ' || :era::text || n, 'claude-1'
   FROM generate_series(1, least(:others::int, 9000)) AS n`,
  ...['1m', '1h', '1d'].flatMap((resolution) => [
    `INSERT INTO attempt_rollups_${resolution} (project_id, bucket, series_id, agent_id, attempts, succeeded, failed, timed_out, refused, killed, over_budget,
       client_closed, retries, tokens_input, tokens_output, tokens_cache_read, tokens_cache_write, tokens_reasoning, cost_nanousd,
       estimated_nanousd, notional_nanousd, success_us)
     SELECT project_id, ${grownBucket}, id, :agentId::text, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 1 FROM ${grownSeries}`,
    `INSERT INTO attempt_latency_${resolution} (project_id, bucket, series_id, bin, attempts)
     SELECT project_id, ${grownBucket}, id, 1, 1 FROM ${grownSeries}`,
  ]),
  `INSERT INTO provisional_attempts (id, project_id, agent_id, client_id, call_id, fingerprint, provider, model, tokens_input, tokens_output,
     tokens_cache_read, tokens_cache_write, cost_nanousd, outcome, started_at)
   SELECT ${id('prv')}, :projectId::text, :agentId::text, 'grown ' || :era::text || n, 'grown ' || :era::text || n, sha256(n::text::bytea), 'claude', 'claude-1', 1, 1, 0, 0, 1,
          'success', now()
   FROM ${many}`,
  `INSERT INTO tasks (id, project_id, title, details, status, tags, created_by)
   SELECT ${id('task')}, :projectId::text, 'grown', 'grown', CASE WHEN n % 2 = 0 THEN 'blocked' ELSE 'todo' END, '{grown}', 'test' FROM ${many}`,
  `INSERT INTO notes (id, project_id, title, body, tags, created_by)
   SELECT ${id('note')}, :projectId::text, 'grown', 'grown', '{}', 'test' FROM ${many}`,
  `INSERT INTO changelog (id, project_id, category, summary, details, actor_kind, actor_id)
   SELECT ${id('chg')}, :projectId::text, CASE WHEN n % 2 = 0 THEN 'policy' ELSE 'ops' END, 'grown', '', 'operator', 'test' FROM ${many}`,
  `INSERT INTO benchmarks (id, project_id, workflow, provider_type, provider, model, tokens_input, tokens_output, cost_nanousd,
     latency_ms, notes, recorded_by)
   SELECT telemetry_day_start('benchmarks', (now() AT TIME ZONE 'UTC')::date) || '00' || :era::text || lpad(n::text, 12, '0'),
          :projectId::text, 'flow ' || n % 2, 'api', 'claude', 'claude-1', 1, 1, 1, 1, '', 'test' FROM ${many}`,
  `INSERT INTO bill_imports (id, source, digest, project_id, providers, first_day, last_day, figures, changed, imported_by)
   SELECT ${id('imp')}, 'csv', sha256((:era::text || n)::bytea), :projectId::text, '{claude}', '2026-01-01', '2026-01-01', 1, 1, 'test'
   FROM ${many}`,
  // Of twenty models a day, from the last days that bills are of back in time; each day was matched twice.
  `INSERT INTO reconciled_days (provider, day, version, model, billed_models, booked_models, state, billed_nanousd, booked_nanousd,
     estimated_nanousd, unexplained_nanousd, booked_tokens, project_id, booked_by, matched_by)
   SELECT 'provider ' || :era::text, current_date - 3 - (60 - :era::int) * 100 - n / 20, version, 'model ' || n % 20, '{}', '{}',
          CASE WHEN n % 2 = 0 THEN 'drifted' ELSE 'reconciled' END, 2, 1, 0, 1, 1, :projectId::text, jsonb_build_object(:projectId::text, '["a model"]'::jsonb), 'test'
   FROM ${many}, generate_series(1, 2) AS version`,
  `INSERT INTO idempotency_keys (id, project_id, fingerprint, claim_id, lease_until, finished_at, answer, expires_at)
   SELECT sha256((:era::text || n)::bytea), :projectId::text, sha256(''), 'idk_grown', now(), now(), '\\x00', now() + interval '1 day'
   FROM ${many}`,
];
