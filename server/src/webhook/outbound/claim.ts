import type { Pool } from 'pg';
import { inTransaction } from '../../pg/tx.ts';
import { claimDeliveries, type DueEndpoint, holdRated, lockDue, secretsOf } from './claim-store.ts';
import { refreshDue } from './due-store.ts';
import type { Claimed } from './model.ts';
import type { SealedSecret } from './signing.ts';

/** Deliveries that this process is to make, and what signs for their endpoints. */
export interface Claims {
  readonly claimed: readonly Claimed[];
  /** By endpoint. */
  readonly secrets: ReadonlyMap<string, readonly SealedSecret[]>;
}

/**
 * Claims deliveries that are due, in one transaction.
 * @param slow whether of endpoints that answer slowly or not at all, or of the others
 * @param limit free places
 */
export function claim(
  pool: Pool,
  request: { readonly slow: boolean; readonly limit: number; readonly claimMs: number },
): Promise<Claims> {
  return inTransaction(pool, async (tx) => {
    const endpoints = await lockDue(tx, request.slow, request.limit);
    if (endpoints.length === 0) return { claimed: [], secrets: new Map() };
    const claimed = await claimDeliveries(tx, endpoints, request);
    const held = heldFor(endpoints, claimed);
    if (held.size > 0) await holdRated(tx, held);
    const ids = endpoints.map(({ id }) => id);
    await refreshDue(tx, ids);
    const secrets = new Map<string, SealedSecret[]>();
    for (const { endpointId, ...secret } of await secretsOf(tx, ids))
      secrets.set(endpointId, [...(secrets.get(endpointId) ?? []), secret]);
    return { claimed, secrets };
  });
}

/** Milliseconds by endpoint that has a rate. */
function heldFor(endpoints: readonly DueEndpoint[], claimed: readonly Claimed[]): ReadonlyMap<string, number> {
  const held = new Map<string, number>();
  for (const { id, ratePerS } of endpoints) {
    const count = claimed.filter(({ endpointId }) => endpointId === id).length;
    if (ratePerS !== null && count > 0) held.set(id, (count / ratePerS) * 1000);
  }
  return held;
}
