import { isDeepStrictEqual } from 'node:util';
import { type Actor, appendAudit } from '../audit/append.ts';
import { matchedDaysMax } from '../base/limits.ts';
import { defaultProjectName } from '../identity/bootstrap.ts';
import { findProjectByName } from '../identity/project-store.ts';
import type { Queryable, Tx } from '../pg/tx.ts';
import { dayAfter } from './calendar-day.ts';
import type { Booked, MatchedModel, ProviderDay, ReconciledDay, Tolerance } from './model.ts';
import { busiestProject, byModel, dayKey, matchDay } from './rules.ts';
import { bookedOf, currentFigures, currentMatches, droppedDays, insertMatches, knownBills } from './store.ts';

/** What came of matching some days. */
export interface Matched {
  /** How many days of providers were matched. */
  readonly days: number;
  /** Those of them that the ledger no longer has: they stay as they were last found to be. */
  readonly droppedDays: number;
  /** All their models. */
  readonly rows: readonly ReconciledDay[];
}

/** By which bounds, and for whom. */
interface MatchOrder {
  readonly tolerance: Tolerance;
  readonly actor: Actor;
  readonly requestId: string;
}

const modelsInAudit = 20;

/**
 * Matches days with what the ledger holds by now, and adds a matching where it differs from the last one. Whoever calls
 * holds the lock of the providers.
 */
export async function matchDays(tx: Tx, days: readonly ProviderDay[], order: MatchOrder): Promise<Matched> {
  const figures = Map.groupBy(await currentFigures(tx, days), dayKey);
  const before = Map.groupBy(await currentMatches(tx, days), dayKey);
  const bills = new Map((await knownBills(tx, days)).map((bill) => [dayKey(bill), bill]));
  const booked = Map.groupBy(await bookedOn(tx, days), dayKey);
  const fallback = await findProjectByName(tx, defaultProjectName);
  if (!fallback) throw new Error('there is no default project: the schema is damaged');
  const rows: ReconciledDay[] = [];
  const dropped = await droppedDays(tx, days);
  for (const day of days) {
    const key = dayKey(day);
    const bill = bills.get(key);
    const here = booked.get(key) ?? [];
    const known = (before.get(key) ?? []).toSorted(byModel);
    if (dropped.has(day.day)) {
      rows.push(...known);
      continue;
    }
    const projectId = bill?.projectId ?? busiestProject(here) ?? fallback.id;
    const next = matchDay(figures.get(key) ?? [], here, bill?.costs === true, order.tolerance);
    if (
      isDeepStrictEqual(
        known.map(comparable),
        next.map((model) => ({ projectId, ...model })),
      )
    ) {
      rows.push(...known);
      continue;
    }
    await insertMatches(tx, { ...day, projectId, matchedBy: order.actor.id }, next);
    await auditDrift(tx, day, projectId, next, order);
    rows.push(...next.map((model) => ({ ...model, ...day, projectId })));
  }
  return { days: days.length, droppedDays: days.filter(({ day }) => dropped.has(day)).length, rows };
}

function comparable({ provider: _provider, day: _day, ...model }: ReconciledDay): object {
  return model;
}

async function bookedOn(db: Queryable, days: readonly ProviderDay[]): Promise<Booked[]> {
  const booked: Booked[] = [];
  for (const [provider, own] of Map.groupBy(days, (day) => day.provider)) {
    const rest = own.map(({ day }) => day).toSorted();
    for (let first = rest[0]; first !== undefined; first = rest[0]) {
      const end = dayAfter(first, matchedDaysMax);
      const span = rest.splice(0, rest.findLastIndex((day) => day < end) + 1);
      booked.push(...(await bookedOf(db, provider, first, span.at(-1) ?? first)));
    }
  }
  return booked;
}

async function auditDrift(
  tx: Tx,
  { provider, day }: ProviderDay,
  projectId: string,
  rows: readonly MatchedModel[],
  { actor, requestId }: MatchOrder,
): Promise<void> {
  const drifted = rows.filter(({ state }) => state === 'drifted');
  if (drifted.length === 0) return;
  await appendAudit(tx, {
    actor,
    action: 'reconciliation.drifted',
    target: `${provider} ${day}`,
    projectId,
    requestId,
    payload: {
      drifted: drifted.length,
      unexplained_nanousd: rows.reduce((sum, { unexplainedUsd }) => sum + unexplainedUsd, 0n).toString(),
      models: drifted.slice(0, modelsInAudit).map(({ model, billedUsd, bookedUsd }) => ({
        model,
        billed_nanousd: billedUsd?.toString() ?? null,
        booked_nanousd: bookedUsd.toString(),
      })),
    },
  });
}
