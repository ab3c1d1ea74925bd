/** Where people decide: links and pages. Part of the composition root: see main.ts. */
import { approvalKinds } from '../approval/model.ts';
import { LinkMint } from '../approval/links/mint.ts';
import { purgeLinks } from '../approval/links/store.ts';
import { type LinkKeys, linkKeys } from '../approval/links/token.ts';
import { linksKeptMs } from '../base/approval-limits.ts';
import { systemClock } from '../base/clock.ts';
import { RateLimiter } from '../base/gcra.ts';
import { bucketsMax, purgeBatchMax, purgeEveryMs } from '../base/limits.ts';
import type { ApprovalPages } from '../http/approvals/options.ts';
import type { Authenticator } from '../identity/authenticator.ts';
import { startJobs } from '../worker/ticker.ts';
import type { StartedApprovals } from './approvals.ts';
import type { Base } from './base.ts';
import type { Control } from './control.ts';
import type { Store } from './database.ts';

/** What signs links and opens them. */
export interface Links {
  readonly keys: LinkKeys;
  readonly mint: LinkMint;
}

/** Links are signed with HITL_SECRET; those that it signed before it was changed hold on. */
export function createLinks({ config }: Base): Links {
  const { HITL_SECRET, HITL_SECRET_PREVIOUS } = config.options;
  const keys = linkKeys([...(HITL_SECRET === null ? [] : [HITL_SECRET]), ...HITL_SECRET_PREVIOUS]);
  return { keys, mint: new LinkMint(keys, HITL_SECRET !== null) };
}

/** What the pages are made from, and the job that forgets links of long ago. */
export function startApprovalPages(
  { config, log, metrics, stops }: Base,
  { pool }: Store,
  { feed }: Pick<Control, 'feed'>,
  authenticator: Authenticator,
  { keys, mint }: Links,
  { approvals, editors }: Pick<StartedApprovals, 'approvals' | 'editors'>,
): Omit<ApprovalPages, 'takeRate'> {
  const run = async () => {
    while ((await purgeLinks(pool, linksKeptMs, purgeBatchMax)) === purgeBatchMax);
  };
  stops.add('approval links', startJobs([{ name: 'purge approval links', everyMs: purgeEveryMs, run }], log));
  return {
    authenticator,
    publicUrl: config.options.PUBLIC_URL,
    assertFresh: () => feed.assertFresh(),
    pool,
    approvals,
    editableKinds: new Set(approvalKinds.filter((kind) => editors[kind] !== undefined)),
    linkKeys: keys,
    mint,
    limiter: new RateLimiter(systemClock, bucketsMax),
    metrics,
    log,
  };
}
