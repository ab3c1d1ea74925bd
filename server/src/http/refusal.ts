import { finished } from 'node:stream/promises';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { AccessRecord } from '../base/access-record.ts';
import { type PortcullisError, errorCodes } from '../base/errors.ts';
import { unreadBodyMs } from '../base/limits.ts';
import { refusalHeaders } from '../base/refusal-headers.ts';
import { refusalAnswer } from '../gateway/models/wire.ts';
import type { Dialect } from '../llm/dialect.ts';

/** Answers with an error in the shape of the door that was knocked at, and notes it in the access record. */
export async function sendRefusal(error: PortcullisError, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  noteRefusal(request.access, error);
  await discardBody(request, reply);
  reply.code(error.status).headers(refusalHeaders(error));
  const dialect = dialectOf(request);
  if (dialect !== null) {
    const { headers, body } = refusalAnswer(dialect, error, request.id);
    await reply.headers(headers).send(body);
    return;
  }
  await reply.type('application/problem+json').send(JSON.stringify(problemBody(error, request.id)));
}

/** Tells access log and metrics what the answer tells the caller, and why. */
export function noteRefusal(access: AccessRecord, error: PortcullisError): void {
  access.decision = 'deny';
  access.code = error.code;
  access.rule ??= error.members.rule ?? null;
  access.internal ??= error.internal ?? null;
}

/**
 * Reads what is left of a refused body and throws it away, for a short time: to answer and close at once would reset the
 * connection under a client that still sends, and take the answer away from it (RFC 9112, 9.6).
 */
export async function discardBody({ raw }: FastifyRequest, reply: FastifyReply): Promise<void> {
  raw.resume();
  try {
    await finished(raw, { signal: AbortSignal.timeout(unreadBodyMs) });
  } catch {
    // A stream of HTTP/2 ends without its connection.
    if (raw.httpVersionMajor === 1) reply.header('connection', 'close');
  }
}

/** The body of an RFC 9457 problem: the shape of errors everywhere without a protocol of its own. */
export function problemBody(error: PortcullisError, requestId: string, status = error.status): Record<string, unknown> {
  const { retryAfterS, resetsAt, ...members } = error.members;
  return {
    type: `urn:portcullis:error:${error.code}`,
    title: errorCodes[error.code].title,
    status,
    detail: error.message,
    code: error.code,
    request_id: requestId,
    ...members,
    ...(resetsAt === undefined ? {} : { resets_at: resetsAt }),
    ...(retryAfterS === undefined ? {} : { retry_after: Math.ceil(retryAfterS) }),
    ...legacyMembers(error),
  };
}

// Programs written for the systems that this one replaces read `error` and `message` of 401, 403 and 429.
function legacyMembers(error: PortcullisError): Record<string, string> {
  const names: Readonly<Record<number, string>> = { 401: 'unauthorized', 403: 'forbidden', 429: 'rate_limit_exceeded' };
  const name = names[error.status];
  return name === undefined ? {} : { error: name, message: error.message };
}

/** The models door's paths, and whatever a client mistakes for one of them. */
function dialectOf({ url, headers }: FastifyRequest): Dialect | null {
  const [, door] = /^\/v1\/(messages|chat|responses|models)(?:[/?]|$)/.exec(url) ?? [];
  if (door === 'messages') return 'anthropic';
  if (door === 'chat' || door === 'responses') return door;
  // Anthropic's SDKs always send their version; OpenAI's never do.
  return door === undefined ? null : headers['anthropic-version'] === undefined ? 'chat' : 'anthropic';
}
