/** What people decide. Part of the composition root: see main.ts. */
import { outcomesCounted } from '../approval/counted.ts';
import { editObject } from '../approval/editors.ts';
import type { KilledBy } from '../approval/ground.ts';
import type { Continuations, Editors } from '../approval/outcomes.ts';
import { Approvals } from '../approval/service.ts';
import { ApprovalSweep } from '../approval/sweep.ts';
import { ApprovalWaits } from '../approval/waits.ts';
import { approvalPurgeEveryMs, approvalSweepEveryMs } from '../base/approval-limits.ts';
import { startJobs } from '../worker/ticker.ts';
import type { Base } from './base.ts';
import type { Control } from './control.ts';
import type { Store } from './database.ts';

/** What follows from decisions, and who judges what was edited: by kind. */
export interface Plugged {
  readonly continuations: Continuations;
  readonly editors: Editors;
}

export interface StartedApprovals {
  readonly approvals: Approvals;
  readonly approvalWaits: ApprovalWaits;
  /** By kind: who judges what was edited. A kind without one cannot be edited. */
  readonly editors: Editors;
}

/** Requests for decisions, who waits for them, and the sweep that ends those which nobody comes for. */
export function startApprovals(
  { log, metrics, stops }: Base,
  { pool, connection }: Pick<Store, 'pool' | 'connection'>,
  { kills, feed }: Pick<Control, 'kills' | 'feed'>,
  { continuations, editors: more }: Plugged,
): StartedApprovals {
  const editors: Editors = { tool_call: editObject, run_gate: editObject, ...more };
  const killedBy: KilledBy = (subject) => {
    const kill = kills.killedBy({ ...subject, provider: null, models: [] }, feed.databaseNow());
    return kill && `The kill switch stops it: ${kill.reason}`;
  };
  const anyKill = () => kills.engagedAt(feed.databaseNow()) > 0;
  const sweep = new ApprovalSweep(pool, { continuations, killedBy, anyKill });
  const jobs = [
    { name: 'approvals', everyMs: approvalSweepEveryMs, run: () => sweep.sweep() },
    { name: 'purge approvals', everyMs: approvalPurgeEveryMs, run: () => sweep.purge() },
  ];
  stops.add('approvals', startJobs(jobs, log));
  const approvalWaits = new ApprovalWaits({
    pool,
    connection: { ...connection, applicationName: 'portcullis approvals' },
    log,
  });
  approvalWaits.start();
  stops.add('waits for approvals', () => approvalWaits.stop());
  metrics.readings.approvals = () => outcomesCounted;
  metrics.readings.approvalsPending = () => sweep.pending;
  return { approvals: new Approvals(pool, { continuations, editors, killedBy }), approvalWaits, editors };
}
