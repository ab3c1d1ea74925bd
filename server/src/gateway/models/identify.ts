import { PortcullisError } from '../../base/errors.ts';
import type { Principal } from '../../identity/model.ts';
import { grants } from '../../identity/scopes.ts';
import type { Exchange } from './exchange.ts';
import type { ModelGate } from './gate.ts';

/** Who is calling, from the headers alone. @throws PortcullisError unauthenticated, rate_limited, cannot_verify */
export function identify({ authenticator }: ModelGate, exchange: Exchange): Promise<Principal> {
  const { access, request, clientAddress, certificate } = exchange;
  const { headers, url = '' } = request;
  return authenticator.identify({ headers, url, clientAddress, certificate, access, passesCredentialsOn: true });
}

/** What every use of this door needs. @throws PortcullisError insufficient_scope */
export function requireScope({ scopes }: Principal): void {
  if (grants(scopes, 'models:invoke')) return;
  throw new PortcullisError('insufficient_scope', 'This credential lacks the scope models:invoke.', {
    rule: 'scope:models:invoke',
  });
}
