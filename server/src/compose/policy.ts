/** What judges calls, and keeps what it saw for simulations. Part of the composition root: see main.ts. */
import { systemClock } from '../base/clock.ts';
import { purgeEveryMs } from '../base/limits.ts';
import { PolicyJudge } from '../policy/judge.ts';
import type { PolicyIndex } from '../policy/policy-index.ts';
import { PolicyRecords } from '../policy/record-writer.ts';
import { startJobs } from '../worker/ticker.ts';
import { type Base, startWriter } from './base.ts';
import type { Store } from './database.ts';

/** Judges by the policies of control state. What it saw is recorded for POLICY_RECORD_DAYS; 0 records nothing. */
export function startPolicy(base: Base, { pool }: Store, index: PolicyIndex): PolicyJudge {
  const { config, log, metrics, stops } = base;
  const days = config.options.POLICY_RECORD_DAYS;
  const records = new PolicyRecords(pool, systemClock, (reason, count, err) => {
    metrics.policyRecordsDropped.inc({ reason }, count);
    if (err !== undefined) log.warn({ err, count }, 'judged calls could not be recorded for simulations');
  });
  if (days > 0) startWriter(base, 'policy records', records);
  const purge = { name: 'purge policy records', everyMs: purgeEveryMs, run: () => records.purge(days) };
  stops.add('purge of policy records', startJobs([purge], log));
  return new PolicyJudge({ index, records: days > 0 ? records : null, metrics, clock: systemClock });
}
