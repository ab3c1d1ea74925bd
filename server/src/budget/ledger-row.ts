import { ledgerLabelCharsMax } from '../base/limits.ts';
import type { NanoUsd } from '../base/money.ts';
import type { Attempt, ShadowVerdict, WorstCase } from './model.ts';

/** The columns of `attempts` that we write; the others fill themselves. */
export const ledgerColumns = [
  'id',
  'request_id',
  'attempt_no',
  'project_id',
  'agent_id',
  'person_id',
  'key_id',
  'run_id',
  'workflow',
  'client_session',
  'route',
  'provider',
  'model_asked',
  'model_served',
  'dialect_in',
  'dialect_out',
  'streamed',
  'price_version',
  'tokens_input',
  'tokens_output',
  'tokens_cache_read',
  'tokens_cache_write_5m',
  'tokens_cache_write_1h',
  'tokens_reasoning',
  'cost_nanousd',
  'notional_nanousd',
  'held_nanousd',
  'provenance',
  'outcome',
  'error_class',
  'rule',
  'started_at',
  'queue_ms',
  'connect_ms',
  'first_token_ms',
  'total_ms',
  'overrun',
  'corrects',
  'shadow_verdicts',
] as const;

export type LedgerColumn = (typeof ledgerColumns)[number];

/** A row of the ledger as JSON, by its columns. What is undefined is null: left out, it takes no room in a hold. */
export type LedgerRow = Readonly<
  Record<LedgerColumn, string | number | boolean | readonly ShadowVerdict[] | undefined>
> & { readonly id: string };

/** The columns that a correction changes: it holds the differences. */
export const amountColumns: ReadonlySet<LedgerColumn> = new Set<LedgerColumn>([
  'tokens_input',
  'tokens_output',
  'tokens_cache_read',
  'tokens_cache_write_5m',
  'tokens_cache_write_1h',
  'tokens_reasoning',
  'cost_nanousd',
  'notional_nanousd',
]);

/** `heldUsd`: what was reserved for the attempt. */
export function ledgerRow(attempt: Attempt, heldUsd: NanoUsd, budgetShadows: readonly ShadowVerdict[]): LedgerRow {
  const shadowVerdicts = [...(attempt.policyShadows ?? []), ...budgetShadows];
  return {
    id: attempt.id,
    request_id: attempt.requestId,
    attempt_no: attempt.attemptNo,
    project_id: attempt.projectId,
    agent_id: attempt.agentId ?? undefined,
    person_id: attempt.personId ?? undefined,
    key_id: attempt.keyId ?? undefined,
    run_id: attempt.runId ?? undefined,
    workflow: label(attempt.workflow),
    client_session: label(attempt.clientSession),
    route: label(attempt.route),
    provider: attempt.provider ?? undefined,
    model_asked: label(attempt.modelAsked),
    model_served: label(attempt.modelServed),
    dialect_in: attempt.dialectIn,
    dialect_out: attempt.dialectOut ?? undefined,
    streamed: attempt.streamed,
    price_version: attempt.priceVersion ?? undefined,
    tokens_input: attempt.usage.input,
    tokens_output: attempt.usage.output,
    tokens_cache_read: attempt.usage.cacheRead,
    tokens_cache_write_5m: attempt.usage.cacheWrite5m,
    tokens_cache_write_1h: attempt.usage.cacheWrite1h,
    tokens_reasoning: attempt.usage.reasoning,
    cost_nanousd: attempt.costUsd.toString(),
    notional_nanousd: attempt.notionalUsd.toString(),
    held_nanousd: heldUsd.toString(),
    provenance: attempt.provenance,
    outcome: attempt.outcome,
    error_class: attempt.errorClass ?? undefined,
    rule: label(attempt.rule),
    started_at: new Date(attempt.startedAt).toISOString(),
    queue_ms: attempt.queueMs,
    connect_ms: attempt.connectMs ?? undefined,
    first_token_ms: attempt.firstTokenMs ?? undefined,
    total_ms: attempt.totalMs,
    overrun: attempt.overrun,
    corrects: attempt.corrects ?? undefined,
    shadow_verdicts: shadowVerdicts.length > 0 ? shadowVerdicts : undefined,
  };
}

/** The row that stands in for an attempt that nobody ended: its worst case, estimated. */
export function crashRow(attempt: Attempt, worst: WorstCase, shadowVerdicts: readonly ShadowVerdict[]): LedgerRow {
  const crashed: Attempt = {
    ...attempt,
    usage: worst.usage,
    costUsd: worst.usd,
    provenance: 'estimated',
    outcome: 'failed',
    errorClass: 'crash',
  };
  return ledgerRow(crashed, worst.usd, shadowVerdicts);
}

/**
 * Text that a caller may have made up, so that it can be stored: PostgreSQL keeps neither NUL nor half a surrogate
 * pair, and one such row would fail the whole batch of its neighbours.
 */
function label(text: string | null): string | undefined {
  return text === null ? undefined : text.slice(0, ledgerLabelCharsMax).replaceAll('\0', '\uFFFD').toWellFormed();
}
