import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { PortcullisError } from '../../base/errors.ts';
import { formBytesMax } from '../../base/limits.ts';
import type { Logger } from '../../base/log.ts';
import { refusalHeaders } from '../../base/refusal-headers.ts';
import { isScope, type Scope } from '../../identity/scopes.ts';
import { isUnavailable } from '../../pg/errors.ts';
import { noteRefusal } from '../refusal.ts';

/** An error of RFC 6749 section 5.2, or of one of the RFCs that extend it. */
export interface OAuthError {
  readonly error: string;
  readonly description: string;
}

/** Thrown where a request cannot be read; the answer is what it says. */
export class OAuthRefusal extends Error {
  readonly error: string;

  constructor(error: string, description: string) {
    super(description);
    this.error = error;
  }
}

/** Registers endpoints of OAuth: they take forms and answer JSON, errors too, and nothing of it is kept by anybody. */
export async function registerOAuthEndpoints(
  app: FastifyInstance,
  log: Logger,
  routes: (scope: FastifyInstance) => void,
): Promise<void> {
  await app.register(async (scope) => {
    scope.addContentTypeParser(
      'application/x-www-form-urlencoded',
      { parseAs: 'string', bodyLimit: formBytesMax },
      (_request, body, done) => done(null, new URLSearchParams(String(body))),
    );
    scope.addHook('onRequest', async (_request, reply) => {
      reply.headers({ 'cache-control': 'no-store', pragma: 'no-cache' });
    });
    scope.setErrorHandler((thrown, request, reply) => {
      const { status, error, description } = told(thrown, request, reply, log);
      return sendError(reply, status, { error, description });
    });
    routes(scope);
  });
}

export function sendError(reply: FastifyReply, status: number, { error, description }: OAuthError): FastifyReply {
  return reply.code(status).send({ error, error_description: description });
}

/** A parameter of the form; null where it is absent or empty. @throws OAuthRefusal when it is there twice (RFC 6749, 3.2) */
export function parameter({ body }: FastifyRequest, name: string): string | null {
  if (!(body instanceof URLSearchParams)) {
    throw new OAuthRefusal('invalid_request', 'Send a form (application/x-www-form-urlencoded).');
  }
  const values = body.getAll(name);
  if (values.length > 1) throw new OAuthRefusal('invalid_request', `The parameter ${name} is there twice.`);
  return values[0] || null;
}

/** @throws OAuthRefusal */
export function requireParameter(request: FastifyRequest, name: string): string {
  const value = parameter(request, name);
  if (value === null) throw new OAuthRefusal('invalid_request', `The parameter ${name} is missing.`);
  return value;
}

/** The scopes that are asked for; null where none are named. @throws OAuthRefusal for a name that is no scope */
export function scopeParameter(request: FastifyRequest): Scope[] | null {
  const text = parameter(request, 'scope');
  if (text === null) return null;
  const names = [...new Set(text.split(' ').filter((name) => name !== ''))];
  const known = names.filter(isScope);
  if (known.length === names.length) return known;
  throw new OAuthRefusal('invalid_scope', 'A name in scope is not a scope of this server.');
}

function told(
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  log: Logger,
): OAuthError & { readonly status: number } {
  if (thrown instanceof OAuthRefusal) {
    noteRefusal(request.access, new PortcullisError('invalid_argument', thrown.message));
    return { status: 400, error: thrown.error, description: thrown.message };
  }
  const error = PortcullisError.from(readable(thrown));
  if (error.code === 'internal') log.error({ err: thrown, request_id: request.id }, 'internal error');
  noteRefusal(request.access, error);
  reply.headers(refusalHeaders(error));
  const isPassing = error.status === 429 || error.status === 503;
  const name = isPassing ? 'temporarily_unavailable' : error.status >= 500 ? 'server_error' : 'invalid_request';
  return { status: error.status, error: name, description: error.message };
}

/** What Fastify itself refuses of a form: too large, or not what it says. */
function readable(thrown: unknown): unknown {
  if (thrown instanceof PortcullisError || typeof thrown !== 'object' || thrown === null) return thrown;
  if (isUnavailable(thrown)) {
    return new PortcullisError('unavailable', 'The server cannot do this now: try again.', {
      retryAfterS: 1,
      cause: thrown,
    });
  }
  const status = 'statusCode' in thrown ? thrown.statusCode : undefined;
  if (status === 413) return new PortcullisError('payload_too_large', `A form has ${formBytesMax} bytes at most.`);
  if (typeof status !== 'number' || status < 400 || status >= 500) return thrown;
  return new PortcullisError('invalid_argument', 'The form cannot be read.', { cause: thrown });
}
