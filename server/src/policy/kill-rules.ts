import { matchesWildcard } from '../base/wildcard.ts';
import type { CallSubject, KillSwitch } from './model.ts';

/** What a scope, value and project name; at most one switch is engaged on each. */
export type KillTarget = Pick<KillSwitch, 'scope' | 'value' | 'projectId' | 'loginId'>;

/** Whether a switch is for such a call, whatever its time. The index of the data plane finds the same without looking at all. */
export function isFor({ scope, value, projectId, loginId }: KillTarget, subject: CallSubject): boolean {
  if (scope === 'everything') return true;
  if (projectId !== subject.projectId) return false;
  switch (scope) {
    case 'project':
      return true;
    case 'agent':
      return value === subject.agentId;
    case 'key':
      return value === subject.keyId || (Boolean(loginId) && loginId === subject.loginId);
    case 'run':
      return value === subject.runId;
    case 'workflow':
      return value === subject.workflow;
    case 'provider':
      return value === subject.provider;
    case 'model':
      break;
  }
  return subject.models.some((model) => matchesWildcard(value, model));
}
