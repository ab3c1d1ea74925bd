import type { Pool } from 'pg';
import { boardDaysDefault } from '../../base/telemetry-limits.ts';
import { inTransaction } from '../../pg/tx.ts';
import type { VersionSums } from './model.ts';
import {
  areRunsUncounted,
  foldSteps,
  holdReleases,
  lastReleasedDay,
  type PublicScope,
  releaseDurations,
  releaseSums,
  sumReleased,
  writeReleased,
} from './public-step-store.ts';

const dayMs = 86_400_000;

/**
 * What strangers may see of a workflow at a moment (decision 0024): whole steps, which whoever looks first after the end of
 * a day releases, and which never change. So every replica shows the same, and no two boards differ by fewer than five runs.
 * @param nowMs epoch milliseconds by the database's clock
 */
export async function publicSums(pool: Pool, scope: PublicScope, nowMs: number, limit: number): Promise<VersionSums[]> {
  const lastDay = dayText(nowMs - dayMs);
  const firstDay = dayText(nowMs - boardDaysDefault * dayMs);
  const released = await lastReleasedDay(pool, scope);
  const isDue = released === null || released < lastDay;
  if (isDue && !(await areRunsUncounted(pool, scope, lastDay))) await release(pool, scope, firstDay, lastDay);
  return sumReleased(pool, scope, firstDay, limit);
}

/**
 * Day by day, so that each step leaves the window in its turn. After a gap, what is of days before the window comes first,
 * as a step of the day before it: it is over, and never shown.
 */
function release(pool: Pool, scope: PublicScope, firstDay: string, lastDay: string): Promise<void> {
  return inTransaction(pool, async (tx) => {
    const released = await holdReleases(tx, scope, firstDay);
    const dayBefore = dayAfter(firstDay, -1);
    for (let day = dayBefore; day <= lastDay; day = dayAfter(day)) {
      if (day > released) {
        await releaseSums(tx, scope, day);
        await releaseDurations(tx, scope, day);
        await writeReleased(tx, scope, day);
      }
      if (day === dayBefore) await foldSteps(tx, scope, day);
    }
  });
}

function dayAfter(day: string, days = 1): string {
  return dayText(Date.parse(day) + days * dayMs);
}

/** YYYY-MM-DD in UTC. */
function dayText(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
