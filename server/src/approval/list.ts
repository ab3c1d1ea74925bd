import type { Pool } from 'pg';
import type { Principal } from '../identity/model.ts';
import { type Page, type PageRequest, readPage } from '../identity/page.ts';
import { type ListFilter, selectApprovals } from './list-store.ts';
import type { Approval } from './model.ts';

/**
 * Requests of a project, newest first. An agent sees what it asked for itself; a key that is bound to a run, of that run alone.
 * @throws PortcullisError invalid_argument
 */
export async function listApprovals(
  pool: Pool,
  by: Principal,
  { projectId, state, runId }: Omit<ListFilter, 'requesterId'>,
  page: PageRequest,
): Promise<Page<Approval>> {
  if (by.runId !== null && runId !== null && by.runId !== runId) return { items: [], nextCursor: null };
  const filter = {
    projectId,
    state,
    runId: by.runId ?? runId,
    requesterId: by.kind === 'agent' ? by.id : null,
  };
  return readPage(page, (beforeId, limit) => selectApprovals(pool, filter, beforeId, limit));
}
