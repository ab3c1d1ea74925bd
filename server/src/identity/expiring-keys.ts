import type { Pool } from 'pg';
import { keyExpiringMs, keysExpiringMax } from '../base/webhook-limits.ts';
import { emitEvent } from '../outbox/emit.ts';
import { inTransaction } from '../pg/tx.ts';
import { keyEventData } from './key-issue.ts';
import { takeExpiringKeys } from './key-store.ts';

/**
 * Tells once of each key that ends soon: in the last quarter of its life, and a week at most before its end. Keys of logins and
 * runs are not told of, nor those that live for less than a day or have a successor: they end as somebody wants it.
 * @returns of how many it told; the next look finds more
 */
export function tellOfExpiringKeys(pool: Pool): Promise<number> {
  return inTransaction(pool, async (tx) => {
    const keys = await takeExpiringKeys(tx, keyExpiringMs, keysExpiringMax);
    for (const key of keys) {
      if (key.expiresAt === null) continue;
      const expires_at = new Date(key.expiresAt).toISOString();
      await emitEvent(tx, {
        type: 'key.expiring',
        projectId: key.projectId,
        key: key.id,
        data: { ...keyEventData(key), expires_at },
      });
    }
    return keys.length;
  });
}
