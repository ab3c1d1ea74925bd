import type { Pool } from 'pg';
import { PortcullisError } from '../base/errors.ts';
import { nameCharsMax } from '../base/limits.ts';
import { checkLine } from '../identity/input.ts';
import type { Principal } from '../identity/model.ts';
import { type Page, type PageRequest, readPage } from '../identity/page.ts';
import { type RunFilter, servedFilter } from './list-filter.ts';
import { selectRuns } from './list-store.ts';
import type { ListedRun } from './model.ts';
import { isOthers, noSuchVersion } from './reach.ts';
import { findPromptVersion } from './store.ts';

/**
 * Lists runs, newest first; an agent's are its own, and another's none.
 * @param filter its `promptVersion` may be a label
 * @throws PortcullisError policy_denied (a key bound to a run), invalid_argument (filters that are not served together),
 * not_found (no such version of the prompt)
 */
export async function listRuns(
  pool: Pool,
  by: Principal,
  filter: RunFilter,
  page: PageRequest,
): Promise<Page<ListedRun>> {
  if (by.runId !== null) {
    throw new PortcullisError('policy_denied', `This key is bound to the run ${by.runId}: read that one.`, {
      rule: 'key.run',
    });
  }
  const asked = {
    ...filter,
    agentId: by.agentId ?? filter.agentId,
    workflow: checkName('workflow', filter.workflow),
    promptVersion: checkName('prompt_version', filter.promptVersion),
  };
  const served = servedFilter({ ...asked, promptVersion: await digestOf(pool, asked) });
  return readPage(page, async (beforeId, limit) =>
    isOthers(by.agentId, filter.agentId) ? [] : selectRuns(pool, asked, served, beforeId, limit),
  );
}

/** As a run that is started names them. @throws PortcullisError invalid_argument */
function checkName(param: string, name: string | null): string | null {
  return name === null ? null : checkLine(param, name, 1, nameCharsMax);
}

/** The version that a filter names. Of which workflow it must say, since the same content may be a version of several. */
async function digestOf(pool: Pool, filter: RunFilter): Promise<string | null> {
  const { projectId, workflow, promptVersion } = filter;
  if (promptVersion === null || workflow === null) return promptVersion;
  // No label looks like one.
  if (/^[0-9a-f]{64}$/i.test(promptVersion)) return promptVersion.toLowerCase();
  const digest = await findPromptVersion(pool, { projectId, workflow }, promptVersion);
  if (digest !== null) return digest;
  throw noSuchVersion(workflow, promptVersion);
}
