import { setTimeout as sleep } from 'node:timers/promises';
import { emitEvent } from '../../../server/src/outbox/emit.ts';
import { inTransaction } from '../../../server/src/pg/tx.ts';
import { queryAsOwner, type TestDatabase } from '../../support/database.ts';
import { type Delivered, DeliveryTarget } from '../../support/delivery-target.ts';
import {
  addEndpoint,
  type MadeEndpoint,
  makeDue,
  makeProjects,
  projectId,
  sealingKey,
} from '../../support/webhook-endpoints.ts';
import { Random } from '../random.ts';
import { judge } from './verdict.ts';
import { Worker } from './workers.ts';

export interface RunOptions {
  readonly seed: number;
  readonly kills: number;
  readonly progress: (line: string) => void;
}

export interface Report {
  readonly seed: number;
  readonly kills: number;
  readonly seconds: number;
  readonly counts: Readonly<Record<string, number>>;
  /** What did not hold; none is the proof. */
  readonly violations: readonly string[];
}

/** What came to the receiver, and how it was answered. */
export interface Receipt extends Delivered {
  readonly status: number;
}

const [workers, emitters, endpoints] = [3, 4, 4];
/** Of the endpoints, those from here on want order. */
const orderedFrom = 3;
const pauseBetweenKillsMs = 250;
/** Of one emitter for each kill: so many that there is always something under way, and that a small machine keeps up. */
const eventsPerKill = 15;
const settleMs = 120_000;
const undone = new Error('undone');

/**
 * Emits events, some in transactions that are undone, while the processes that deliver them are killed with SIGKILL and come
 * back; the receiver fails some and is slow with others. When all is delivered the books must agree.
 */
export async function run(db: TestDatabase, { seed, kills, progress }: RunOptions): Promise<Report> {
  const startedMs = performance.now();
  await makeProjects(db);
  const random = Random.of(seed, 0);
  const target = await DeliveryTarget.start();
  const receipts: Receipt[] = [];
  target.answer = (received) => {
    const status = random.chance(0.1) ? 500 : 204;
    receipts.push({ ...received, status });
    return { status, ...(random.chance(0.1) && { after: sleep(random.int(10, 300)) }) };
  };
  const made: (MadeEndpoint & { readonly path: string; readonly ordered: boolean })[] = [];
  for (let at = 0; at < endpoints; at++) {
    const [path, ordered] = [`/endpoint-${at}`, at >= orderedFrom];
    made.push({ ...(await addEndpoint(db, { url: target.url(path), ordered })), path, ordered });
  }
  const job = {
    url: db.appUrl,
    sealingKey: Buffer.concat([sealingKey.id, sealingKey.key.export()]).toString('hex'),
    ports: [target.place.port],
    timeoutMs: 2_000,
    claimMs: 3_000,
  };
  const all = Array.from({ length: workers }, () => new Worker(job));
  await Promise.all(all.map((worker) => worker.start()));
  const emitted = Promise.all(
    Array.from({ length: emitters }, (_, n) => emit(db, Random.of(seed, n + 1), n, kills * eventsPerKill)),
  );
  for (let kill = 1; kill <= kills; kill++) {
    await sleep(pauseBetweenKillsMs + random.int(0, pauseBetweenKillsMs));
    const worker = random.pick(all as [Worker, ...Worker[]]);
    await worker.end('SIGKILL');
    await worker.start();
    await makeDue(db);
    if (kill % 10 === 0) progress(`${kill} of ${kills} kills, ${receipts.length} messages came`);
  }
  const committed = (await emitted).reduce((sum, count) => sum + count, 0);
  const waiting = await settle(db);
  await Promise.all(all.map((worker) => worker.end('SIGTERM')));
  await target.stop();
  const { counts, violations } = await judge(db, { committed, waiting, receipts, endpoints: made });
  return { seed, kills, seconds: Math.round((performance.now() - startedMs) / 1000), counts, violations };
}

/** Emits events of a few keys that nobody else uses, one after the other. @returns how many were committed */
async function emit(db: TestDatabase, random: Random, n: number, count: number): Promise<number> {
  let committed = 0;
  for (let number = 0; number < count; number++) {
    const undo = random.chance(0.1);
    const kind = undo ? 'undone' : 'told';
    try {
      await inTransaction(db.pool, async (tx) => {
        await emitEvent(tx, {
          type: 'approval.expired',
          projectId,
          key: `${n}-${random.int(0, 4)}`,
          data: { approval_id: `${n}-${number}`, kind, run_id: null },
        });
        if (undo) throw undone;
      });
      committed++;
    } catch (error) {
      if (error !== undone) throw error;
    }
    await sleep(random.int(0, 50));
  }
  return committed;
}

/** Waits until nothing waits, with failures tried again at once. @returns how many deliveries wait still when time is up */
async function settle(db: TestDatabase): Promise<number> {
  const untilMs = performance.now() + settleMs;
  for (;;) {
    await makeDue(db);
    await sleep(200);
    const [row] = await queryAsOwner<{ count: number }>(
      db,
      `SELECT (SELECT count(*) FROM webhook_deliveries WHERE state = 'pending')::int
            + (SELECT count(*) FROM outbox_events WHERE fanned_out_at IS NULL)::int AS count`,
    );
    if (row?.count === 0 || performance.now() > untilMs) return row?.count ?? -1;
  }
}
