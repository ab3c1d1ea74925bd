import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Child, type Side, startChild } from '../harness/children.ts';
import type { BenchOptions } from '../harness/result.ts';
import { round } from '../harness/statistics.ts';
import type { Database } from '../money/database/main.ts';
import { type CatchUp, catchUp } from './catch-up.ts';
import { seed, type Seeded, vacuum } from './seed/seed.ts';

/** What is in the database that is measured, and how it came there. */
export interface Data {
  readonly folder: string;
  readonly seeded: Seeded;
  readonly caughtUp: CatchUp;
}

const databaseMain = fileURLToPath(new URL('../money/database/main.ts', import.meta.url));
const minuteMs = 60_000;

/** Seeds a database and lets the rollups and the leaderboard count it, unless `--data` names a folder where that was done. */
export async function makeData(options: BenchOptions): Promise<Data> {
  const { attempts, seed: seedNumber, data, directory, progress } = options;
  const folder = data ?? join(directory, 'data');
  const factsFile = join(folder, 'seeded.json');
  if (existsSync(factsFile)) {
    const kept = { folder, ...(JSON.parse(await readFile(factsFile, 'utf8')) as Omit<Data, 'folder'>) };
    progress(`${folder} has ${kept.seeded.attempts} attempts of seed ${kept.seeded.seed}: they are measured`);
    return kept;
  }
  await mkdir(folder, { recursive: true });
  // An embedded PostgreSQL that root starts runs as another user, who must be able to pass through.
  await chmod(folder, 0o711);
  const { child, database } = await startDatabase(folder, 'all', directory);
  progress(`seeding ${attempts} attempts`);
  const toMs = Math.floor(Date.now() / minuteMs) * minuteMs - 10 * minuteMs;
  const seeded = await seed(database.ownerUrl, { attempts, seed: seedNumber, toMs, progress });
  progress(`seeded ${seeded.attempts} attempts of ${seeded.runs} runs in ${round(seeded.seconds)} s`);
  const caughtUp = await catchUp(database, seeded, { directory, progress });
  progress('vacuuming');
  await vacuum(database.ownerUrl);
  await child.stop();
  await writeFile(factsFile, JSON.stringify({ seeded, caughtUp }));
  return { folder, seeded, caughtUp };
}

export async function startDatabase(
  folder: string,
  side: Side,
  logFolder: string,
): Promise<{ readonly child: Child; readonly database: Database }> {
  const logFile = join(logFolder, 'database.log');
  const child = startChild([process.execPath, databaseMain, folder], { name: 'database', side, logFile, talks: true });
  return { child, database: JSON.parse(await child.line()) as Database };
}
