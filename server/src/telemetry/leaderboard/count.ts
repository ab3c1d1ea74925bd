import type { Pool } from 'pg';
import { boardModelsMax, countedBatchesMax, countedRunsPerBatchMax } from '../../base/telemetry-limits.ts';
import { inTransaction } from '../../pg/tx.ts';
import {
  addToVersionDays,
  addToVersionDurations,
  clearMarks,
  letModelsIn,
  selectOwnModel,
  takeMarkedRuns,
  writeCountedRuns,
} from './count-store.ts';

/**
 * Counts runs that are marked (decision 0024), a batch a transaction: what each contributes now, less what it contributed
 * before. Any number of workers may do so at once; what one leaves off in the middle is undone, and is counted by the next.
 * @returns how many runs were counted; what is left over a bound is for the next look
 */
export async function countMarkedRuns(pool: Pool): Promise<number> {
  let counted = 0;
  for (let batches = 0; batches < countedBatchesMax; batches++) {
    const batch = await countBatch(pool);
    counted += batch;
    if (batch < countedRunsPerBatchMax) break;
  }
  return counted;
}

function countBatch(pool: Pool): Promise<number> {
  return inTransaction(pool, async (tx) => {
    const runIds = await takeMarkedRuns(tx, countedRunsPerBatchMax);
    if (runIds.length === 0) return 0;
    await letModelsIn(tx, runIds, boardModelsMax);
    const batch = { runIds, ownModel: await selectOwnModel(tx, runIds) };
    await addToVersionDays(tx, batch);
    await addToVersionDurations(tx, batch);
    await writeCountedRuns(tx, batch);
    await clearMarks(tx, runIds);
    return runIds.length;
  });
}
