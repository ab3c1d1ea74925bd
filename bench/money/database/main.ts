import { createLogger } from '../../../server/src/base/log.ts';
import { appRole } from '../../../server/src/pg/embedded/cluster.ts';
import { startEmbedded } from '../../../server/src/pg/embedded/start.ts';
import { migrate } from '../../../server/src/pg/migrate.ts';

/** PostgreSQL as `up` starts it, in the folder `argv[2]`, migrated; it ends with SIGTERM. What it prints is a `Database`. */
export interface Database {
  /** Connects as the application's own role. */
  readonly url: string;
  /** Connects as the owner of the schema. */
  readonly ownerUrl: string;
  readonly pid: number;
}

const server = await startEmbedded({
  dataDir: process.argv[2] ?? '',
  notice: () => {},
  log: createLogger('warn'),
});
process.once('SIGTERM', () => void server.stop().then(() => process.exit(0)));
try {
  await migrate(server.ownerUrl, { appRole });
} catch (error) {
  await server.stop();
  throw error;
}
const database: Database = { url: server.appUrl, ownerUrl: server.ownerUrl, pid: server.pid ?? 0 };
process.stdout.write(`${JSON.stringify(database)}\n`);
