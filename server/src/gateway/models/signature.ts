import type { Principal } from '../../identity/model.ts';
import { digestOfBody, signedRequestOf } from '../../identity/signatures/node-request.ts';
import type { Exchange } from './exchange.ts';
import type { ModelGate } from './gate.ts';
import { requireScope } from './identify.ts';

/**
 * The signature of a request to this door, where one is needed or given: after the scope, so that a wrong one reads as such.
 * @param body as it was received; empty for requests without one
 * @throws PortcullisError insufficient_scope, unauthenticated, rate_limited, unavailable
 */
export async function requireSignature(
  { signatures }: Pick<ModelGate, 'signatures'>,
  { request, clientAddress, access }: Exchange,
  principal: Principal,
  body: Buffer,
): Promise<void> {
  const asked = { scopes: ['models:invoke'], projectId: principal.projectId } as const;
  if (!signatures.concerns(principal, asked, request.headers['signature-input'] !== undefined)) return;
  requireScope(principal);
  const signed = signedRequestOf(request, clientAddress, () => digestOfBody(body));
  await signatures.require(principal, asked, signed, access);
}
