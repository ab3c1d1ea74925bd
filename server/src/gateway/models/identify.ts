import { PortcullisError } from '../../base/errors.ts';
import type { Principal } from '../../identity/model.ts';
import { type Call, attemptOf } from './call.ts';
import type { ModelGate } from './gate.ts';

/** Who is calling, from the headers alone. @throws PortcullisError unauthenticated, rate_limited, cannot_verify */
export async function identify(gate: ModelGate, call: Call): Promise<Principal> {
  const { exchange } = call;
  const { access, request } = exchange;
  const principal = await gate.authenticator.identify({
    headers: request.headers,
    url: request.url ?? '',
    clientAddress: exchange.clientAddress,
    access,
  });
  call.attempt = attemptOf(gate, call, principal);
  if (exchange.response.destroyed) throw new PortcullisError('client_closed', 'The client went away.');
  return principal;
}
