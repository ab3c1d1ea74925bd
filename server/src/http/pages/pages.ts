import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { PortcullisError } from '../../base/errors.ts';
import { formBytesMax } from '../../base/limits.ts';
import type { Logger } from '../../base/log.ts';
import { refusalHeaders } from '../../base/refusal-headers.ts';
import { isUnavailable } from '../../pg/errors.ts';
import { noteRefusal } from '../refusal.ts';
import { type Link, sendPage } from './layout.ts';
import { problemPage } from './problem-page.ts';

/**
 * Registers routes that answer with pages: they may have forms, and what goes wrong in them is a page too. For whoever
 * adds pages: `layout.ts` has their shell; `sign-in/browser.ts` says who asks, and `sign-in/place.ts` whether a form is our own.
 * @param back where a page of what went wrong leads
 */
export async function registerPages(
  app: FastifyInstance,
  log: Logger,
  back: Link,
  routes: (scope: FastifyInstance) => void,
): Promise<void> {
  await app.register(async (scope) => {
    scope.addContentTypeParser(
      'application/x-www-form-urlencoded',
      { parseAs: 'string', bodyLimit: formBytesMax },
      (_request, body, done) => done(null, new URLSearchParams(String(body))),
    );
    scope.setErrorHandler((thrown, request, reply) => sendProblem(thrown, request, reply, log, back));
    routes(scope);
  });
}

/** A field of the form that was sent; empty where it has none of that name. */
export function formField({ body }: FastifyRequest, name: string): string {
  return body instanceof URLSearchParams ? (body.get(name) ?? '') : '';
}

function sendProblem(
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  log: Logger,
  back: Link,
): FastifyReply {
  const error = PortcullisError.from(readable(thrown));
  if (error.code === 'internal') log.error({ err: thrown, request_id: request.id }, 'internal error');
  noteRefusal(request.access, error);
  return sendPage(reply.headers(refusalHeaders(error)), error.status, problemPage(error.message, request.id, back));
}

/** The database that is away, and what Fastify itself refuses of a form: too large, or not what it says. */
function readable(thrown: unknown): unknown {
  if (thrown instanceof PortcullisError || typeof thrown !== 'object' || thrown === null) return thrown;
  if (isUnavailable(thrown)) {
    const cause = { cause: thrown, retryAfterS: 1 };
    return new PortcullisError('unavailable', 'The database does not answer in time: try again shortly.', cause);
  }
  const status = 'statusCode' in thrown ? thrown.statusCode : undefined;
  if (status === 413) return new PortcullisError('payload_too_large', `A form has ${formBytesMax} bytes at most.`);
  if (typeof status !== 'number' || status < 400 || status >= 500) return thrown;
  return new PortcullisError('invalid_argument', 'The form cannot be read.', { cause: thrown });
}
