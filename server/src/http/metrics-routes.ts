import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { PortcullisError } from '../base/errors.ts';
import type { Metrics } from '../base/metrics.ts';
import { requireScope } from '../identity/permission.ts';
import type { RefusalAudit } from '../identity/refusal-audit.ts';
import { emptyDigest, signedRequestOf } from '../identity/signatures/node-request.ts';
import type { RequestSignatures } from '../identity/signatures/request-signatures.ts';
import { type GuardOptions, admitCaller } from './guard.ts';
import type { RateClass } from './rates.ts';
import { noteRefusal } from './refusal.ts';
import type { ThroughputMeter } from './throughput.ts';

export interface MetricsRoutesOptions extends GuardOptions {
  readonly rate: RateClass;
  readonly metrics: Metrics;
  readonly throughput: ThroughputMeter;
  readonly refusals: RefusalAudit;
  readonly signatures: RequestSignatures;
}

/** `/metrics` (Prometheus) and `/v1/metrics` (JSON), for credentials with `metrics:read` or METRICS_API_KEY. */
export function registerMetrics(app: FastifyInstance, options: MetricsRoutesOptions): void {
  const { refusals, metrics, signatures } = options;
  const { registry } = metrics;

  async function authorize(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const principal = await admitCaller(options, options.rate, request, reply);
    try {
      requireScope(principal, 'metrics:read');
    } catch (thrown) {
      refusals.note('scope.denied', principal, 'metrics:read', request.id);
      throw thrown;
    }
    const asked = { scopes: ['metrics:read'], projectId: principal.projectId } as const;
    if (signatures.concerns(principal, asked, request.headers['signature-input'] !== undefined)) {
      const signed = signedRequestOf(request.raw, request.clientAddress, () => emptyDigest);
      await signatures.require(principal, asked, signed, request.access);
    }
    refusals.note('metrics.read', principal, 'metrics:read', request.id);
  }

  app.get('/metrics', { onRequest: authorize }, async (_request, reply) =>
    reply.type(registry.contentType).send(await registry.metrics()),
  );
  app.get('/v1/metrics', { onRequest: authorize, errorHandler: forbid }, async (_request, reply) =>
    reply.send(await summary(options)),
  );
}

/** Programs written for the model server that this replaces expect 403 and this body, whatever was wrong with the credential. */
function forbid(thrown: Error, request: FastifyRequest, reply: FastifyReply): void {
  const error = PortcullisError.from(thrown);
  if (error.status !== 401 && error.status !== 403) throw error;
  noteRefusal(request.access, error);
  const body = { detail: 'Forbidden', status: 403, code: 'insufficient_scope', request_id: request.id };
  void reply.code(403).type('application/problem+json').send(JSON.stringify(body));
}

async function summary({ throughput, metrics }: MetricsRoutesOptions): Promise<Record<string, unknown>> {
  const { rss } = process.memoryUsage();
  const mebibytes = (bytes: number) => Math.round((bytes / 1024 / 1024) * 10) / 10;
  return {
    timestamp: new Date().toISOString(),
    uptime_seconds: Math.round(process.uptime()),
    cache: await cacheResults(metrics),
    latency: throughput.latency(),
    // maxRSS is in kibibytes.
    memory: { current_mb: mebibytes(rss), peak_mb: mebibytes(process.resourceUsage().maxRSS * 1024) },
    throughput: { total_requests: throughput.total, requests_per_second: throughput.perSecond() },
    breakers: metrics.readings.breakers(),
  };
}

async function cacheResults({ responseCache }: Metrics): Promise<Record<string, number>> {
  const { values } = await responseCache.get();
  const count = (result: string) => values.find(({ labels }) => labels.result === result)?.value ?? 0;
  const [hits, misses] = [count('hit'), count('miss')];
  return { cache_hits: hits, cache_misses: misses, hit_rate: hits === 0 ? 0 : hits / (hits + misses) };
}
