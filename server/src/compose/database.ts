/** The database, embedded or named, and the pool on it. Part of the composition root: see main.ts. */
import { PortcullisError } from '../base/errors.ts';
import type { RunningGate } from '../cli/context.ts';
import { credentialsPath, keepCredentials, readCredentials } from '../config/credentials-file.ts';
import { type DerivedKeys, deriveKeys, masterKeyIn } from '../config/secrets.ts';
import { bootstrap } from '../identity/bootstrap.ts';
import { appRole as embeddedAppRole } from '../pg/embedded/cluster.ts';
import { startEmbedded } from '../pg/embedded/start.ts';
import { migrate, requireSchema } from '../pg/migrate.ts';
import { type ConnectionOptions, createPool } from '../pg/pool.ts';
import { join } from 'node:path';
import type { Pool } from 'pg';
import { type Base, refuseToStart } from './base.ts';

interface OpenedDatabase {
  readonly connection: ConnectionOptions;
  /** Null where nothing is embedded. */
  readonly dataDir: string | null;
  readonly masterKey: string;
}

/** The database that the configuration names, or an embedded one, migrated. */
export async function openDatabase({ config, log, stops, notice }: Base): Promise<OpenedDatabase> {
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

export interface Store {
  readonly connection: ConnectionOptions;
  readonly pool: Pool;
  readonly keys: DerivedKeys;
  readonly projectId: string;
  /** Writes down where the gate listens, and tells what a person at its terminal needs. */
  readonly credentials: (url: string) => Pick<RunningGate, 'credentialsFile' | 'agentKey'>;
}

/** The pool, on a schema that is up to date and holds what a fresh installation begins with. */
export async function openStore(base: Base, database: OpenedDatabase): Promise<Store> {
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

export function openPool(
  { config, log, stops }: Base,
  name: string,
  connection: ConnectionOptions & { readonly max: number; readonly idleMs?: number },
): Pool {
  const { options } = config;
  const pool = createPool({
    idleMs: options.DATABASE_IDLE_MS,
    ...connection,
    lifetimeMs: options.DATABASE_LIFETIME_MS,
    onError: (err) => log.warn({ err }, 'a database connection broke'),
  });
  stops.add(name, () => pool.end());
  return pool;
}
