import type { FastifyReply, FastifyRequest } from 'fastify';
import { newAccessRecord } from '../base/access-record.ts';
import type { Logger } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import { writeAccessLine } from './access-log.ts';

export interface ObserveOptions {
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly clientAddress: (socketAddress: string, forwardedFor: string | undefined) => string;
}

/** Not answered, since the client went away before: nginx's status for it, seen in logs and metrics alone. */
const clientClosedStatus = 499;

/** Begins the access record of a request; what became of it is written when the connection is done with it. */
export function observe(request: FastifyRequest, reply: FastifyReply, options: ObserveOptions): void {
  const receivedAt = performance.now();
  const { headers, raw } = request;
  const forwardedFor = headers['x-forwarded-for'];
  request.access = newAccessRecord(request.id);
  request.clientAddress = options.clientAddress(
    raw.socket.remoteAddress ?? '',
    typeof forwardedFor === 'string' ? forwardedFor : undefined,
  );
  // 'finish' comes after a whole answer, 'close' alone when the client went away before.
  const end = () => {
    reply.raw.off('finish', end).off('close', end);
    conclude(request, reply, performance.now() - receivedAt, options);
  };
  reply.raw.once('finish', end).once('close', end);
}

function conclude(
  request: FastifyRequest,
  { raw }: FastifyReply,
  latencyMs: number,
  { log, metrics }: ObserveOptions,
): void {
  const { access, method } = request;
  const route = request.routeOptions.url ?? 'unknown';
  // Over HTTP/2 what the client broke off counts as finished.
  const status = raw.writableEnded && raw.writableFinished ? raw.statusCode : clientClosedStatus;
  // The models door counts bytes itself; elsewhere the lengths that were declared are what was read and written.
  // A length that was only promised is not one that came.
  if (request.raw.complete) access.bytesIn ||= declaredLength(request.headers['content-length']);
  access.bytesOut ||= declaredLength(raw.getHeader('content-length'));
  if (status === clientClosedStatus) access.code ??= 'client_closed';
  // A caller who is known, and of whom no step has said more (Connect refuses messages that it cannot read by itself).
  if (access.subject !== null) access.decision ??= status < 400 || status === clientClosedStatus ? 'allow' : 'deny';
  metrics.httpRequests.inc({ method, route, status });
  metrics.httpDuration.observe({ route }, latencyMs / 1000);
  metrics.httpRequestBytes.inc({ route }, access.bytesIn);
  metrics.httpResponseBytes.inc({ route }, access.bytesOut);
  writeAccessLine(log, {
    record: access,
    method,
    route,
    status,
    latencyMs,
    address: request.clientAddress,
    userAgent: request.headers['user-agent'] ?? '',
  });
}

function declaredLength(value: unknown): number {
  const length = Number(value ?? 0);
  return Number.isSafeInteger(length) && length > 0 ? length : 0;
}
