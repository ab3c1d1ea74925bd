import { PortcullisError } from '../../base/errors.ts';
import type { Authenticator } from '../../identity/authenticator.ts';
import type { Exchange } from './exchange.ts';
import type { Provider } from './provider.ts';

const credentials = ['authorization', 'x-api-key'];
// They say whose account is billed, which is the caller's here.
const accounts = ['chatgpt-account-id', 'openai-organization', 'openai-project'];

/** What a caller says of its own account at a provider, by header: the credential, and whom it is billed to. */
export function ownHeaders({ request: { headers } }: Exchange): Record<string, string> {
  const sent: Record<string, string> = {};
  for (const header of [...credentials, ...accounts]) {
    const value = headers[header];
    if (typeof value === 'string' && value !== '') sent[header] = value;
  }
  return sent;
}

/**
 * The headers of the caller's own credential, for a provider that is called with it (`credential: caller`). They are
 * read here and go into that one request: nothing else ever has them. The gate's key came as `x-portcullis-key`, so that
 * what identified the caller here is never sent on.
 * @param sameDialect a credential for one vendor's API is not given to another's
 * @throws PortcullisError invalid_argument
 */
export function callerCredential(
  { authenticator }: { readonly authenticator: Pick<Authenticator, 'isForGate'> },
  exchange: Exchange,
  { name }: Pick<Provider, 'name'>,
  sameDialect: boolean,
): Record<string, string> {
  const refuse = (detail: string) =>
    new PortcullisError('invalid_argument', `Provider ${name} is called with the caller's own credential: ${detail}`, {
      rule: 'credential.caller',
    });
  if (!sameDialect) throw refuse('it is not given to a provider of another dialect.');
  const sent = ownHeaders(exchange);
  const key = exchange.request.headers['x-portcullis-key'];
  if (typeof key !== 'string' || key === '' || !credentials.some((header) => header in sent))
    throw refuse('send that as Authorization or x-api-key, and your key for this gate as x-portcullis-key.');
  if (Object.values(sent).some((value) => value.includes(key) || authenticator.isForGate(value)))
    throw refuse('Authorization and x-api-key must not have a credential of this gate: that goes in x-portcullis-key.');
  return sent;
}
