import { parseArgs } from 'node:util';
import { ChaosDatabase } from '../money/database.ts';
import { type Report, run } from './run.ts';

const usage = `Usage: npm run chaos -- webhooks [--seed N] [--kills N] [--json]

Three processes deliver events to a receiver that fails and is slow at times, while they are killed with SIGKILL. Afterwards
every committed event must have been taken by every endpoint, under one id, in order where that is wanted, and nothing else.
The exit code is 1 where that does not hold.`;

const killsByDefault = 200;
const violationsShownMax = 20;

/** @returns the exit code */
export async function provesWebhooks(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
      kills: { type: 'string', default: String(killsByDefault) },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
  const database = await ChaosDatabase.open();
  try {
    const progress = (line: string) => process.stderr.write(`${line}\n`);
    const report = await run(database.forGates, { seed: Number(values.seed), kills: Number(values.kills), progress });
    console.log(values.json ? JSON.stringify(report) : tell(report));
    return report.violations.length > 0 ? 1 : 0;
  } finally {
    await database.stop();
  }
}

/** The summary, with whatever did not hold. */
export function tell({ seed, kills, seconds, counts, violations }: Report): string {
  return [
    `webhooks: seed ${seed}, ${kills} kills, ${seconds} s`,
    ...Object.entries(counts).map(([name, count]) => `  ${name}: ${count}`),
    ...violations.slice(0, violationsShownMax).map((violation) => `  BROKEN ${violation}`),
    violations.length === 0 ? '  verdict: everything held' : `  verdict: ${violations.length} VIOLATIONS`,
  ].join('\n');
}
