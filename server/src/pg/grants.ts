import { escapeIdentifier } from 'pg';
import type { Tx } from './tx.ts';

const readOnly = 'SELECT';
const appendOnly = 'SELECT, INSERT';
const ended = 'SELECT, INSERT, UPDATE';
const passing = 'SELECT, INSERT, UPDATE, DELETE';

/** What the application's role may do, by table. Rows end rather than vanish; only answers kept for a time are deleted. */
export const appPrivileges: Readonly<Record<string, string>> = {
  schema_migrations: readOnly,
  schema_layout: readOnly,
  control_version: 'SELECT, UPDATE',
  projects: ended,
  people: ended,
  teams: ended,
  sessions: passing,
  device_codes: passing,
  logins: ended,
  agents: ended,
  api_keys: ended,
  signing_keys: ended,
  signature_nonces: passing,
  kill_switches: ended,
  kill_acknowledgements: passing,
  runs: ended,
  budgets: ended,
  policy_versions: appendOnly,
  policy_state: ended,
  policy_records: passing,
  budget_counters: ended,
  budget_notices: appendOnly,
  instances: ended,
  // A hold that ended is gone (decision 0014).
  holds: passing,
  leases: passing,
  lease_postings: appendOnly,
  lease_flushes: passing,
  attempts: appendOnly,
  ledger_dropped_days: readOnly,
  telemetry_dropped_days: readOnly,
  bill_imports: appendOnly,
  billed_figures: appendOnly,
  billed_days: appendOnly,
  reconciled_days: appendOnly,
  current_reconciled_days: readOnly,
  provisional_attempts: appendOnly,
  provisional_days: ended,
  tasks: passing,
  notes: 'SELECT, INSERT, DELETE',
  changelog: appendOnly,
  benchmarks: appendOnly,
  journal_quotas: ended,
  run_events: appendOnly,
  rollup_watermarks: 'SELECT, UPDATE',
  rollup_kept: 'SELECT, UPDATE',
  rollup_series: appendOnly,
  attempt_rollups_1m: passing,
  attempt_rollups_1h: passing,
  attempt_rollups_1d: ended,
  attempt_latency_1m: passing,
  attempt_latency_1h: passing,
  attempt_latency_1d: ended,
  event_rollups_1m: passing,
  event_rollups_1h: passing,
  event_rollups_1d: ended,
  run_totals: ended,
  prompt_versions: ended,
  run_ratings: ended,
  run_evaluations: ended,
  counted_models: appendOnly,
  counted_runs: ended,
  version_days: ended,
  version_durations: ended,
  published_workflows: ended,
  public_counts: ended,
  // What left the window is folded.
  public_steps: 'SELECT, INSERT, DELETE',
  public_durations: 'SELECT, INSERT, DELETE',
  audit_entries: appendOnly,
  idempotency_keys: passing,
  cache_entries: passing,
  cache_quarantine: passing,
};

/** What of the schema's functions the application's role may call beyond what everybody may: those that do DDL for it, within their bounds. */
export const appFunctions: readonly string[] = [
  'ledger_add_days(int)',
  'ledger_drop_day(date)',
  'telemetry_add_days(text, int)',
  'telemetry_drop_day(text, date)',
];

/**
 * Gives the application's role exactly `appPrivileges` and `appFunctions`: no DDL, no temporary tables, and nothing left of earlier grants.
 * @throws Error when the role does not exist, or is the one that migrates
 */
export async function grantAppRole(tx: Tx, role: string): Promise<void> {
  const { rows } = await tx.query<{ database: string; exists: boolean; owner: boolean }>(
    `SELECT current_database() AS database, current_user = $1 AS owner,
            EXISTS (SELECT FROM pg_roles WHERE rolname = $1) AS exists`,
    [role],
  );
  const [found] = rows;
  if (found?.exists !== true) {
    throw new Error(
      `The role "${role}" does not exist: create it with CREATE ROLE ${escapeIdentifier(role)} LOGIN PASSWORD '...', then migrate again.`,
    );
  }
  if (found.owner) {
    throw new Error(`The role "${role}" owns the schema: the application needs a role of its own, with less to lose.`);
  }
  const name = escapeIdentifier(role);
  const database = escapeIdentifier(found.database);
  await tx.query(`REVOKE CREATE, TEMPORARY ON DATABASE ${database} FROM PUBLIC, ${name}`);
  await tx.query(`GRANT CONNECT ON DATABASE ${database} TO ${name}`);
  await tx.query(`REVOKE ALL ON SCHEMA public FROM PUBLIC, ${name}`);
  await tx.query(`GRANT USAGE ON SCHEMA public TO ${name}`);
  await tx.query(`REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, ${name}`);
  for (const [table, privileges] of Object.entries(appPrivileges)) {
    await tx.query(`GRANT ${privileges} ON ${escapeIdentifier(table)} TO ${name}`);
  }
  for (const signature of appFunctions) {
    await tx.query(`REVOKE ALL ON FUNCTION ${signature} FROM PUBLIC`);
    await tx.query(`GRANT EXECUTE ON FUNCTION ${signature} TO ${name}`);
  }
}
