import { parseArgs } from 'node:util';
import { createPool } from '../../server/src/pg/pool.ts';
import { testBounds } from '../support/database.ts';
import { TestGate } from '../support/gate.ts';
import { setup, teardown } from '../support/postgres.ts';
import { type Report, campaign, chaosConfiguration, chaosEnvironment } from './campaign.ts';
import { unproved } from './sides.ts';
import { startChaosUpstream } from './upstream.ts';

const usage = `Usage: npm run chaos -- streams [--runs 1000] [--seed N] [--run N] [--concurrency 32] [--json]

Streams through a real gate while everything fails that can, and a check of every byte and of the books.
--seed N --run M makes one run again. The exit code is 1 where there was a violation.`;

/** @returns the exit code */
export async function provesStreams(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      runs: { type: 'string', default: '1000' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
      run: { type: 'string' },
      concurrency: { type: 'string', default: '32' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const seed = Number(values.seed);
  const one = values.run !== undefined;
  const startedMs = performance.now();
  const report = await onStage((gate, upstream) =>
    campaign(gate, upstream, {
      seed,
      first: Number(values.run ?? 0),
      runs: one ? 1 : Number(values.runs),
      concurrency: one ? 1 : Number(values.concurrency),
      progress: (done, violations) => {
        if (done % 500 === 0) process.stderr.write(`\r${done} runs, ${violations} violations`);
      },
    }),
  );
  process.stderr.write('\n');
  const seconds = Math.round((performance.now() - startedMs) / 1000);
  console.log(values.json ? JSON.stringify({ seed, seconds, unproved, ...report }) : tell(report, seed, seconds));
  return report.violations.length > 0 ? 1 : 0;
}

function tell({ runs, attempts, byPair, byFault, violations }: Report, seed: number, seconds: number): string {
  const pairs = Object.entries(byPair)
    .toSorted(byName)
    .map(([pair, count]) => `  ${pair.padEnd(28)} ${count}`);
  const faults = Object.entries(byFault)
    .toSorted(byName)
    .map(([fault, endings]) => {
      const counts = Object.entries(endings).map(([ending, count]) => `${count} ${ending}`);
      return `  ${fault.padEnd(28)} ${counts.join(', ')}`;
    });
  const bad = violations.map(
    ({ run, pair, fault, what }) => `  --seed ${seed} --run ${run} (${pair}, ${fault}): ${what}`,
  );
  return [
    `${runs} runs with seed ${seed}, ${attempts} attempts upstream, ${seconds} s`,
    ...pairs,
    ...faults,
    ...(unproved.length > 0 ? [`not proved: ${unproved.join(', ')}`] : []),
    `${violations.length} violations`,
    ...bad,
  ].join('\n');
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a.localeCompare(b);
}

/** A gate with a database and an upstream of its own, for as long as `work` takes. */
async function onStage(
  work: (gate: TestGate, upstream: Awaited<ReturnType<typeof startChaosUpstream>>) => Promise<Report>,
) {
  let urls = { ownerUrl: '', appUrl: '' };
  await setup({ provide: (_name, value) => (urls = value) });
  const pool = createPool({ ...testBounds, connectionString: urls.appUrl });
  const upstream = await startChaosUpstream();
  const database = { ...urls, pool, drop: () => pool.end() };
  const gate = new TestGate(database, {
    database,
    yaml: chaosConfiguration(upstream.url),
    env: { ...chaosEnvironment, LOG_LEVEL: 'warn' },
  });
  try {
    await gate.start();
    return await work(gate, upstream);
  } finally {
    await gate.stop();
    await upstream.stop();
    await pool.end();
    await teardown();
  }
}
