/** The routes of the configuration file, as it changes. Part of the composition root: see main.ts. */
import { auditSystem } from '../audit/system.ts';
import { systemClock } from '../base/clock.ts';
import { PriceBook } from '../budget/prices/price-book.ts';
import { PriceFile } from '../budget/prices/price-file.ts';
import type { CliContext } from '../cli/context.ts';
import type { Config } from '../config/config.ts';
import { type ConfigFile, configFileDigest } from '../config/file.ts';
import { readPriceFile } from '../config/price-file.ts';
import { watchConfigFile } from '../config/watch.ts';
import { type RoutesConfig, type Routing, createRouting } from '../gateway/models/route-config.ts';
import { RoutingInForce } from '../gateway/models/routing-in-force.ts';
import { basename, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Pool } from 'pg';
import { type Base, reporter } from './base.ts';

/**
 * The routes of the configuration file, made anew on SIGHUP and when the file changes. A file that does not hold changes
 * nothing and the log says why.
 */
export async function watchRoutes(
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
      routing.replace(createRouting(routesConfig(config, file, context.cwd)));
      log.info({ models: Object.keys(file.models) }, 'the configuration file was read again');
      if (!isDeepStrictEqual(file.issuers, config.file.issuers)) {
        log.warn('the token issuers changed: start this process again to put them into force');
      }
      if (!isDeepStrictEqual(file.sign_in, config.file.sign_in)) {
        log.warn('the sign-in section changed: start this process again to put it into force');
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

/** @throws PortcullisError invalid_argument, for a file of prices that does not hold */
export function routesConfig({ options }: Config, file: ConfigFile, cwd: string): RoutesConfig {
  const configPath = resolve(cwd, options.CONFIG_FILE);
  const prices = file.prices ? new PriceFile(readPriceFile(configPath, file.prices.file)) : null;
  return {
    providers: file.providers,
    models: file.models,
    priceBook: new PriceBook(prices),
    clock: systemClock,
    deadlines: {
      connectMs: options.MODEL_CONNECT_MS,
      firstByteMs: options.MODEL_FIRST_BYTE_MS,
      idleMs: options.MODEL_IDLE_MS,
      totalMs: options.MODEL_TOTAL_MS,
    },
  };
}
