import type { Pool } from 'pg';
import type { LinkMint } from '../../approval/links/mint.ts';
import type { LinkKeys } from '../../approval/links/token.ts';
import type { ApprovalKind } from '../../approval/model.ts';
import type { Approvals } from '../../approval/service.ts';
import type { RateLimiter } from '../../base/gcra.ts';
import type { Logger } from '../../base/log.ts';
import type { Metrics } from '../../base/metrics.ts';
import type { PageCallers } from '../sign-in/browser.ts';

/** What the pages on which people decide are made from. */
export interface ApprovalPages extends PageCallers {
  readonly pool: Pool;
  readonly approvals: Approvals;
  /** Those whose arguments a person may change. */
  readonly editableKinds: ReadonlySet<ApprovalKind>;
  readonly linkKeys: LinkKeys;
  readonly mint: LinkMint;
  readonly limiter: RateLimiter;
  readonly metrics: Metrics;
  readonly log: Logger;
}
