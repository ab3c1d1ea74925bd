import type { DescMethod } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { unauthenticated } from '../identity/authenticator.ts';
import type { Principal } from '../identity/model.ts';
import { requireScope } from '../identity/permission.ts';
import { principalKey, refusalKey } from './context.ts';
import type { Refusals } from './errors.ts';
import type { MethodRule } from './methods.ts';

/**
 * The one authorization layer: Connect runs it on the headers of each request, before a byte of the body is read. It
 * knows a caller only from the verified principal, and a method only from what the schema declares of it.
 */
export function requestGate(
  rules: ReadonlyMap<DescMethod, MethodRule>,
  refusals: Refusals,
): (context: HandlerContext) => void {
  return ({ method, values }) => {
    try {
      const rule = rules.get(method);
      if (!rule) throw new Error(`${method.toString()} was registered without a rule.`);
      const refusal = values.get(refusalKey);
      if (refusal) throw refusal;
      authorize(values.get(principalKey), rule);
    } catch (thrown) {
      throw refusals.answer(thrown, method, values);
    }
  };
}

/** @throws PortcullisError unauthenticated, insufficient_scope */
function authorize(principal: Principal | null, { scope }: MethodRule): void {
  if (scope === null) return;
  if (!principal) throw unauthenticated('no credential reached the service');
  if (scope !== 'authenticated') requireScope(principal, scope);
}
