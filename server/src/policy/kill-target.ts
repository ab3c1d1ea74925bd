import { PortcullisError } from '../base/errors.ts';
import { killWildcardsMax, modelNameCharsMax } from '../base/limits.ts';
import { checkLine, invalid } from '../identity/input.ts';
import type { Principal } from '../identity/model.ts';
import { permits, requireScope } from '../identity/permission.ts';
import { findProject, findProjectByName } from '../identity/project-store.ts';
import { requireProject } from '../identity/references.ts';
import type { Tx } from '../pg/tx.ts';
import type { KillTarget } from './kill-rules.ts';
import { findKillTarget } from './kill-store.ts';
import type { KillScope } from './model.ts';

/** What a caller names to be stopped. */
export interface NamedTarget {
  readonly scope: KillScope;
  /** An id, an agent's or project's name, a workflow, a provider, or a model pattern; empty for everything and for the own project. */
  readonly value: string;
  /** Where `value` is looked for. */
  readonly projectId: string;
}

/**
 * What a switch is to stop. Nothing of that name is refused: a stop that stops nothing must not look like one.
 * @param isProvider whether the configuration of this process has a provider of that name
 * @throws PortcullisError invalid_argument, insufficient_scope, not_found
 */
export async function resolveTarget(
  tx: Tx,
  by: Principal,
  { scope, value: text, projectId }: NamedTarget,
  isProvider: (name: string) => boolean,
): Promise<KillTarget> {
  const value = text.trim();
  if (scope === 'everything') {
    requireScope(by, 'admin');
    if (value !== '') throw invalid('value', 'value must be empty where the scope is everything.');
    return { scope, value, projectId: null };
  }
  if (scope === 'project') {
    const id = await findProjectId(tx, value === '' ? projectId : value);
    if (id === null || (id !== by.projectId && !permits(by, 'admin'))) {
      throw new PortcullisError('not_found', `There is no project "${value.slice(0, 100)}" that you may stop.`);
    }
    return { scope, value: id, projectId: id };
  }
  await requireProject(tx, projectId);
  if (scope === 'model') return { scope, value: checkModels(value), projectId };
  if (scope === 'provider') {
    if (isProvider(value)) return { scope, value, projectId };
    throw new PortcullisError(
      'not_found',
      `The configuration of this gate has no provider "${value.slice(0, 100)}": \`portcullis config check\` lists them.`,
    );
  }
  const id = await findKillTarget(tx, scope, value, projectId);
  if (id !== null) return { scope, value: id, projectId };
  throw new PortcullisError(
    'not_found',
    scope === 'workflow'
      ? `No run of this project ever had the workflow "${value.slice(0, 100)}".`
      : `There is no ${scope} "${value.slice(0, 100)}" in this project.`,
  );
}

function checkModels(pattern: string): string {
  if (pattern.split('*').length - 1 > killWildcardsMax) {
    throw invalid('value', `A pattern of models has ${killWildcardsMax} * at most: stop them one by one.`);
  }
  return checkLine('value', pattern, 1, modelNameCharsMax);
}

async function findProjectId(tx: Tx, value: string): Promise<string | null> {
  const project = (await findProject(tx, value)) ?? (await findProjectByName(tx, value));
  return project?.id ?? null;
}
