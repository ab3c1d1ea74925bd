import type { Queryable } from '../pg/tx.ts';
import { type UsageFilter, filterValues, filtered, lastCorrections, rangeOf } from './usage-store-filter.ts';

export const usageGroups = ['agent', 'model', 'provider', 'run', 'day'] as const;
export type UsageGroup = (typeof usageGroups)[number];

/** Sums over attempts, corrections included: an attempt counts with what is known of it now. */
export interface UsageTotal {
  /** An id or a name; `2026-11-22` for days (UTC); empty where the attempts have none. */
  readonly key: string;
  /** Attempts, each counted once however often it was corrected. */
  readonly attempts: bigint;
  /** Those of them that a rule, a budget or a kill switch refused or stopped. */
  readonly refused: bigint;
  readonly tokensInput: bigint;
  readonly tokensOutput: bigint;
  readonly tokensCacheRead: bigint;
  readonly tokensCacheWrite: bigint;
  readonly tokensReasoning: bigint;
  /** The sum of the next three. */
  readonly costUsd: bigint;
  readonly estimatedUsd: bigint;
  readonly measuredUsd: bigint;
  readonly reconciledUsd: bigint;
  readonly notionalUsd: bigint;
}

/** By what a row is grouped, and how that is written. */
const keyOf: Readonly<Record<UsageGroup, readonly [grouped: string, written: string]>> = {
  agent: ['a.agent_id', `coalesce(key, '')`],
  model: ['a.model_asked', `coalesce(key, '')`],
  provider: ['a.provider', `coalesce(key, '')`],
  run: ['a.run_id', `coalesce(key, '')`],
  day: [`(a.started_at AT TIME ZONE 'UTC')::date`, `to_char(key, 'YYYY-MM-DD')`],
};

/** What is summed, by the name that the parts of a sum have. */
const amounts = {
  input: 'tokens_input',
  output: 'tokens_output',
  cache_read: 'tokens_cache_read',
  cache_write_5m: 'tokens_cache_write_5m',
  cache_write_1h: 'tokens_cache_write_1h',
  reasoning: 'tokens_reasoning',
  cost: 'cost_nanousd',
  notional: 'notional_nanousd',
} as const;

const sums = Object.entries(amounts).map(([name, column]) => `sum(a.${column}) AS ${name}`);

/**
 * Totals by group: days newest first, all else dearest first; `limit` of them at most. What was corrected counts with the
 * outcome and provenance of its last correction, what a bill agrees with as reconciled; most sums have neither, and are
 * spared the joins.
 */
export async function sumUsage(
  db: Queryable,
  filter: UsageFilter,
  group: UsageGroup,
  limit: number,
): Promise<UsageTotal[]> {
  const [grouped, written] = keyOf[group];
  const values = filterValues(filter, rangeOf(filter));
  const { from, provenance, outcome } = await knownNow(db, values);
  const { rows } = await db.query<UsageTotal>(
    `WITH parts AS (
       SELECT ${grouped} AS key, ${provenance} AS provenance, ${outcome} AS outcome,
              count(*) FILTER (WHERE a.corrects IS NULL) AS attempts, ${sums.join(', ')}
       FROM ${from} GROUP BY 1, 2, 3
     )
     SELECT ${written} AS key,
            sum(attempts)::bigint AS attempts,
            coalesce(sum(attempts) FILTER (WHERE outcome IN ('refused', 'budget', 'killed')), 0)::bigint AS refused,
            sum(input)::bigint AS "tokensInput",
            sum(output)::bigint AS "tokensOutput",
            sum(cache_read)::bigint AS "tokensCacheRead",
            sum(cache_write_5m + cache_write_1h)::bigint AS "tokensCacheWrite",
            sum(reasoning)::bigint AS "tokensReasoning",
            sum(cost)::bigint AS "costUsd",
            coalesce(sum(cost) FILTER (WHERE provenance = 'estimated'), 0)::bigint AS "estimatedUsd",
            coalesce(sum(cost) FILTER (WHERE provenance = 'measured'), 0)::bigint AS "measuredUsd",
            coalesce(sum(cost) FILTER (WHERE provenance = 'reconciled'), 0)::bigint AS "reconciledUsd",
            sum(notional)::bigint AS "notionalUsd"
     FROM parts WHERE ($12::text IS NULL OR outcome = $12)
     GROUP BY parts.key ORDER BY ${group === 'day' ? '' : '"costUsd" DESC,'} parts.key DESC NULLS LAST LIMIT $13`,
    [...values, filter.outcome, limit],
  );
  return rows;
}

/** The rows `a` of a filter, and expressions for what is known of each by now. */
async function knownNow(db: Queryable, values: readonly unknown[]) {
  const { rows } = await db.query<{ corrected: boolean; reconciled: boolean }>(
    `SELECT EXISTS (SELECT FROM attempts WHERE corrects IS NOT NULL AND ${filtered}) AS corrected,
            EXISTS (SELECT FROM reconciled_days WHERE ${agreed}) AS reconciled`,
    [...values],
  );
  const { corrected = false, reconciled = false } = rows[0] ?? {};
  const last = `LEFT JOIN ${lastCorrections} AS c ON c.id = a.id`;
  const provenance = corrected ? 'coalesce(c.provenance, a.provenance)' : 'a.provenance';
  return {
    from: `(SELECT * FROM attempts WHERE ${filtered}) AS a ${corrected ? last : ''} ${reconciled ? billed : ''}`,
    provenance: reconciled ? `CASE WHEN r.day IS NULL THEN ${provenance} ELSE 'reconciled' END` : provenance,
    outcome: corrected ? 'coalesce(c.outcome, a.outcome)' : 'a.outcome',
  };
}

// Of the days that the filter's range of ids spans: what a run used costs no look at all that was ever billed.
const dayOf = (leastId: string) => `ledger_day_of(${leastId} || repeat('0', 16))`;
const agreed = `state = 'reconciled' AND ($10::text IS NULL OR day >= ${dayOf('$10')})
  AND ($11::text IS NULL OR day <= ${dayOf('$11')})`;

// A bill agrees with all attempts of a model on a day at once (decision 0017).
const billed = `LEFT JOIN (
    SELECT DISTINCT provider, day, unnest(booked_models) AS model FROM current_reconciled_days WHERE ${agreed}
  ) AS r ON r.provider = a.provider AND r.day = (a.started_at AT TIME ZONE 'UTC')::date
        AND r.model = coalesce(a.model_served, a.model_asked, '(none)')`;
