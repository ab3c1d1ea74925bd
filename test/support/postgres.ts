import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { createLogger } from '../../server/src/base/log.ts';
import { startEmbedded, type EmbeddedServer } from '../../server/src/pg/embedded/start.ts';
import { migrate } from '../../server/src/pg/migrate.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Of the migrated database that createTestDatabase() copies; nothing else connects to it. */
    postgres: { readonly ownerUrl: string; readonly appUrl: string };
  }
}

let server: EmbeddedServer | undefined;
let dataDir: string | undefined;

/** Starts one PostgreSQL for the run; several runs on one machine each have their own. */
export async function setup(project: TestProject): Promise<void> {
  dataDir = mkdtempSync(join(tmpdir(), 'portcullis-test-pg-'));
  process.on('exit', removeData);
  server = await startEmbedded({
    dataDir,
    notice: (sentence) => console.log(sentence),
    log: createLogger('warn'),
    settings: { fsync: 'off', full_page_writes: 'off', synchronous_commit: 'off' },
  });
  await migrate(server.ownerUrl, { appRole: 'portcullis' });
  project.provide('postgres', { ownerUrl: server.ownerUrl, appUrl: server.appUrl });
}

export async function teardown(): Promise<void> {
  await server?.stop();
  removeData();
}

function removeData(): void {
  if (dataDir !== undefined) rmSync(dataDir, { recursive: true, force: true });
}
