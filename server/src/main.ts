/** The composition root: with `compose/` it alone knows everything, wires it by hand, and takes it down in the reverse order. */
import manifest from '../package.json' with { type: 'json' };
import { auditSystem } from './audit/system.ts';
import { systemClock } from './base/clock.ts';
import { createLogger, logDestination } from './base/log.ts';
import { createMetrics } from './base/metrics.ts';
import { Stops } from './base/stops.ts';
import type { CliContext, RunningGate } from './cli/context.ts';
import { lastWords } from './cli/last-words.ts';
import { runCli } from './cli/program.ts';
import type { Config } from './config/config.ts';
import { keepAnswers } from './gateway/models/kept-answers.ts';
import { createRouting } from './gateway/models/route-config.ts';
import { KeyUses } from './identity/key-uses.ts';
import { RefusalAudit } from './identity/refusal-audit.ts';
import { startJobs } from './worker/ticker.ts';
import type { Pool } from 'pg';
import { type Base, reporter, startWriter } from './compose/base.ts';
import { acknowledgeKills, startControl } from './compose/control.ts';
import { openDatabase, openStore } from './compose/database.ts';
import { createDoors } from './compose/doors.ts';
import { createAuthenticator, createTokenVerifier } from './compose/identity.ts';
import { startDays } from './compose/days.ts';
import { startLedger } from './compose/ledger.ts';
import { startLeaderboard } from './compose/leaderboard.ts';
import { configuredListeners, openListeners } from './compose/listeners.ts';
import { startPolicy } from './compose/policy.ts';
import { startLogins } from './compose/logins.ts';
import { openClientCertificates } from './compose/mtls.ts';
import { routesConfig, watchRoutes } from './compose/routes.ts';
import { startSignatures } from './compose/signatures.ts';
import { startSignIn } from './compose/sign-in.ts';
import { startTelemetry } from './compose/telemetry.ts';

const serverVersion = manifest.version;

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
  const firstRouting = createRouting(routesConfig(config, config.file, context.cwd));
  const certificates = openClientCertificates(base, context.cwd);
  const store = await openStore(base, await openDatabase(base));
  const { pool } = store;
  const control = await startControl(base, store);
  const refusals = startWriter(base, 'refusals', new RefusalAudit(pool, systemClock, reporter(log, 'refusals')));
  const uses = startWriter(base, 'uses of keys', new KeyUses(pool, systemClock, reporter(log, 'uses of keys')));
  const policy = startPolicy(base, store, control.policies);
  const { ledger, instance } = await startLedger(base, store, control);
  acknowledgeKills(base, store, control, instance.id);
  await startDays(base, store);
  const background = startTelemetry(base, store);
  startLeaderboard(base, background, control);
  const tokens = createTokenVerifier(base, control.identity);
  await tokens.warm();
  const authenticator = createAuthenticator(base, tokens, { ...store, ...control, refusals, uses });
  const logins = startLogins(base, store, control, authenticator);
  const signIn = startSignIn(base, store, control, authenticator, logins.logins);
  const signatures = await startSignatures(base, { ...control, pool, authenticator });
  const routing = await watchRoutes(base, context, pool, firstRouting);
  const kept = keepAnswers(
    {
      pool,
      key: store.keys.keptAnswers,
      now: () => instance.databaseNow(),
      waitMs: config.options.DATABASE_LOCK_MS,
    },
    base,
  );
  stops.add('purge', startJobs(kept.purges, log));
  await auditLife(base, pool, instance.id);

  let draining = false;
  const parts = {
    ...control,
    ...kept,
    store,
    refusals,
    ledger,
    instance,
    tokens,
    authenticator,
    certificates,
    policy,
    signatures,
    routing,
    signIn,
    logins,
  };
  const doors = createDoors(base, parts, () => draining, serverVersion);
  const listeners = configuredListeners(base, doors, certificates);
  const urls = await openListeners(base, listeners, control.flights, () => draining);
  const url = urls.get('HTTP_ADDR') ?? '';
  return {
    url,
    ...store.credentials(url),
    drain: async () => {
      draining = true;
      await stops.run(log);
    },
  };
}

/** Tells the audit log of our start, and at the end of our stop. */
async function auditLife({ stops }: Base, pool: Pool, instanceId: string): Promise<void> {
  await auditSystem(pool, 'server.started', instanceId, { version: serverVersion });
  stops.add('audit', () => auditSystem(pool, 'server.stopped', instanceId, { version: serverVersion }));
}

const context: CliContext = {
  environment: process.env,
  cwd: process.cwd(),
  stdout: process.stdout,
  stderr: process.stderr,
  stdin: process.stdin,
  start: (config, notice) => startGate(config, context, notice),
};

// Who reads our output may have read enough of it (`| head`).
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});

try {
  process.exitCode = await runCli(context, process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${lastWords(error)}\n`);
  process.exitCode = 1;
}
