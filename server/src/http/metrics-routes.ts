import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { PortcullisError } from '../base/errors.ts';
import type { Metrics } from '../base/metrics.ts';
import type { Principal } from '../identity/model.ts';
import { grants } from '../identity/scopes.ts';
import { type GuardOptions, type RateClass, guard } from './guard.ts';
import { sendProblem } from './server.ts';
import type { ThroughputMeter } from './throughput.ts';

export interface MetricsRoutesOptions extends GuardOptions {
  readonly rate: RateClass;
  readonly metrics: Metrics;
  readonly throughput: ThroughputMeter;
  readonly onRead: (principal: Principal, requestId: string) => void;
}

/** `/metrics` (Prometheus) and `/v1/metrics` (JSON), for credentials with `metrics:read` or METRICS_API_KEY. */
export function registerMetrics(app: FastifyInstance, options: MetricsRoutesOptions): void {
  const checkGuard = guard(options, options.rate);

  async function authorize(this: FastifyInstance, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    await checkGuard.call(this, request, reply);
    if (!request.principal || !grants(request.principal.scopes, 'metrics:read')) {
      throw new PortcullisError('insufficient_scope', 'This credential lacks the scope metrics:read.', {
        rule: 'scope:metrics:read',
      });
    }
    options.onRead(request.principal, request.id);
  }

  app.get('/metrics', { onRequest: authorize }, async (_request, reply) => {
    return reply.type(options.metrics.registry.contentType).send(await options.metrics.registry.metrics());
  });

  app.get(
    '/v1/metrics',
    {
      onRequest: authorize,
      // Programs written for the model server that this replaces expect 403 and this body, whatever was wrong.
      errorHandler: async (error, request, reply) => {
        const refused = error instanceof PortcullisError && (error.status === 401 || error.status === 403);
        if (!refused) return sendProblem(PortcullisError.from(error), request, reply);
        request.access.decision = 'deny';
        request.access.code = error.code;
        return reply
          .code(403)
          .type('application/problem+json')
          .send(
            JSON.stringify({ detail: 'Forbidden', status: 403, code: 'insufficient_scope', request_id: request.id }),
          );
      },
    },
    async (_request, reply) => reply.send(await summary(options)),
  );
}

async function summary({ throughput }: MetricsRoutesOptions): Promise<Record<string, unknown>> {
  const { rss } = process.memoryUsage();
  const mebibytes = (bytes: number) => Math.round((bytes / 1024 / 1024) * 10) / 10;
  return {
    timestamp: new Date().toISOString(),
    uptime_seconds: Math.round(process.uptime()),
    latency: throughput.latency(),
    memory: { current_mb: mebibytes(rss), peak_mb: Math.round((process.resourceUsage().maxRSS / 1024) * 10) / 10 },
    throughput: { total_requests: throughput.total, requests_per_second: throughput.perSecond() },
  };
}
