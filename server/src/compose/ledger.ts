/** The ledger of this process and its jobs. Part of the composition root: see main.ts. */
import { systemClock } from '../base/clock.ts';
import { instanceBeatMs, noticesEveryMs, purgeEveryMs } from '../base/limits.ts';
import { Instance, sweepHolds, sweepLeases } from '../budget/instances.ts';
import { Ledger } from '../budget/ledger.ts';
import { ThresholdNotices } from '../budget/notices.ts';
import { purgeHolds } from '../budget/retention.ts';
import { TouchedCounters } from '../budget/touched-counters.ts';
import { startJobs } from '../worker/ticker.ts';
import type { Base } from './base.ts';
import type { Control } from './control.ts';
import { type Store, openPool } from './database.ts';

const ledgerGraceMs = 10_000;

// The lane and the flush of leases: each has one transaction under way.
const ledgerLanes = 2;

/** The ledger of this process, and the jobs that keep it honest: the heartbeat, and posting what dead processes held. */
export async function startLedger(
  base: Base,
  { pool, connection }: Store,
  { budgets, identity }: Pick<Control, 'budgets' | 'identity'>,
): Promise<{ ledger: Ledger; instance: Instance }> {
  const { config, log, metrics, stops } = base;
  const instance = new Instance(pool, systemClock);
  await instance.beat();
  stops.add('instance', () => instance.stop());
  // The data folder is ours alone: whoever else held money on it is dead.
  if (config.embedded) await instance.buryOthers();
  await sweepHolds(pool);
  await sweepLeases(pool);
  const jobs = [
    { name: 'heartbeat', everyMs: instanceBeatMs, run: () => instance.beat() },
    { name: 'sweep holds', everyMs: instanceBeatMs, run: () => sweepHolds(pool) },
    { name: 'sweep leases', everyMs: instanceBeatMs, run: () => sweepLeases(pool) },
    { name: 'purge holds', everyMs: purgeEveryMs, run: () => purgeHolds(pool) },
  ];
  stops.add('jobs', startJobs(jobs, log));
  const lanes = openPool(base, 'ledger pool', { ...connection, max: ledgerLanes, plansByKey: true });
  const touched = new TouchedCounters();
  const durabilityOf = (projectId: string) => identity.durabilityOf(projectId);
  const ledger = new Ledger({ pool: lanes, instance, budgets, durabilityOf, touched, clock: systemClock, log });
  stops.add('ledger', () => ledger.stop(ledgerGraceMs));
  const notices = new ThresholdNotices({
    pool,
    touched,
    databaseNow: () => instance.databaseNow(),
    clock: systemClock,
    log,
    onNotice: ({ mode }) => metrics.budgetThresholds.inc({ mode }),
  });
  const look = { name: 'budget notices', everyMs: noticesEveryMs, run: () => notices.check() };
  stops.add('notices', startJobs([look], log));
  return { ledger, instance };
}
