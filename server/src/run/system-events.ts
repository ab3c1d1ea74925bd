import { eventsAfterEndMs, eventsCountedWithinMs, eventsPerRunMax } from '../base/telemetry-limits.ts';
import { PortcullisError } from '../base/errors.ts';
import type { Tx } from '../pg/tx.ts';
import { EventChecks } from './event-input.ts';
import { countEvents, insertEvents } from './event-store.ts';
import type { EventLevel } from './model.ts';

/** What the gate itself tells of a run, such as a webhook that names it. */
export interface SystemTold {
  readonly runId: string;
  readonly projectId: string;
  readonly type: string;
  readonly level: EventLevel;
  readonly message: string;
  /** A JSON object, as text. */
  readonly data: string;
  /** Of the same id and time it is one event, however often it is told. */
  readonly id: string;
  /** Epoch milliseconds. */
  readonly occurredAt: number;
}

/**
 * Keeps an event that the gate tells of a run, in the caller's transaction and within the bounds of what agents tell (run/events.ts).
 * @param now epoch milliseconds by the database's clock
 * @returns why the run cannot be told, now or later; null where it was told, now or before
 */
export async function tellSystemEvent(tx: Tx, now: number, told: SystemTold): Promise<string | null> {
  const { runId, projectId, type, level, message, data, id, occurredAt } = told;
  const event = checked(() =>
    new EventChecks(runId, Math.floor(now)).check({ type, level, message, data, occurredAt, clientId: id }, 'event'),
  );
  if (typeof event === 'string') return event;
  const scope = { id: runId, projectId, agentId: null };
  const bounds = { afterEndMs: eventsAfterEndMs, perRunMax: eventsPerRunMax };
  let outcome = await insertEvents(tx, scope, bounds, eventsCountedWithinMs, [event]);
  if (outcome?.isOpen && outcome.hasRoom && !outcome.isCounted) {
    if ((await countEvents(tx, runId, eventsPerRunMax)) === eventsPerRunMax) return full;
    outcome = await insertEvents(tx, scope, bounds, null, [event]);
  }
  if (!outcome) return `There is no run "${runId.slice(0, 100)}" in this project.`;
  if (!outcome.isOpen) return 'The run ended more than an hour ago: it takes no more events.';
  return outcome.hasRoom ? null : full;
}

const full = `A run has ${eventsPerRunMax} events at most.`;

function checked<T>(check: () => T): T | string {
  try {
    return check();
  } catch (error) {
    if (error instanceof PortcullisError && error.code === 'invalid_argument') return error.message;
    throw error;
  }
}
