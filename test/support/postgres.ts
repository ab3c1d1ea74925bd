import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { createLogger } from '../../server/src/base/log.ts';
import { appRole } from '../../server/src/pg/embedded/cluster.ts';
import { layoutOf } from '../../server/src/pg/embedded/data-dir.ts';
import { acquireLock } from '../../server/src/pg/embedded/lock.ts';
import { clearOrphan } from '../../server/src/pg/embedded/postmaster.ts';
import { startEmbedded, type EmbeddedServer } from '../../server/src/pg/embedded/start.ts';
import { migrate } from '../../server/src/pg/migrate.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Of the migrated database that createTestDatabase() copies; nothing else connects to it. */
    postgres: { readonly ownerUrl: string; readonly appUrl: string };
  }
}

const dirPrefix = 'portcullis-test-pg-';
const startingMs = 60_000;

let server: EmbeddedServer | undefined;
let dataDir: string | undefined;

/** Starts one PostgreSQL for the run; several runs on one machine each have their own. */
export async function setup(project: Pick<TestProject, 'provide'>): Promise<void> {
  await removeAbandoned();
  dataDir = mkdtempSync(join(tmpdir(), dirPrefix));
  process.on('exit', removeData);
  server = await startEmbedded({
    dataDir,
    notice: (sentence) => console.log(sentence),
    log: createLogger('warn'),
    settings: { fsync: 'off', full_page_writes: 'off', synchronous_commit: 'off' },
  });
  await migrate(server.ownerUrl, { appRole });
  project.provide('postgres', { ownerUrl: server.ownerUrl, appUrl: server.appUrl });
}

export async function teardown(): Promise<void> {
  await server?.stop();
  removeData();
}

function removeData(): void {
  if (dataDir !== undefined) rmSync(dataDir, { recursive: true, force: true });
}

/** Ends the servers of runs that were killed. A folder just made may not be locked yet. */
async function removeAbandoned(): Promise<void> {
  for (const entry of readdirSync(tmpdir())) {
    if (!entry.startsWith(dirPrefix)) continue;
    const abandoned = layoutOf(join(tmpdir(), entry));
    try {
      if (Date.now() - statSync(abandoned.dataDir).mtimeMs < startingMs) continue;
      await acquireLock(abandoned.lockFile, entry);
      await clearOrphan(abandoned.cluster);
      rmSync(abandoned.dataDir, { recursive: true, force: true });
    } catch {
      // In use by another run, or another user's.
    }
  }
}
