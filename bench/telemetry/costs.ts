import { Client, escapeIdentifier, type Pool } from 'pg';
import { type Cost, costOf, readCosts } from '../../test/support/statement-costs.ts';
import type { BenchOptions } from '../harness/result.ts';
import type { Database } from '../money/database/main.ts';
import { type GateOptions, startGate } from './gates.ts';
import type { Notebook } from './notebook.ts';
import { Random } from './random.ts';
import type { Read } from './reads.ts';

const requests = 5;
/** The least of so many is the call's own: what the gate does besides, at times of its own, only adds to it. */
const repetitions = 4;

/**
 * What each kind of read costs the database, by its own account: statements, rows and entries of indexes, pages. To be taken
 * last, since PostgreSQL explains everything meanwhile.
 */
export async function measureCosts(
  database: Database,
  pool: Pool,
  gateOptions: GateOptions,
  kinds: readonly Read[],
  notebook: Notebook,
  { seed }: BenchOptions,
): Promise<void> {
  const random = new Random(seed + 3);
  const reader = await readCosts({ ...database, appUrl: database.url, pool, drop: () => Promise.resolve() });
  try {
    const gate = await startGate('explained', 'target', { ...gateOptions, databaseUrl: reader.url });
    for (const { method, name, request } of kinds) {
      for (let asked = 0; asked < requests; asked += 1) {
        const message = request(random);
        await notebook.take(name, 'cost of a call', async () => {
          const told: Cost[] = [];
          while (told.length < repetitions) {
            reader.take();
            await gate.api(method, message);
            told.push(costOf(reader.take()));
          }
          const least = (of: keyof Cost) => Math.min(...told.map((cost) => cost[of]));
          return { statements: least('statements'), rows: least('rows'), pages: least('pages') };
        });
      }
    }
    await gate.stop();
  } finally {
    await reader.close();
    // What was seeded may be measured again.
    await forgetSettings(database);
  }
}

async function forgetSettings({ ownerUrl }: Database): Promise<void> {
  const owner = new Client({ connectionString: ownerUrl });
  await owner.connect();
  await owner.query(`ALTER DATABASE ${escapeIdentifier(owner.database ?? '')} RESET ALL`);
  await owner.end();
}
