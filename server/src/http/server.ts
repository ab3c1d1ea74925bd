import fastifyCors from '@fastify/cors';
import fastifyHelmet from '@fastify/helmet';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { type AccessRecord, newAccessRecord } from '../base/access-record.ts';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import {
  bodyBytesMax,
  headerBytesMax,
  headerTimeoutMs,
  keepAliveIdleMs,
  requestTimeoutMs,
  urlBytesMax,
} from '../base/limits.ts';
import { type Logger, scrub } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import { refusalHeaders } from '../base/refusal-headers.ts';
import { writeAccessLine } from './access-log.ts';
import { type HostRules, createHostCheck } from './hosts.ts';
import { problemBody } from './problem.ts';

declare module 'fastify' {
  interface FastifyRequest {
    access: AccessRecord;
    /** The socket's address, or the one that a trusted proxy vouches for. */
    clientAddress: string;
    receivedAt: number;
  }
}

export interface HttpOptions extends HostRules {
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly clientAddress: (socketAddress: string, forwardedFor: string | undefined) => string;
}

const requestIdPattern = /^[A-Za-z0-9._-]{1,64}$/;

/**
 * The HTTP listener with what every request passes: request id, limits, Host and Origin check, security headers,
 * error shape, access log and metrics. Routes are added by the composition root.
 */
export async function createHttpServer(options: HttpOptions): Promise<FastifyInstance> {
  const app = Fastify({
    logger: false,
    bodyLimit: bodyBytesMax,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: keepAliveIdleMs,
    connectionTimeout: 0,
    routerOptions: { maxParamLength: 200, caseSensitive: true, ignoreTrailingSlash: false },
    forceCloseConnections: 'idle',
    http: { maxHeaderSize: headerBytesMax, headersTimeout: headerTimeoutMs },
    genReqId: (request) => {
      const given = request.headers['x-request-id'];
      return typeof given === 'string' && requestIdPattern.test(given) ? given : newId('req');
    },
  });
  app.server.on('connection', (socket) => {
    socket.setNoDelay(true);
    options.metrics.activeConnections.inc();
    socket.once('close', () => options.metrics.activeConnections.dec());
  });

  const checkHost = createHostCheck(options);
  app.addHook('onRequest', async (request, reply) => {
    observe(request, reply, options);
    reply.raw.setHeader('x-request-id', request.id);
    if (request.url.length > urlBytesMax)
      throw new PortcullisError('invalid_argument', `The URL is longer than ${urlBytesMax} bytes.`);
    const path = request.url.split('?', 1)[0] ?? '';
    checkHost(request.headers.host, request.headers.origin, path);
  });

  await app.register(fastifyHelmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"], baseUri: ["'none'"], formAction: ["'none'"] },
    },
    hsts: options.publicUrl?.startsWith('https:') ? { maxAge: 63_072_000, includeSubDomains: false } : false,
  });
  if (options.allowedOrigins.length > 0) {
    await app.register(fastifyCors, {
      origin: [...options.allowedOrigins],
      exposedHeaders: ['x-request-id', 'retry-after'],
    });
  }

  app.setErrorHandler((thrown, request, reply) => sendProblem(toPortcullisError(thrown), request, reply));
  app.setNotFoundHandler((request, reply) =>
    sendProblem(
      new PortcullisError('not_found', `There is nothing at ${request.method} ${request.url.split('?', 1)[0] ?? ''}.`),
      request,
      reply,
    ),
  );
  return app;
}

/** Answers with a problem, and notes it in the access record. */
export function sendProblem(error: PortcullisError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  noteRefusal(request.access, error);
  return reply
    .code(error.status)
    .headers(refusalHeaders(error))
    .type('application/problem+json')
    .send(JSON.stringify(problemBody(error, request.id)));
}

function noteRefusal(access: AccessRecord, error: PortcullisError): void {
  access.decision = 'deny';
  access.code = error.code;
  access.rule ??= error.members.rule ?? null;
  access.internal ??= error.internal ?? null;
}

function observe(request: FastifyRequest, reply: FastifyReply, { log, metrics, clientAddress }: HttpOptions): void {
  request.access = newAccessRecord(request.id);
  request.receivedAt = performance.now();
  const forwardedFor = request.headers['x-forwarded-for'];
  request.clientAddress = clientAddress(
    request.raw.socket.remoteAddress ?? '',
    typeof forwardedFor === 'string' ? forwardedFor : undefined,
  );
  // 'close' comes after a whole answer and after a client that went away alike.
  reply.raw.once('close', () => {
    const route = request.routeOptions.url ?? 'unknown';
    const seconds = (performance.now() - request.receivedAt) / 1000;
    const status = reply.raw.writableFinished ? reply.raw.statusCode : 499;
    metrics.httpRequests.inc({ method: request.method, route, status });
    metrics.httpDuration.observe({ route }, seconds);
    metrics.httpRequestBytes.inc(
      { route },
      request.access.bytesIn || Number(request.headers['content-length'] ?? 0) || 0,
    );
    metrics.httpResponseBytes.inc(
      { route },
      request.access.bytesOut || Number(reply.raw.getHeader('content-length') ?? 0) || 0,
    );
    writeAccessLine(log, {
      record: request.access,
      method: request.method,
      route,
      status,
      latencyMs: seconds * 1000,
      address: request.clientAddress,
      userAgent: scrub(request.headers['user-agent'] ?? ''),
    });
  });
}

/** Fastify's own refusals have codes of their own; they become ours. */
function toPortcullisError(thrown: unknown): PortcullisError {
  if (thrown instanceof PortcullisError) return thrown;
  const status =
    typeof thrown === 'object' && thrown !== null && 'statusCode' in thrown ? thrown.statusCode : undefined;
  const internal = thrown instanceof Error ? thrown.message : undefined;
  const options = internal === undefined ? { cause: thrown } : { internal, cause: thrown };
  if (status === 413)
    return new PortcullisError('payload_too_large', `The body is larger than ${bodyBytesMax} bytes.`, options);
  if (typeof status === 'number' && status >= 400 && status < 500)
    return new PortcullisError('invalid_argument', 'The request is malformed.', options);
  return PortcullisError.from(thrown);
}
