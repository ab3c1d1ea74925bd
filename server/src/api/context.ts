import { createContextKey } from '@connectrpc/connect';
import type { AccessRecord } from '../base/access-record.ts';
import type { PortcullisError } from '../base/errors.ts';
import type { Principal } from '../identity/model.ts';
import type { SignedRequest } from '../identity/signatures/model.ts';

/** The verified caller, put there by the HTTP layer before a byte of the body was read; null without a credential. */
export const principalKey = createContextKey<Principal | null>(null, { description: 'principal' });

/** Why the HTTP layer lets nothing of this request through (credential, rate), to be told in the client's protocol. */
export const refusalKey = createContextKey<PortcullisError | null>(null, { description: 'refusal' });

/** What the access log will say of the request, put there by the HTTP layer. */
export const accessRecordKey = createContextKey<AccessRecord | null>(null, { description: 'access record' });

/** What a signature of the request would cover, put there by the HTTP layer. */
export const signedRequestKey = createContextKey<SignedRequest | null>(null, { description: 'signed request' });
