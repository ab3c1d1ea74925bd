/** What the listeners serve. Part of the composition root: see main.ts. */
import { type ServiceDeps, serviceDeps } from '../api/deps.ts';
import { healthHandlers } from '../api/health/handler.ts';
import { methodTable } from '../api/methods.ts';
import { PageTokens } from '../api/page-tokens.ts';
import { reflectionHandlers } from '../api/reflection/handler.ts';
import { controlHandlers } from '../api/routes.ts';
import { systemClock } from '../base/clock.ts';
import { RateLimiter } from '../base/gcra.ts';
import { bucketsMax } from '../base/limits.ts';
import type { Instance } from '../budget/instances.ts';
import type { Ledger } from '../budget/ledger.ts';
import type { ModelGate } from '../gateway/models/gate.ts';
import type { RoutingInForce } from '../gateway/models/routing-in-force.ts';
import { mountHandlers, registerApi, registerPublicApi } from '../http/api-routes.ts';
import type { GuardOptions } from '../http/guard.ts';
import { ReadinessCheck, registerHealth } from '../http/health.ts';
import { registerMetrics } from '../http/metrics-routes.ts';
import { registerDevicePage } from '../http/logins/device-routes.ts';
import { registerOAuth } from '../http/logins/oauth-routes.ts';
import type { LoginOptions } from '../http/logins/options.ts';
import { registerModels } from '../http/models-routes.ts';
import { registerAssets } from '../http/pages/assets.ts';
import { registerPublicPages } from '../http/public/routes.ts';
import { type RateClass, takeRate } from '../http/rates.ts';
import { readinessChecks } from '../http/readiness.ts';
import type { PageCallers } from '../http/sign-in/browser.ts';
import { registerSignIn, type SignInOptions } from '../http/sign-in/routes.ts';
import { ThroughputMeter } from '../http/throughput.ts';
import type { Authenticator } from '../identity/authenticator.ts';
import type { JwtVerifier } from '../identity/jwt.ts';
import type { RefusalAudit } from '../identity/refusal-audit.ts';
import type { RequestSignatures } from '../identity/signatures/request-signatures.ts';
import type { FastifyInstance } from 'fastify';
import type { Base } from './base.ts';
import type { Control } from './control.ts';
import { telemetryDaysKept } from './days.ts';
import type { Store } from './database.ts';
import type { ClientCertificates } from './mtls.ts';

const metricsKeyId = 'static:METRICS_API_KEY';

interface Parts extends Control, Pick<ModelGate, 'idempotency' | 'cache' | 'policy'> {
  readonly store: Store;
  readonly refusals: RefusalAudit;
  readonly ledger: Ledger;
  readonly instance: Instance;
  readonly tokens: JwtVerifier;
  readonly authenticator: Authenticator;
  readonly certificates: ClientCertificates;
  readonly signatures: RequestSignatures;
  readonly routing: RoutingInForce;
  readonly signIn: Omit<SignInOptions, 'takeRate'>;
  readonly logins: Omit<LoginOptions, 'takeRate'>;
}

/** Puts routes on a listener. */
export type Door = (app: FastifyInstance) => void | Promise<void>;

export interface Doors {
  readonly health: Door;
  readonly metrics: Door;
  readonly models: Door;
  readonly control: Door;
  /** The same for browsers too, which come with a session. */
  readonly browserControl: Door;
  /** The start page, the public leaderboard, and what pages load. */
  readonly publicPages: Door;
  readonly signIn: Door;
  /** Where command lines log in, and people confirm it. */
  readonly logins: Door;
  readonly grpcHealth: Door;
  /** Only for ENABLE_REFLECTION. */
  readonly reflection: Door;
}

/** Everything that can be served; each listener has some of it, and all share limits and meters. */
export function createDoors(base: Base, parts: Parts, draining: () => boolean, serverVersion: string): Doors {
  const { config, log, metrics } = base;
  const { options } = config;
  const { store, feed, refusals, signatures, tokens } = parts;
  const guard: GuardOptions = {
    authenticator: parts.authenticator,
    limiter: new RateLimiter(systemClock, bucketsMax),
    metrics,
    assertFresh: () => feed.assertFresh(),
  };
  const browserGuard: GuardOptions = { ...guard, browsers: { publicUrl: options.PUBLIC_URL } };
  const throughput = new ThroughputMeter(systemClock);
  const readiness = new ReadinessCheck(
    readinessChecks({
      degraded: config.degraded,
      db: store.pool,
      feed,
      tokens,
      more: parts.certificates.readiness,
    }),
  );
  const isServing = async () => !draining() && (await readiness.report()).ready;
  const models = modelGate(base, parts, guard);
  const handlers = controlHandlers(services(base, parts, draining, serverVersion));
  const metricsRate: RateClass = {
    name: 'admin',
    perMinute: options.RATE_LIMIT_ADMIN_PER_MINUTE,
    exempt: ({ id }) => id === metricsKeyId,
  };
  const controlRate: RateClass = { name: 'api', perMinute: options.RATE_LIMIT_API_PER_MINUTE };
  const pageRate: Pick<PageCallers, 'takeRate'> = {
    takeRate: (principal, reply) => takeRate(guard, controlRate, principal, reply),
  };
  // Of their own: whoever floods them takes no room from callers.
  const strangers = new RateLimiter(systemClock, bucketsMax);
  const publicPaths = new Set(methodTable().flatMap(({ access, path }) => (access === 'public_read' ? [path] : [])));
  const [open = [], closed = []] = [true, false].map((isOpen) =>
    handlers.filter(({ requestPath }) => publicPaths.has(requestPath) === isOpen),
  );
  const controlApi = async (app: FastifyInstance, guardOf: GuardOptions) => {
    await registerApi(app, guardOf, controlRate, closed, log);
    await registerPublicApi(app, { limiter: strangers, metrics }, open, log);
  };
  return {
    health: (app) => registerHealth(app, readiness, draining),
    metrics: (app) => registerMetrics(app, { ...browserGuard, refusals, signatures, throughput, rate: metricsRate }),
    models: (app) => registerModels(app, models, throughput),
    control: (app) => controlApi(app, guard),
    browserControl: (app) => controlApi(app, browserGuard),
    publicPages: async (app) => {
      registerAssets(app);
      await registerPublicPages(app, { boards: parts.publicBoards, limiter: strangers, metrics, log });
    },
    signIn: (app) => registerSignIn(app, { ...parts.signIn, ...pageRate }),
    logins: async (app) => {
      const logins = { ...parts.logins, ...pageRate };
      await registerOAuth(app, logins);
      await registerDevicePage(app, logins);
    },
    grpcHealth: (app) => mountHandlers(app, healthHandlers({ isServing, draining }), log),
    reflection: (app) => mountHandlers(app, reflectionHandlers(), log),
  };
}

function services(
  { config, log, metrics }: Base,
  parts: Parts,
  draining: () => boolean,
  serverVersion: string,
): ServiceDeps {
  const { pool, keys } = parts.store;
  return serviceDeps({
    ...parts,
    sessions: parts.signIn.sessions,
    logins: parts.logins.logins,
    pool,
    log,
    serverVersion,
    draining,
    ledgerDaysKept: config.options.LEDGER_RETENTION_DAYS,
    telemetryDaysKept: telemetryDaysKept(config),
    clock: systemClock,
    keyPepper: keys.keyPepper,
    signingSecrets: keys.signingSecrets,
    pageTokens: new PageTokens(keys.pageTokens),
    routedProviders: () => parts.routing.current.table.providers,
    databaseNow: () => parts.instance.databaseNow(),
    onMatched: (state) => metrics.reconciledDays.inc({ state }),
    onReplay: () => metrics.idempotentReplays.inc(),
    isProvider: (name) => parts.routing.current.providers.has(name),
    twoPeople: config.options.KILL_RELEASE_TWO_PEOPLE,
    controlAgeMaxMs: config.options.CONTROL_AGE_MAX_MS,
  });
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
