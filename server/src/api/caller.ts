import type { HandlerContext } from '@connectrpc/connect';
import type { Principal } from '../identity/model.ts';
import { requireScope } from '../identity/permission.ts';
import { accessRecordKey, principalKey } from './context.ts';

/** Who asks, and for which project. */
export interface Caller {
  readonly principal: Principal;
  readonly requestId: string;
  readonly projectId: string;
}

/**
 * The caller of a method that declares a scope, and the project that it asks for: its credential's own unless it names
 * another, which takes `admin`. What is asked for is not looked up, so that a refusal tells nothing.
 * @throws PortcullisError insufficient_scope
 */
export function callerOf({ values, method }: HandlerContext, named: string | undefined): Caller {
  const principal = values.get(principalKey);
  if (!principal) throw new Error(`${method.name} was entered without a principal.`);
  const requestId = values.get(accessRecordKey)?.requestId ?? '';
  if (named === undefined || named === principal.projectId) {
    return { principal, requestId, projectId: principal.projectId };
  }
  requireScope(principal, 'admin');
  return { principal, requestId, projectId: named };
}
