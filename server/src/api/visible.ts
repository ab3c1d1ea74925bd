import { controlReachMs } from '../base/limits.ts';
import type { ControlFeed } from '../pg/control-feed.ts';
import { seenAfterCommit } from '../pg/request-scope.ts';

/**
 * What a control write made, once this replica obeys it: the caller's next request here finds it. In a transaction of the
 * whole request that is waited for after its commit (api/idempotent-writes.ts).
 * @throws PortcullisError what the write throws, or unavailable when the replica cannot read it back in time
 */
export async function visible<T>(
  feed: Pick<ControlFeed, 'reach'>,
  write: Promise<{ readonly result: T; readonly version: bigint }>,
): Promise<T> {
  const { result, version } = await write;
  if (!seenAfterCommit(version)) await feed.reach(version, controlReachMs);
  return result;
}
