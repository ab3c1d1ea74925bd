import type { HandlerContext } from '@connectrpc/connect';
import { callerOf } from '../caller.ts';

/** Who changes the policy of which project, and what they had read of it. */
export function changeOf(
  { projectId: named, etag }: { readonly projectId?: string | undefined; readonly etag: string },
  context: HandlerContext,
  etagIs: 'required' | 'optional' = 'required',
) {
  const { principal: by, requestId, projectId } = callerOf(context, named);
  return { by, requestId, projectId, etag: etag === '' && etagIs === 'optional' ? null : etag };
}
