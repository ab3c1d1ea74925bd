import type { Message } from '@bufbuild/protobuf';
import type { Interceptor, UnaryRequest, StreamRequest } from '@connectrpc/connect';
import { createAsyncIterable } from '@connectrpc/connect/protocol';
import type { Principal } from '../identity/model.ts';
import type { Scope } from '../identity/scopes.ts';
import type { RequestSignatures } from '../identity/signatures/request-signatures.ts';
import { accessRecordKey, principalKey, signedRequestKey } from './context.ts';
import { methodRule, type MethodRule } from './methods.ts';

/**
 * Signatures of requests, where they are needed or given: after the access check, so that a wrong scope reads as such, and
 * when the body was read, which the signature covers.
 */
export function signatureInterceptor(signatures: RequestSignatures): Interceptor {
  return (next) => async (asked) => {
    const request = asked.stream && asked.method.methodKind === 'server_streaming' ? await whole(asked) : asked;
    const values = request.contextValues;
    const principal = values.get(principalKey);
    if (principal === null) return next(request);
    const needed = {
      scopes: askedScopes(methodRule(request.method), principal),
      projectId: namedProject(request) ?? principal.projectId,
    };
    if (signatures.concerns(principal, needed, request.header.has('signature-input'))) {
      const [signed, access] = [values.get(signedRequestKey), values.get(accessRecordKey)];
      if (signed === null || access === null) throw new Error('the HTTP layer did not say what was signed');
      await signatures.require(principal, needed, signed, access);
    }
    return next(request);
  };
}

/**
 * The scope that the method declares, and `admin` for whatever an administrator writes: some writes need it for what is
 * in the request (the kill switch for everything, a key with that scope), which is for their handlers to know.
 */
function askedScopes({ access, scope }: MethodRule, principal: Principal): readonly Scope[] {
  const declared = scope === null || scope === 'authenticated' ? [] : [scope];
  return access === 'write' && principal.scopes.has('admin') ? [...declared, 'admin'] : declared;
}

/** A request of which a stream is the answer, with its one message read: with that its body is, which a signature covers. */
async function whole(request: StreamRequest): Promise<StreamRequest & { readonly only: Message | undefined }> {
  const messages: Message[] = [];
  for await (const message of request.message) {
    messages.push(message);
    // One too many: for Connect to refuse.
    if (messages.length > 1) break;
  }
  return { ...request, message: createAsyncIterable(messages), only: messages[0] };
}

/** The project that a request is about; only admin may name another than its own, as its handler sees to. */
function namedProject(
  request: UnaryRequest | (StreamRequest & { readonly only?: Message | undefined }),
): string | null {
  const message = request.stream ? request.only : request.message;
  if (message === undefined || !('projectId' in message)) return null;
  return typeof message.projectId === 'string' ? message.projectId : null;
}
