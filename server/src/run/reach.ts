import { PortcullisError } from '../base/errors.ts';
import type { Principal } from '../identity/model.ts';
import type { RunScope } from './store.ts';

/**
 * Whose runs the caller may reach: an agent its own alone, a key bound to a run that run alone.
 * @throws PortcullisError not_found
 */
export function reach(by: Principal, { id, projectId }: { readonly id: string; readonly projectId: string }): RunScope {
  const scope = { id, projectId, agentId: by.agentId };
  if (by.runId !== null && by.runId !== id) throw noSuchRun(id);
  return scope;
}

/** Whether a list that names an agent or a run names another than the caller's own, which has nothing for it. */
export function isOthers(own: string | null, named: string | null): boolean {
  return own !== null && named !== null && named !== own;
}

export function noSuchRun(id: string): PortcullisError {
  return new PortcullisError('not_found', `There is no run "${id.slice(0, 100)}" that you may see.`, {
    param: 'run_id',
  });
}

export function noSuchVersion(workflow: string, name: string): PortcullisError {
  return new PortcullisError(
    'not_found',
    `The workflow "${workflow}" has no prompt version "${name.slice(0, 100)}": register it first.`,
    { param: 'prompt_version' },
  );
}
