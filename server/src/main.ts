/** The composition root: it alone knows everything, wires it by hand, and takes it down in the reverse order. */
import manifest from '../package.json' with { type: 'json' };
import type { KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { createContextValues } from '@connectrpc/connect';
import { fastifyConnectPlugin } from '@connectrpc/connect-fastify';
import type { FastifyInstance } from 'fastify';
import type { Pool } from 'pg';
import { destination } from 'pino';
import { accessRecordKey, principalKey } from './api/context.ts';
import type { ServiceDeps } from './api/deps.ts';
import { PageTokens } from './api/page-tokens.ts';
import { registerServices } from './api/routes.ts';
import { auditSystem } from './audit/system.ts';
import { systemClock } from './base/clock.ts';
import { PortcullisError } from './base/errors.ts';
import { RateLimiter } from './base/gcra.ts';
import { bucketsMax, instanceBeatMs } from './base/limits.ts';
import { type Logger, createLogger } from './base/log.ts';
import { type Metrics, createMetrics } from './base/metrics.ts';
import { Stops } from './base/stops.ts';
import { BudgetIndex } from './budget/budget-index.ts';
import { BudgetService } from './budget/budget-service.ts';
import { Instance, sweepHolds } from './budget/instances.ts';
import { Ledger } from './budget/ledger.ts';
import { PriceBook } from './budget/price-book.ts';
import type { CliContext, RunningGate } from './cli/context.ts';
import { runCli } from './cli/program.ts';
import type { Config } from './config/config.ts';
import { configuredCredentials, configuredIssuers } from './config/credential-options.ts';
import { credentialsPath, keepCredentials, readCredentials } from './config/credentials-file.ts';
import type { ConfigFile } from './config/file.ts';
import { deriveKeys, masterKeyIn } from './config/secrets.ts';
import { watchConfigFile } from './config/watch.ts';
import type { ModelGate } from './gateway/models/gate.ts';
import { type RoutesConfig, type Routing, createRouting } from './gateway/models/route-config.ts';
import { type GuardOptions, guard } from './http/guard.ts';
import { type Readiness, registerHealth } from './http/health.ts';
import { close, listen } from './http/listen.ts';
import { registerMetrics } from './http/metrics-routes.ts';
import { registerModels } from './http/models-routes.ts';
import { type HttpOptions, createHttpServer } from './http/server.ts';
import { ThroughputMeter } from './http/throughput.ts';
import { AgentService } from './identity/agent-service.ts';
import { ApiKeyVerifier } from './identity/api-key-verifier.ts';
import { Authenticator } from './identity/authenticator.ts';
import { bootstrap } from './identity/bootstrap.ts';
import { IdentityIndex } from './identity/identity-index.ts';
import { JwtVerifier } from './identity/jwt.ts';
import { KeyService } from './identity/key-service.ts';
import { KeyUses } from './identity/key-uses.ts';
import { PersonService } from './identity/person-service.ts';
import { ProjectService } from './identity/project-service.ts';
import { RefusalAudit } from './identity/refusal-audit.ts';
import { StaticCredentials } from './identity/static-credentials.ts';
import { clientAddress, parseAddressRange } from './net/client-address.ts';
import { createFetchJson } from './net/fetch-json.ts';
import { ControlFeed } from './pg/control-feed.ts';
import { appRole as embeddedAppRole } from './pg/embedded/cluster.ts';
import { startEmbedded } from './pg/embedded/start.ts';
import { migrate, schemaState } from './pg/migrate.ts';
import { type ConnectionOptions, createPool } from './pg/pool.ts';
import { Flights, type StopReason } from './policy/flights.ts';
import { KillIndex, killError } from './policy/kill-index.ts';
import { KillService } from './policy/kill-service.ts';
import { RunIndex } from './run/run-index.ts';
import { RunService } from './run/service.ts';
import { startJobs } from './worker/ticker.ts';

const furtherPorts = 20;
const serverVersion = manifest.version;
const metricsKeyId = 'static:METRICS_API_KEY';
const ledgerGraceMs = 10_000;
const oldRoutingKeptMs = 10_000;
const stopping = new PortcullisError('unavailable', 'The gate is being stopped.', { retryAfterS: 5 });

/** What every part below is made with. */
interface Base {
  readonly config: Config;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly stops: Stops;
  readonly notice: (line: string) => void;
}

async function startGate(config: Config, context: CliContext, notice: (line: string) => void): Promise<RunningGate> {
  const { LOG_LEVEL, LOG_FILE } = config.options;
  // The embedded start prints for a person; its log goes beside, not between.
  const log = createLogger(
    LOG_LEVEL,
    destination(LOG_FILE === null ? { dest: config.embedded ? 2 : 1 } : { dest: LOG_FILE, mkdir: true }),
  );
  const base: Base = { config, log, metrics: createMetrics(), stops: new Stops(), notice };
  try {
    return await compose(base, context);
  } catch (error) {
    await base.stops.run(log);
    throw error;
  }
}

async function compose(base: Base, context: CliContext): Promise<RunningGate> {
  const { config, log, stops, metrics } = base;
  const database = await openDatabase(base);
  const keys = deriveKeys(database.masterKey);
  const { options } = config;
  const pool = createPool({
    ...database.connection,
    max: options.DATABASE_POOL_MAX,
    idleMs: options.DATABASE_IDLE_MS,
    lifetimeMs: options.DATABASE_LIFETIME_MS,
    onError: (err) => log.warn({ err }, 'a database connection broke'),
  });
  stops.add('pool', () => pool.end());
  await requireSchema(pool);
  const known = database.dataDir === null ? null : readCredentials(database.dataDir);
  const { projectId, firstKeys } = await bootstrap(pool, keys.keyPepper, {
    issueKeys: database.dataDir !== null && known === null,
  });

  const control = await startControl(base, database.connection);
  const refusals = startWriter(
    base,
    'refusals',
    new RefusalAudit(pool, systemClock, (err) => log.error({ err }, 'refusals could not be audited')),
  );
  const uses = startWriter(
    base,
    'key uses',
    new KeyUses(pool, systemClock, (err) => log.error({ err }, 'uses of keys could not be written')),
  );
  const { ledger, instance } = await startLedger(base, pool, control.budgets);
  const tokens = createTokenVerifier(base, control.identity);
  await tokens.warm();
  const authenticator = createAuthenticator(base, tokens, {
    ...control,
    pepper: keys.keyPepper,
    projectId,
    refusals,
    uses,
  });
  const guardOptions: GuardOptions = {
    authenticator,
    limiter: new RateLimiter(systemClock, bucketsMax),
    metrics,
    assertFresh: () => control.feed.assertFresh(),
  };
  const routing = watchRoutes(base, context);
  const gate: ModelGate = {
    ...guardOptions,
    flights: control.flights,
    budgets: control.budgets,
    runs: control.runs,
    rates: {
      keyPerMinute: options.RATE_LIMIT_MODELS_PER_MINUTE,
      tokenPerMinute: options.RATE_LIMIT_MODELS_TOKEN_PER_MINUTE,
    },
    routes: () => routing().table,
    prices: new PriceBook(),
    ledger,
    refusals,
    clock: systemClock,
    log,
  };

  let draining = false;
  const app = await createHttpServer({
    log,
    metrics,
    publicUrl: options.PUBLIC_URL,
    allowedHosts: options.ALLOWED_HOSTS,
    allowedOrigins: options.ALLOWED_ORIGINS,
    clientAddress: addressReader(options.TRUSTED_PROXIES),
  });
  const throughput = new ThroughputMeter(systemClock);
  registerHealth(app, readinessChecks(pool, control.feed, tokens), () => draining);
  registerMetrics(app, {
    ...guardOptions,
    rate: { name: 'admin', perMinute: options.RATE_LIMIT_ADMIN_PER_MINUTE, exempt: ({ id }) => id === metricsKeyId },
    throughput,
    onRead: (principal, requestId) => refusals.note('metrics.read', principal, 'metrics:read', requestId),
  });
  await registerModels(app, gate, throughput);
  await registerApi(app, options.RATE_LIMIT_API_PER_MINUTE, guardOptions, {
    pool,
    clock: systemClock,
    log,
    feed: control.feed,
    refusals,
    pageTokens: new PageTokens(keys.pageTokens),
    agents: new AgentService(pool),
    keys: new KeyService(pool, keys.keyPepper, systemClock),
    people: new PersonService(pool),
    projects: new ProjectService(pool),
    budgets: new BudgetService(pool, () => instance.databaseNow()),
    kills: new KillService(pool, systemClock),
    runs: new RunService(pool, systemClock, control.runs, control.kills),
    serverVersion,
  });

  const { host, port } = options.HTTP_ADDR;
  const url = await listen(app, { host, port, furtherPorts: config.embedded ? furtherPorts : 0 });
  if (port !== 0 && Number(new URL(url).port) !== port) base.notice(`Port ${port} is taken, so this is ${url}.`);
  await auditSystem(pool, 'server.started', url, { version: serverVersion });
  const credentials = database.dataDir === null ? null : keepCredentials(database.dataDir, url, known, firstKeys);
  return {
    url,
    credentialsFile: database.dataDir === null ? null : credentialsPath(database.dataDir),
    adminKey: credentials?.admin_key ?? null,
    agentKey: credentials?.agent_key ?? null,
    drain: async () => {
      draining = true;
      await close(app, options.DRAIN_MS, () => control.flights.abortAll(stopping));
      await auditSystem(pool, 'server.stopped', url, { version: serverVersion }).catch((err: unknown) =>
        log.error({ err }, 'the stop was not audited'),
      );
      await stops.run(log);
    },
  };
}

/** The database that the configuration names, or an embedded one, migrated. */
async function openDatabase({
  config,
  log,
  stops,
  notice,
}: Base): Promise<{ connection: ConnectionOptions; dataDir: string | null; masterKey: string }> {
  const { options } = config;
  const connection = {
    statementMs: options.DATABASE_STATEMENT_MS,
    lockMs: options.DATABASE_LOCK_MS,
    connectMs: options.DATABASE_CONNECT_MS,
    applicationName: 'portcullis',
  };
  if (options.DATABASE_URL !== null) {
    if (options.SECRETS_KEY === null)
      throw new PortcullisError(
        'invalid_argument',
        'SECRETS_KEY is missing: generate one with `portcullis secrets generate`, and keep it.',
      );
    return {
      connection: { ...connection, connectionString: options.DATABASE_URL },
      dataDir: null,
      masterKey: options.SECRETS_KEY,
    };
  }
  const server = await startEmbedded({ dataDir: options.DATA_DIR, notice, log });
  stops.add('embedded PostgreSQL', () => server.stop());
  await migrate(server.ownerUrl, { appRole: embeddedAppRole });
  return {
    connection: { ...connection, connectionString: server.appUrl },
    dataDir: server.dataDir,
    masterKey: options.SECRETS_KEY ?? masterKeyIn(join(server.dataDir, 'secrets.key')),
  };
}

async function requireSchema(pool: Pool): Promise<void> {
  const { current, expected, upToDate } = await schemaState(pool);
  if (!upToDate)
    throw new PortcullisError(
      'unavailable',
      `The schema is at version ${current}, this code needs ${expected}: run \`portcullis migrate\` first.`,
    );
}

interface Control {
  readonly feed: ControlFeed;
  readonly identity: IdentityIndex;
  readonly budgets: BudgetIndex;
  readonly kills: KillIndex;
  readonly runs: RunIndex;
  readonly flights: Flights;
  readonly stopReason: StopReason;
}

/** Control state in memory, and the calls in flight that it ends. */
async function startControl({ config, log, metrics, stops }: Base, connection: ConnectionOptions): Promise<Control> {
  const { options } = config;
  const identity = new IdentityIndex(systemClock);
  const budgets = new BudgetIndex();
  const kills = new KillIndex();
  const runs = new RunIndex(() => feed.refresh());
  const feed: ControlFeed = new ControlFeed({
    connection,
    parts: [identity, budgets, kills, runs],
    clock: systemClock,
    log,
    maxAgeMs: options.CONTROL_AGE_MAX_MS,
  });
  const stopReason: StopReason = (subject) => {
    const kill = kills.killedBy(subject, systemClock.now());
    if (kill) return killError(kill);
    if (identity.whyEnded(subject) !== null)
      return new PortcullisError('unauthenticated', 'The credential of this call no longer holds.');
    return staleness(feed);
  };
  const flights = new Flights(
    {
      maxPerProcess: options.CALLS_IN_FLIGHT_MAX,
      maxPerCaller: options.CALLS_IN_FLIGHT_PER_KEY_MAX,
      queueMax: options.CALLS_IN_FLIGHT_MAX,
      queueWaitMs: 1_000,
    },
    stopReason,
  );
  feed.onApplied(() => flights.sweep());
  feed.onStale(() => flights.sweep());
  metrics.readings.killEngaged = () => kills.engagedAt(systemClock.now());
  metrics.readings.controlAgeS = () => feed.ageMs() / 1000;
  metrics.readings.callsInFlight = () => flights.size;
  await feed.start();
  stops.add('control feed', () => feed.stop());
  return { feed, identity, budgets, kills, runs, flights, stopReason };
}

/** The ledger of this process, and the jobs that keep it honest: the heartbeat, and posting what dead processes held. */
async function startLedger(
  { config, log, stops }: Base,
  pool: Pool,
  budgets: BudgetIndex,
): Promise<{ ledger: Ledger; instance: Instance }> {
  const instance = new Instance(pool, systemClock);
  await instance.beat();
  stops.add('instance', () => instance.stop());
  // The data folder is ours alone: whoever else held money on it is dead.
  if (config.embedded) await instance.buryOthers();
  await sweepHolds(pool);
  const jobs = [
    { name: 'heartbeat', everyMs: instanceBeatMs, run: () => instance.beat() },
    { name: 'sweep holds', everyMs: instanceBeatMs, run: () => sweepHolds(pool) },
  ];
  stops.add('jobs', startJobs(jobs, log));
  const ledger = new Ledger({ pool, instance, budgets, clock: systemClock, log });
  stops.add('ledger', () => ledger.stop(ledgerGraceMs));
  return { ledger, instance };
}

function staleness(feed: ControlFeed): PortcullisError | null {
  try {
    feed.assertFresh();
    return null;
  } catch (error) {
    return PortcullisError.from(error);
  }
}

interface AuthParts {
  readonly feed: ControlFeed;
  readonly identity: IdentityIndex;
  readonly pepper: KeyObject;
  readonly projectId: string;
  readonly refusals: RefusalAudit;
  readonly uses: KeyUses;
}

function createTokenVerifier({ config, log, metrics }: Base, index: IdentityIndex): JwtVerifier {
  return new JwtVerifier({
    issuers: configuredIssuers(config).map(({ project, ...issuer }) => ({
      ...issuer,
      projectId: projectIdOf(index, project),
    })),
    index,
    fetchJson: createFetchJson({ allowPrivate: !config.production }),
    clock: systemClock,
    onFetch: (result, err) => {
      metrics.jwksFetches.inc({ result });
      if (result === 'failed') log.warn({ err }, 'the keys of a token issuer could not be fetched');
    },
    onSignature: (seconds) => metrics.jwtVerification.observe(seconds),
  });
}

function createAuthenticator({ config, metrics }: Base, tokens: JwtVerifier, parts: AuthParts): Authenticator {
  const { feed, identity: index, pepper, projectId, refusals, uses } = parts;
  return new Authenticator({
    refusals,
    clock: systemClock,
    onAttempt: (method, result) => metrics.authAttempts.inc({ method, result }),
    verifiers: [
      new ApiKeyVerifier({ pepper, index, refresh: () => feed.refresh(), uses, clock: systemClock }),
      new StaticCredentials({ projectId, ...configuredCredentials(config) }),
      tokens,
    ],
  });
}

function projectIdOf(index: IdentityIndex, name: string): string {
  const project = index.projectByName(name);
  if (!project)
    throw new PortcullisError(
      'invalid_argument',
      `portcullis.yaml: an issuer names the project "${name}", which does not exist.`,
    );
  return project.id;
}

/**
 * The routes of the configuration file, made anew on SIGHUP and when the file changes. A file that does not hold changes
 * nothing and the log says why.
 */
function watchRoutes({ config, log, stops }: Base, context: CliContext): () => Routing {
  let routing = createRouting(routesConfig(config, config.file));
  const unwatch = watchConfigFile(config, {
    environment: context.environment,
    cwd: context.cwd,
    use: (file) => {
      const previous = routing;
      routing = createRouting(routesConfig(config, file));
      log.info({ models: Object.keys(file.models) }, 'the configuration file was read again');
      // Calls that were already authorized may still be on their way to it.
      setTimeout(() => void previous.close(), oldRoutingKeptMs).unref();
    },
    refuse: (problems) => log.error({ problems }, 'the configuration file does not hold: the old one stays in force'),
  });
  stops.add('routes', () => {
    unwatch();
    return routing.close();
  });
  return () => routing;
}

function routesConfig({ options }: Config, file: ConfigFile): RoutesConfig {
  return {
    providers: file.providers,
    models: file.models,
    connectMs: options.MODEL_CONNECT_MS,
    deadlines: {
      firstByteMs: options.MODEL_FIRST_BYTE_MS,
      idleMs: options.MODEL_IDLE_MS,
      totalMs: options.MODEL_TOTAL_MS,
    },
  };
}

function readinessChecks(pool: Pool, feed: ControlFeed, tokens: JwtVerifier): Readiness[] {
  return [
    {
      name: 'database',
      needed: true,
      check: async () => ((await pool.query('SELECT 1')).rowCount === 1 ? 'ok' : 'failed'),
    },
    { name: 'migrations', needed: true, check: async () => ((await schemaState(pool)).upToDate ? 'ok' : 'behind') },
    { name: 'control_state', needed: true, check: async () => (staleness(feed) === null ? 'ok' : 'stale') },
    { name: 'jwks', needed: tokens.status !== 'not_configured', check: async () => tokens.status },
  ];
}

function addressReader(proxies: readonly string[]): HttpOptions['clientAddress'] {
  const ranges = proxies.map(parseAddressRange);
  return (socketAddress, forwardedFor) => clientAddress(socketAddress, forwardedFor, ranges);
}

/** The control API, guarded before a byte of a body is read. */
async function registerApi(
  app: FastifyInstance,
  perMinute: number,
  guardOptions: GuardOptions,
  deps: ServiceDeps,
): Promise<void> {
  await app.register(async (scope) => {
    scope.addHook('onRequest', guard(guardOptions, { name: 'api', perMinute }));
    await scope.register(fastifyConnectPlugin, {
      routes: (router) => registerServices(router, deps),
      contextValues: (request) =>
        createContextValues().set(principalKey, request.principal).set(accessRecordKey, request.access),
    });
  });
}

/** A part that writes in the background from now on, and what is left when it stops. */
function startWriter<T extends { start(): void; stop(): Promise<void> }>({ stops }: Base, name: string, writer: T): T {
  writer.start();
  stops.add(name, () => writer.stop());
  return writer;
}

const context: CliContext = {
  environment: process.env,
  cwd: process.cwd(),
  stdout: process.stdout,
  stderr: process.stderr,
  stdin: process.stdin,
  start: (config, notice) => startGate(config, context, notice),
};

try {
  process.exitCode = await runCli(context, process.argv.slice(2));
} catch (error) {
  // What an operator can mend says so in one sentence; the rest is a fault, and its stack helps.
  const text =
    error instanceof PortcullisError
      ? error.message
      : error instanceof Error
        ? (error.stack ?? error.message)
        : String(error);
  process.stderr.write(`${text}\n`);
  process.exitCode = 1;
}
