/** The HTTP server and what is served on it. Part of the composition root: see main.ts. */
import { serviceDeps } from '../api/deps.ts';
import { PageTokens } from '../api/page-tokens.ts';
import { systemClock } from '../base/clock.ts';
import { PortcullisError } from '../base/errors.ts';
import { RateLimiter } from '../base/gcra.ts';
import { bucketsMax } from '../base/limits.ts';
import { withoutRedaction } from '../base/log.ts';
import type { Instance } from '../budget/instances.ts';
import type { Ledger } from '../budget/ledger.ts';
import type { ModelGate } from '../gateway/models/gate.ts';
import type { RoutingInForce } from '../gateway/models/routing-in-force.ts';
import { registerApi } from '../http/api-routes.ts';
import type { GuardOptions } from '../http/guard.ts';
import { registerHealth } from '../http/health.ts';
import { close, listen } from '../http/listen.ts';
import { registerMetrics } from '../http/metrics-routes.ts';
import { registerModels } from '../http/models-routes.ts';
import { readinessChecks } from '../http/readiness.ts';
import { createHttpServer } from '../http/server.ts';
import { ThroughputMeter } from '../http/throughput.ts';
import type { Authenticator } from '../identity/authenticator.ts';
import type { JwtVerifier } from '../identity/jwt.ts';
import type { RefusalAudit } from '../identity/refusal-audit.ts';
import { createAddressReader } from '../net/client-address.ts';
import type { Flights } from '../policy/flights.ts';
import type { FastifyInstance } from 'fastify';
import type { Base } from './base.ts';
import type { Control } from './control.ts';
import type { Store } from './database.ts';

const metricsKeyId = 'static:METRICS_API_KEY';

const furtherPorts = 20;

const stopping = new PortcullisError('unavailable', 'The gate is being stopped.', { retryAfterS: 5 });

interface Parts extends Control, Pick<ModelGate, 'idempotency' | 'cache'> {
  readonly store: Store;
  readonly refusals: RefusalAudit;
  readonly ledger: Ledger;
  readonly instance: Instance;
  readonly tokens: JwtVerifier;
  readonly authenticator: Authenticator;
  readonly routing: RoutingInForce;
}

/** The HTTP server with everything that is served on it. */
export async function openDoors(
  base: Base,
  parts: Parts,
  draining: () => boolean,
  serverVersion: string,
): Promise<FastifyInstance> {
  const { config, log, metrics } = base;
  const { options } = config;
  const { store, feed, refusals, tokens } = parts;
  const { pool, keys } = store;
  const app = await createHttpServer({
    log: withoutRedaction(log),
    metrics,
    publicUrl: options.PUBLIC_URL,
    allowedHosts: options.ALLOWED_HOSTS,
    allowedOrigins: options.ALLOWED_ORIGINS,
    clientAddress: createAddressReader(options.TRUSTED_PROXIES),
    draining,
  });
  const guard: GuardOptions = {
    authenticator: parts.authenticator,
    limiter: new RateLimiter(systemClock, bucketsMax),
    metrics,
    assertFresh: () => feed.assertFresh(),
  };
  const throughput = new ThroughputMeter(systemClock);
  registerHealth(app, readinessChecks({ degraded: config.degraded, db: pool, feed, tokens }), draining);
  registerMetrics(app, {
    ...guard,
    refusals,
    throughput,
    rate: { name: 'admin', perMinute: options.RATE_LIMIT_ADMIN_PER_MINUTE, exempt: ({ id }) => id === metricsKeyId },
  });
  registerModels(app, modelGate(base, parts, guard), throughput);
  const services = serviceDeps({
    ...parts,
    pool,
    log,
    serverVersion,
    ledgerDaysKept: options.LEDGER_RETENTION_DAYS,
    clock: systemClock,
    keyPepper: keys.keyPepper,
    pageTokens: new PageTokens(keys.pageTokens),
    routedProviders: () => parts.routing.current.table.providers,
    databaseNow: () => parts.instance.databaseNow(),
    onMatched: (state) => metrics.reconciledDays.inc({ state }),
    isProvider: (name) => parts.routing.current.providers.has(name),
  });
  await registerApi(app, guard, { name: 'api', perMinute: options.RATE_LIMIT_API_PER_MINUTE }, services);
  return app;
}

function modelGate({ config, log }: Base, parts: Parts, guard: GuardOptions): ModelGate {
  const { options } = config;
  return {
    ...parts,
    ...guard,
    rates: {
      keyPerMinute: options.RATE_LIMIT_MODELS_PER_MINUTE,
      tokenPerMinute: options.RATE_LIMIT_MODELS_TOKEN_PER_MINUTE,
    },
    routes: () => parts.routing.current.table,
    streamPingMs: options.STREAM_PING_MS,
    clock: systemClock,
    log,
  };
}

/** Listens, until the drain: no new work, then the answers under way, then their end. */
export async function listenOn(
  { config, stops, notice }: Base,
  app: FastifyInstance,
  flights: Flights,
): Promise<string> {
  const { HTTP_ADDR, DRAIN_MS } = config.options;
  const url = await listen(app, { ...HTTP_ADDR, furtherPorts: config.embedded ? furtherPorts : 0 });
  stops.add('listener', () => close(app, DRAIN_MS, () => flights.abortAll(stopping)));
  if (HTTP_ADDR.port !== 0 && Number(new URL(url).port) !== HTTP_ADDR.port)
    notice(`Port ${HTTP_ADDR.port} is taken, so this is ${url}.`);
  return url;
}
