import type { Pool } from 'pg';
import { newId } from '../../base/ids.ts';
import { deliveriesPerFanOutMax, eventsPerFanOutMax } from '../../base/webhook-limits.ts';
import { inTransaction } from '../../pg/tx.ts';
import { refreshDue } from './due-store.ts';
import {
  insertDeliveries,
  lockActive,
  markFannedOut,
  mayFanOut,
  type NewDelivery,
  waitingEvents,
  type Wanted,
  wantedDeliveries,
} from './fan-out-store.ts';

/** `busy`: another process fans out; `more`: there may be more to do. */
export type FannedOut = 'done' | 'more' | 'busy';

/** Makes a delivery of each waiting event for each endpoint that wants it: exactly one, whoever is killed at what moment. */
export function fanOut(pool: Pool): Promise<FannedOut> {
  return inTransaction(pool, async (tx) => {
    if (!(await mayFanOut(tx))) return 'busy';
    const events = await waitingEvents(tx);
    if (events.length === 0) return 'done';
    const wanted = await wantedDeliveries(tx, events);
    const endpoints = [...new Set(wanted.map(({ endpointId }) => endpointId))];
    if (endpoints.length > 0) {
      await insertDeliveries(tx, deliveriesOf(wanted, await lockActive(tx, endpoints)));
      await refreshDue(tx, endpoints);
    }
    // An event that concerns all projects may take several rounds.
    if (wanted.length === deliveriesPerFanOutMax) return 'more';
    await markFannedOut(tx, events);
    return events.length === eventsPerFanOutMax ? 'more' : 'done';
  });
}

/** Those for endpoints that are active still; of one key at an endpoint that wants order, all but the first follow. */
function deliveriesOf(wanted: readonly Wanted[], active: ReadonlyMap<string, boolean>): NewDelivery[] {
  const keys = new Set<string>();
  return wanted.flatMap(({ key, ...delivery }) => {
    const ordered = active.get(delivery.endpointId);
    if (ordered === undefined) return [];
    const orderingKey = ordered ? key : null;
    const named = `${delivery.endpointId} ${orderingKey}`;
    const follows = orderingKey !== null && keys.has(named);
    keys.add(named);
    return [{ ...delivery, id: newId('whd'), orderingKey, follows }];
  });
}
