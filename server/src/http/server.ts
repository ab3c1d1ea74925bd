import type { Server } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import fastifyCors from '@fastify/cors';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { AccessRecord } from '../base/access-record.ts';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { urlBytesMax } from '../base/limits.ts';
import type { Presented } from '../identity/certificates/presented.ts';
import type { Principal } from '../identity/model.ts';
import { type HostRules, createHostCheck } from './hosts.ts';
import { type ListenerBounds, listenerBounds } from './listener-bounds.ts';
import { MalformedRequests } from './malformed.ts';
import { type ObserveOptions, observe } from './observe.ts';
import { asksForPage, sendMissing } from './pages/missing.ts';
import { sendRefusal } from './refusal.ts';
import { securityHeaders } from './security-headers.ts';
import { Http2Listener, type Transport, http1Options } from './transport.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** False for routes that no browser shows: they go without the headers for pages. */
    page?: boolean;
  }
  interface FastifyRequest {
    access: AccessRecord;
    /** The socket's address, or the one that a trusted proxy vouches for. */
    clientAddress: string;
    /** The client certificate of its connection, or that a trusted proxy told of. */
    certificate: Presented;
    /** Set by the guard of control routes; null elsewhere and without a credential that holds. */
    principal: Principal | null;
    /** Why that guard lets nothing of this request through. */
    refusal: PortcullisError | null;
  }
}

export interface HttpOptions extends HostRules, ObserveOptions {
  /** The client certificate of a request; the headers in which proxies tell of it are gone afterwards. */
  readonly clientCertificate: (request: IncomingMessage, response: ServerResponse) => Presented;
  /** True from the moment at which no new work is taken. */
  readonly draining: () => boolean;
  /** People come here with browsers, and are told on a page what does not exist. */
  readonly hasPages?: boolean;
}

const requestIdPattern = /^[A-Za-z0-9._-]{1,64}$/;
// Who asks for our health knows no name of ours, and asks it while we stop.
const probePaths = new Set(['/healthz', '/readyz', '/grpc.health.v1.Health/Check', '/grpc.health.v1.Health/Watch']);

/**
 * A listener with what every request passes: request id, limits, Host and Origin check, security headers,
 * error shape, access log and metrics. Routes are added by the composition root; no body is read before they ask for it.
 */
export async function createHttpServer(
  options: HttpOptions,
  transport: Transport,
  bounds: ListenerBounds = listenerBounds,
): Promise<FastifyInstance> {
  const malformed = new MalformedRequests(options);
  const begin = (request: FastifyRequest, reply: FastifyReply) => {
    observe(request, reply, options);
    request.certificate = options.clientCertificate(request.raw, reply.raw);
    // A connection of HTTP/2 has many answers under way, and no bytes of ours may be written into it.
    if (request.raw.httpVersionMajor === 1) malformed.noteAnswer(request.raw.socket, reply.raw);
    reply.raw.setHeader('x-request-id', request.id);
  };
  const app = Fastify<Server>({
    logger: false,
    requestTimeout: bounds.requestMs,
    keepAliveTimeout: bounds.idleMs,
    routerOptions: { maxParamLength: 200, caseSensitive: true, ignoreTrailingSlash: false },
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    http: http1Options,
    ...(transport.kind !== 'http1' && { serverFactory: (handler) => new Http2Listener(transport, handler, bounds) }),
    clientErrorHandler: (error, socket) => malformed.refuse(error, socket),
    // A path that cannot be decoded reaches neither hooks nor routes.
    frameworkErrors: (thrown, request, reply) => {
      begin(request, reply);
      sendRefusal(toPortcullisError(thrown), request, reply).catch(() => request.raw.destroy());
    },
    genReqId: ({ headers }) => {
      const given = headers['x-request-id'];
      return typeof given === 'string' && requestIdPattern.test(given) ? given : newId('req');
    },
  });
  const routes: string[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    routes.push(...[method].flat().map((one) => `${one} ${url}`));
  });
  app.addHook('onListen', async () => {
    options.log.debug({ routes, address: app.server.address() }, 'what a listener serves');
  });
  app.server.maxConnections = bounds.connectionsMax;
  app.server.on('connection', (socket) => {
    socket.setNoDelay(true);
    options.metrics.activeConnections.inc();
    socket.once('close', () => options.metrics.activeConnections.dec());
  });
  // Node would answer an expectation that it does not know by itself; it may as well be ignored (RFC 9110, 10.1.1).
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response));
  app.decorateRequest('principal', null);
  app.decorateRequest('refusal', null);
  // The doors read bodies themselves, when they know the caller.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, _payload, done) => done(null));

  const checkHost = createHostCheck(options, transport.kind === 'tls' ? 'https' : 'http');
  const security = securityHeaders(options.publicUrl);
  // Not an async hook: a promise for each request would be made to say nothing.
  app.addHook('onRequest', (request, reply, done) => {
    begin(request, reply);
    if (request.routeOptions.config.page !== false) reply.headers(security);
    if (request.url.length > urlBytesMax)
      throw new PortcullisError('invalid_argument', `The URL is longer than ${urlBytesMax} bytes.`);
    if (probePaths.has(pathOf(request.url))) return done();
    checkHost(authorityOf(request), request.headers.origin);
    if (options.draining())
      throw new PortcullisError('unavailable', 'The gate is being stopped: try again.', { retryAfterS: 1 });
    done();
  });

  if (options.allowedOrigins.length > 0) {
    await app.register(fastifyCors, {
      origin: [...options.allowedOrigins],
      exposedHeaders: ['x-request-id', 'retry-after', 'ratelimit', 'ratelimit-policy', 'idempotency-replayed'],
    });
  }

  app.setErrorHandler((thrown, request, reply) => {
    const error = toPortcullisError(thrown);
    if (error.code === 'internal') options.log.error({ err: thrown, request_id: request.id }, 'internal error');
    return sendRefusal(error, request, reply);
  });
  app.setNotFoundHandler((request, reply) => {
    const error = new PortcullisError('not_found', `There is nothing at ${request.method} ${pathOf(request.url)}.`);
    if (!options.hasPages) return sendRefusal(error, request, reply);
    // Programs get another answer than browsers do; neither is to be kept.
    const vary = [reply.getHeader('vary'), 'Accept'].filter(Boolean).join(', ');
    reply.headers({ vary, 'cache-control': 'no-store' });
    return asksForPage(request) ? sendMissing(error, request, reply) : sendRefusal(error, request, reply);
  });
  return app;
}

/**
 * By what name the client called us.
 * @throws PortcullisError invalid_argument, where HTTP/2 gives two that differ (RFC 9113, 8.3.1)
 */
function authorityOf({ headers }: FastifyRequest): string | undefined {
  const { ':authority': authority, host } = headers;
  if (typeof authority !== 'string') return host;
  if (host !== undefined && host.toLowerCase() !== authority.toLowerCase())
    throw new PortcullisError('invalid_argument', 'The Host header differs from :authority: send one of them.');
  return authority;
}

function pathOf(url: string): string {
  return url.split('?', 1)[0] ?? '';
}

/** Fastify's own refusals have codes of their own; they become ours. */
function toPortcullisError(thrown: unknown): PortcullisError {
  if (thrown instanceof PortcullisError) return thrown;
  const status =
    typeof thrown === 'object' && thrown !== null && 'statusCode' in thrown ? thrown.statusCode : undefined;
  if (typeof status !== 'number' || status < 400 || status >= 500) return PortcullisError.from(thrown);
  const internal = thrown instanceof Error ? thrown.message : String(thrown);
  return new PortcullisError('invalid_argument', 'The request is malformed.', { internal, cause: thrown });
}
