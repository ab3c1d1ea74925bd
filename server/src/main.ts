/** The composition root: it alone knows everything, wires it by hand, and takes it down in the reverse order. */
import manifest from '../package.json' with { type: 'json' };
import { basename, join, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { FastifyInstance } from 'fastify';
import type { Pool } from 'pg';
import { serviceDeps } from './api/deps.ts';
import { PageTokens } from './api/page-tokens.ts';
import { appended } from './audit/append.ts';
import { auditSystem } from './audit/system.ts';
import { systemClock } from './base/clock.ts';
import { PortcullisError } from './base/errors.ts';
import { RateLimiter } from './base/gcra.ts';
import { bodyBytesInFlightMax, bucketsMax, instanceBeatMs } from './base/limits.ts';
import { type Logger, createLogger, logDestination, withoutRedaction } from './base/log.ts';
import { type Metrics, createMetrics } from './base/metrics.ts';
import { Stops } from './base/stops.ts';
import { BudgetIndex } from './budget/budget-index.ts';
import { Instance, sweepHolds } from './budget/instances.ts';
import { Ledger } from './budget/ledger.ts';
import { PriceBook } from './budget/prices/price-book.ts';
import type { CliContext, RunningGate } from './cli/context.ts';
import { lastWords, messageOf } from './cli/last-words.ts';
import { runCli } from './cli/program.ts';
import type { Config } from './config/config.ts';
import { configuredCredentials, configuredIssuers } from './config/credential-options.ts';
import { credentialsPath, keepCredentials, readCredentials } from './config/credentials-file.ts';
import { type ConfigFile, configFileDigest } from './config/file.ts';
import { type DerivedKeys, deriveKeys, masterKeyIn } from './config/secrets.ts';
import { watchConfigFile } from './config/watch.ts';
import type { ModelGate } from './gateway/models/gate.ts';
import { keepAnswers } from './gateway/models/kept-answers.ts';
import { type RoutesConfig, type Routing, createRouting } from './gateway/models/route-config.ts';
import { RoutingInForce } from './gateway/models/routing-in-force.ts';
import { registerApi } from './http/api-routes.ts';
import type { GuardOptions } from './http/guard.ts';
import { registerHealth } from './http/health.ts';
import { close, listen } from './http/listen.ts';
import { registerMetrics } from './http/metrics-routes.ts';
import { registerModels } from './http/models-routes.ts';
import { readinessChecks } from './http/readiness.ts';
import { createHttpServer } from './http/server.ts';
import { ThroughputMeter } from './http/throughput.ts';
import { ApiKeyVerifier } from './identity/api-key-verifier.ts';
import { Authenticator } from './identity/authenticator.ts';
import { bootstrap } from './identity/bootstrap.ts';
import { IdentityIndex } from './identity/identity-index.ts';
import { JwtVerifier } from './identity/jwt.ts';
import { KeyUses } from './identity/key-uses.ts';
import { RefusalAudit } from './identity/refusal-audit.ts';
import { StaticCredentials } from './identity/static-credentials.ts';
import { createAddressReader } from './net/client-address.ts';
import { createFetchJson } from './net/fetch-json.ts';
import { ControlFeed } from './pg/control-feed.ts';
import { appRole as embeddedAppRole } from './pg/embedded/cluster.ts';
import { startEmbedded } from './pg/embedded/start.ts';
import { migrate, requireSchema } from './pg/migrate.ts';
import { type ConnectionOptions, createPool } from './pg/pool.ts';
import { Flights } from './policy/flights.ts';
import { KillIndex, killError } from './policy/kill-index.ts';
import { RunIndex } from './run/run-index.ts';
import { startJobs } from './worker/ticker.ts';

const furtherPorts = 20;
const serverVersion = manifest.version;
const metricsKeyId = 'static:METRICS_API_KEY';
const ledgerGraceMs = 10_000;
// One lane of holds, one of settlements: each has one transaction under way.
const ledgerLanes = 2;
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
  // The embedded start prints for a person; its log goes beside that.
  const log = createLogger(LOG_LEVEL, logDestination(LOG_FILE, config.embedded ? 2 : 1));
  const stops = new Stops();
  try {
    return await compose({ config, log, metrics: createMetrics(), stops, notice }, context);
  } catch (error) {
    await stops.run(log);
    throw error;
  }
}

async function compose(base: Base, context: CliContext): Promise<RunningGate> {
  const { config, log, stops } = base;
  // Before anything is started: a configuration of which nothing can be made is refused at once.
  const firstRouting = createRouting(routesConfig(config, config.file));
  const store = await openStore(base, await openDatabase(base));
  const { pool } = store;
  const control = await startControl(base, store.connection);
  const refusals = startWriter(base, 'refusals', new RefusalAudit(pool, systemClock, reporter(log, 'refusals')));
  const uses = startWriter(base, 'uses of keys', new KeyUses(pool, systemClock, reporter(log, 'uses of keys')));
  const { ledger, instance } = await startLedger(base, store, control.budgets);
  const tokens = createTokenVerifier(base, control.identity);
  await tokens.warm();
  const authenticator = createAuthenticator(base, tokens, { ...store, ...control, refusals, uses });
  const routing = await watchRoutes(base, context, pool, firstRouting);
  const kept = keepAnswers({ pool, key: store.keys.keptAnswers, now: () => instance.databaseNow() }, base);
  stops.add('purge', startJobs(kept.purges, log));
  await auditLife(base, pool, instance.id);

  let draining = false;
  const parts = { ...control, ...kept, store, refusals, ledger, instance, tokens, authenticator, routing };
  const url = await listenOn(base, await openDoors(base, parts, () => draining), control.flights);
  return {
    url,
    ...store.credentials(url),
    drain: async () => {
      draining = true;
      await stops.run(log);
    },
  };
}

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
async function openDoors(base: Base, parts: Parts, draining: () => boolean): Promise<FastifyInstance> {
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
    clock: systemClock,
    keyPepper: keys.keyPepper,
    pageTokens: new PageTokens(keys.pageTokens),
    databaseNow: () => parts.instance.databaseNow(),
  });
  await registerApi(app, guard, { name: 'api', perMinute: options.RATE_LIMIT_API_PER_MINUTE }, services);
  return app;
}

/** The database that the configuration names, or an embedded one, migrated. */
async function openDatabase({ config, log, stops, notice }: Base): Promise<OpenedDatabase> {
  const { options } = config;
  const bounds = {
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
    const connection = { ...bounds, connectionString: options.DATABASE_URL };
    return { connection, dataDir: null, masterKey: options.SECRETS_KEY };
  }
  // What it throws is written for the operator.
  const server = await startEmbedded({ dataDir: options.DATA_DIR, notice, log }).catch(refuseToStart);
  stops.add('embedded PostgreSQL', () => server.stop());
  await migrate(server.ownerUrl, { appRole: embeddedAppRole }).catch(refuseToStart);
  return {
    connection: { ...bounds, connectionString: server.appUrl },
    dataDir: server.dataDir,
    masterKey: options.SECRETS_KEY ?? masterKeyIn(join(server.dataDir, 'secrets.key')),
  };
}

interface OpenedDatabase {
  readonly connection: ConnectionOptions;
  /** Null where nothing is embedded. */
  readonly dataDir: string | null;
  readonly masterKey: string;
}

interface Store {
  readonly connection: ConnectionOptions;
  readonly pool: Pool;
  readonly keys: DerivedKeys;
  readonly projectId: string;
  /** Writes down where the gate listens, and tells what a person at its terminal needs. */
  readonly credentials: (url: string) => Pick<RunningGate, 'credentialsFile' | 'agentKey'>;
}

/** The pool, on a schema that is up to date and holds what a fresh installation begins with. */
async function openStore(base: Base, database: OpenedDatabase): Promise<Store> {
  const { options } = base.config;
  const { dataDir, connection } = database;
  const pool = openPool(base, 'pool', { ...connection, max: options.DATABASE_POOL_MAX });
  await requireSchema(pool);
  const keys = deriveKeys(database.masterKey);
  const known = dataDir === null ? null : readCredentials(dataDir);
  const issueKeys = dataDir !== null && known === null;
  const { projectId, firstKeys } = await bootstrap(pool, keys.keyPepper, { issueKeys });
  return {
    connection,
    pool,
    keys,
    projectId,
    credentials: (url) => {
      if (dataDir === null) return { credentialsFile: null, agentKey: null };
      const kept = keepCredentials(dataDir, url, known, firstKeys);
      return { credentialsFile: credentialsPath(dataDir), agentKey: kept?.agent_key ?? null };
    },
  };
}

function openPool(
  { config, log, stops }: Base,
  name: string,
  connection: ConnectionOptions & { readonly max: number },
): Pool {
  const { options } = config;
  const pool = createPool({
    ...connection,
    idleMs: options.DATABASE_IDLE_MS,
    lifetimeMs: options.DATABASE_LIFETIME_MS,
    onError: (err) => log.warn({ err }, 'a database connection broke'),
  });
  stops.add(name, () => pool.end());
  return pool;
}

interface Control {
  readonly feed: ControlFeed;
  readonly identity: IdentityIndex;
  readonly budgets: BudgetIndex;
  readonly kills: KillIndex;
  readonly runs: RunIndex;
  readonly flights: Flights;
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
  const flights = new Flights(
    {
      maxPerProcess: options.CALLS_IN_FLIGHT_MAX,
      maxPerCaller: options.CALLS_IN_FLIGHT_PER_KEY_MAX,
      queueMax: options.CALLS_IN_FLIGHT_MAX,
      queueWaitMs: 1_000,
      bodyBytesMax: bodyBytesInFlightMax,
    },
    (subject) => {
      const kill = kills.killedBy(subject, systemClock.now());
      if (kill) return killError(kill);
      if (identity.whyEnded(subject) !== null)
        return new PortcullisError('unauthenticated', 'The credential of this call no longer holds.');
      return feed.staleness();
    },
  );
  feed.onApplied(() => flights.sweep());
  feed.onStale(() => flights.sweep());
  metrics.readings.killEngaged = () => kills.engagedAt(systemClock.now());
  metrics.readings.controlAgeS = () => feed.ageMs() / 1000;
  metrics.readings.callsInFlight = () => flights.size;
  metrics.readings.auditEntries = () => appended;
  await feed.start();
  stops.add('control feed', () => feed.stop());
  return { feed, identity, budgets, kills, runs, flights };
}

/** The ledger of this process, and the jobs that keep it honest: the heartbeat, and posting what dead processes held. */
async function startLedger(
  base: Base,
  { pool, connection }: Store,
  budgets: BudgetIndex,
): Promise<{ ledger: Ledger; instance: Instance }> {
  const { config, log, stops } = base;
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
  const lanes = openPool(base, 'ledger pool', { ...connection, max: ledgerLanes, plansByKey: true });
  const ledger = new Ledger({ pool: lanes, instance, budgets, clock: systemClock, log });
  stops.add('ledger', () => ledger.stop(ledgerGraceMs));
  return { ledger, instance };
}

function createTokenVerifier({ config, log, metrics }: Base, index: IdentityIndex): JwtVerifier {
  return new JwtVerifier({
    issuers: configuredIssuers(config).map(({ project, ...issuer }) => ({
      ...issuer,
      projectId: projectIdOf(index, project),
    })),
    index,
    fetchJson: createFetchJson(),
    clock: systemClock,
    onFetch: (result, err) => {
      metrics.jwksFetches.inc({ result });
      if (result === 'failed') log.warn({ err }, 'the keys of a token issuer could not be fetched');
    },
    onSignature: (seconds) => metrics.jwtVerification.observe(seconds),
  });
}

function projectIdOf(index: IdentityIndex, name: string): string {
  const project = index.projectByName(name);
  if (project) return project.id;
  throw new PortcullisError(
    'invalid_argument',
    `portcullis.yaml: an issuer names the project "${name}", which does not exist.`,
  );
}

function createAuthenticator(
  { config, metrics }: Base,
  tokens: JwtVerifier,
  parts: Store & Control & { readonly refusals: RefusalAudit; readonly uses: KeyUses },
): Authenticator {
  const { feed, identity: index, keys, projectId, refusals, uses } = parts;
  return new Authenticator({
    refusals,
    clock: systemClock,
    onAttempt: (method, result) => {
      metrics.authAttempts.inc({ method, result });
      if (result === 'limited') metrics.rateLimitExceeded.inc({ class: 'failed_credentials', identifier_type: 'ip' });
    },
    verifiers: [
      // First, since an operator's own key may have any form, ours included.
      new StaticCredentials({ projectId, ...configuredCredentials(config) }),
      new ApiKeyVerifier({ pepper: keys.keyPepper, index, refresh: () => feed.refresh(), uses, clock: systemClock }),
      tokens,
    ],
  });
}

/**
 * The routes of the configuration file, made anew on SIGHUP and when the file changes. A file that does not hold changes
 * nothing and the log says why.
 */
async function watchRoutes(
  { config, log, metrics, stops }: Base,
  context: CliContext,
  pool: Pool,
  first: Routing,
): Promise<RoutingInForce> {
  const closeFailed = (err: unknown) => log.warn({ err }, 'the connections of the old routes did not close');
  const routing = new RoutingInForce(first, closeFailed);
  metrics.readings.breakers = () => routing.current.breakers.levels();
  const path = resolve(context.cwd, config.options.CONFIG_FILE);
  const audit = () => auditSystem(pool, 'config.loaded', basename(path), { sha256: configFileDigest(path) });
  const unwatch = watchConfigFile(config, {
    environment: context.environment,
    cwd: context.cwd,
    use: (file) => {
      routing.replace(createRouting(routesConfig(config, file)));
      log.info({ models: Object.keys(file.models) }, 'the configuration file was read again');
      if (!isDeepStrictEqual(file.issuers, config.file.issuers)) {
        log.warn('the token issuers changed: start this process again to put them into force');
      }
      audit().catch(reporter(log, 'the reload of the configuration'));
    },
    refuse: (problems) => log.error({ problems }, 'the configuration file does not hold: the old one stays in force'),
  });
  stops.add('routes', () => {
    unwatch();
    return routing.close();
  });
  await audit();
  return routing;
}

function routesConfig({ options }: Config, file: ConfigFile): RoutesConfig {
  return {
    providers: file.providers,
    models: file.models,
    clock: systemClock,
    deadlines: {
      connectMs: options.MODEL_CONNECT_MS,
      firstByteMs: options.MODEL_FIRST_BYTE_MS,
      idleMs: options.MODEL_IDLE_MS,
      totalMs: options.MODEL_TOTAL_MS,
    },
  };
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
    prices: new PriceBook(),
    streamPingMs: options.STREAM_PING_MS,
    clock: systemClock,
    log,
  };
}

/** Listens, until the drain: no new work, then the answers under way, then their end. */
async function listenOn({ config, stops, notice }: Base, app: FastifyInstance, flights: Flights): Promise<string> {
  const { HTTP_ADDR, DRAIN_MS } = config.options;
  const url = await listen(app, { ...HTTP_ADDR, furtherPorts: config.embedded ? furtherPorts : 0 });
  stops.add('listener', () => close(app, DRAIN_MS, () => flights.abortAll(stopping)));
  if (HTTP_ADDR.port !== 0 && Number(new URL(url).port) !== HTTP_ADDR.port)
    notice(`Port ${HTTP_ADDR.port} is taken, so this is ${url}.`);
  return url;
}

/** Tells the audit log of our start, and at the end of our stop. */
async function auditLife({ stops }: Base, pool: Pool, instanceId: string): Promise<void> {
  await auditSystem(pool, 'server.started', instanceId, { version: serverVersion });
  stops.add('audit', () => auditSystem(pool, 'server.stopped', instanceId, { version: serverVersion }));
}

/** A part that writes in the background from now on, and what is left when it stops. */
function startWriter<T extends { start(): void; stop(): Promise<void> }>({ stops }: Base, name: string, writer: T): T {
  writer.start();
  stops.add(name, () => writer.stop());
  return writer;
}

function reporter(log: Logger, what: string): (err: unknown) => void {
  return (err) => log.error({ err }, `${what} could not be written to the database`);
}

function refuseToStart(cause: unknown): never {
  throw new PortcullisError('unavailable', messageOf(cause), { cause });
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
  process.stderr.write(`${lastWords(error)}\n`);
  process.exitCode = 1;
}
