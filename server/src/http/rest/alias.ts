import { type DescMethod, type JsonObject, fromBinary } from '@bufbuild/protobuf';
import type { UniversalHandler } from '@connectrpc/connect/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type ErrorCode, PortcullisError, errorCodes } from '../../base/errors.ts';
import { restBodyBytesMax } from '../../base/limits.ts';
import { ErrorInfoSchema } from '../../gen/portcullis/v1/error_pb.ts';
import { asConnectRequest } from '../api-routes.ts';

/** Reads the whole body, as JSON; an empty one has no members. @throws PortcullisError payload_too_large, invalid_argument */
export type ReadBody = () => Promise<JsonObject>;

/**
 * Calls a method of the control API for a request of another form, as if it had come by Connect: access, scope, signature,
 * validation, idempotency and deadline are the method's own. The body is read when the method asks for it, after the caller
 * was looked at.
 * @param messageOf makes the method's request, in JSON
 * @returns the method's answer in JSON, and the headers that come with it
 * @throws PortcullisError what the method throws
 */
export async function callMethod(
  handlers: readonly UniversalHandler[],
  method: DescMethod,
  { request, reply }: { readonly request: FastifyRequest; readonly reply: FastifyReply },
  messageOf: (read: ReadBody) => Promise<JsonObject>,
): Promise<{ readonly answer: JsonObject; readonly headers: Headers }> {
  const path = `/${method.parent.typeName}/${method.name}`;
  const handler = handlers.find(({ requestPath }) => requestPath === path);
  if (!handler) throw new Error(`There is no handler of ${path}.`);
  const asked = asConnectRequest(request, reply);
  let refusal: unknown = null;
  async function* message(): AsyncGenerator<Uint8Array> {
    try {
      const json = await messageOf(() => readJson(request, asked.body as AsyncIterable<Uint8Array>));
      yield Buffer.from(JSON.stringify(json));
    } catch (thrown) {
      // Connect would tell of it in its own words.
      refusal = thrown;
      throw thrown;
    }
  }
  const header = new Headers(asked.header);
  for (const name of ['content-length', 'content-encoding', 'accept-encoding', 'connect-protocol-version'])
    header.delete(name);
  header.set('content-type', 'application/json');
  const called = { ...asked, method: 'POST', url: new URL(path, asked.url).href, header, body: message() };
  const answered = await handler(called);
  const text = await textOf(answered.body ?? []);
  if (refusal !== null) throw refusal;
  const answer = JSON.parse(text) as JsonObject;
  if (answered.status !== 200) throw errorIn(answer);
  return { answer, headers: new Headers(answered.header) };
}

async function readJson({ headers }: FastifyRequest, body: AsyncIterable<Uint8Array>): Promise<JsonObject> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > restBodyBytesMax)
      throw new PortcullisError('payload_too_large', `The body has more than ${restBodyBytesMax} bytes.`);
    chunks.push(chunk);
  }
  if (bytes === 0) return {};
  if (!/^application\/(?:json|merge-patch\+json)\s*(?:;|$)/i.test(headers['content-type'] ?? '')) {
    throw new PortcullisError('invalid_argument', 'Send the body as JSON: content-type: application/json.');
  }
  const value = parsed(Buffer.concat(chunks).toString());
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonObject;
  throw new PortcullisError('invalid_argument', 'The body must be a JSON object.');
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new PortcullisError('invalid_argument', 'The body is not JSON.', { cause });
  }
}

async function textOf(parts: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const part of parts) chunks.push(part);
  return Buffer.concat(chunks).toString();
}

interface ConnectErrorJson {
  readonly code?: string;
  readonly message?: string;
  readonly details?: readonly { readonly type: string; readonly value: string }[];
}

/** The refusal that Connect wrote, with what the method said of it. */
function errorIn(answer: JsonObject): PortcullisError {
  const { code: named = '', message = '', details = [] } = answer as ConnectErrorJson;
  const detail = details.find(({ type }) => type === ErrorInfoSchema.typeName);
  if (detail === undefined) return new PortcullisError(isErrorCode(named) ? named : 'internal', message);
  const info = fromBinary(ErrorInfoSchema, Buffer.from(detail.value, 'base64'));
  const { code, final, retryAfter, rule, param } = info;
  return new PortcullisError(isErrorCode(code) ? code : 'internal', message, {
    final,
    ...(retryAfter && { retryAfterS: Number(retryAfter.seconds) + retryAfter.nanos / 1e9 }),
    ...(rule !== undefined && rule !== '' && { rule }),
    ...(param !== undefined && param !== '' && { param }),
  });
}

function isErrorCode(name: string): name is ErrorCode {
  return Object.hasOwn(errorCodes, name);
}
