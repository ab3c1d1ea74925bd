import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { control } from './control/bench.ts';
import { stopChildren } from './harness/children.ts';
import { describeMachine } from './harness/machine.ts';
import type { Bench, BenchOptions, BenchResult } from './harness/result.ts';
import { toText } from './harness/table.ts';
import { readVersions } from './harness/versions.ts';
import { models } from './models/bench.ts';
import { money } from './money/bench.ts';
import { policy } from './policy/bench.ts';
import { soak } from './soak/bench.ts';
import { telemetry } from './telemetry/bench.ts';

const benches: Readonly<Record<string, Bench>> = { models, money, policy, soak, control, telemetry };

const usage = `usage: npm run bench -- NAME [--json] [--rounds n] [--duration s] [--smoke] [--targets a,b] [--workloads a,b]
${Object.entries(benches)
  .map(([name, bench]) => `  ${name.padEnd(10)} ${bench.summary}`)
  .join('\n')}
telemetry takes [--attempts n] [--seed n] [--data FOLDER] too: FOLDER keeps what was seeded, for the next time.`;

class UsageError extends Error {}

interface Request {
  readonly name: string;
  readonly bench: Bench;
  readonly json: boolean;
  readonly options: Omit<BenchOptions, 'directory' | 'progress'>;
}

function readCommandLine(): Request {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      duration: { type: 'string' },
      smoke: { type: 'boolean', default: false },
      targets: { type: 'string' },
      workloads: { type: 'string' },
      attempts: { type: 'string' },
      seed: { type: 'string' },
      data: { type: 'string' },
    },
  });
  const [name = ''] = positionals;
  const bench = benches[name];
  if (bench === undefined) throw new UsageError(name === '' ? usage : `There is no benchmark "${name}".\n${usage}`);
  if (process.platform !== 'linux') throw new UsageError('The benchmarks read CPU time from /proc: they need Linux.');
  const { smoke } = values;
  return {
    name,
    bench,
    json: values.json,
    options: {
      rounds: count('--rounds', values.rounds, smoke ? 1 : bench.defaults.rounds),
      durationS: count('--duration', values.duration, smoke ? 1 : bench.defaults.durationS),
      smoke,
      targets: chosen('--targets', values.targets, bench.targets),
      workloads: chosen('--workloads', values.workloads, bench.workloads),
      attempts: count('--attempts', values.attempts, smoke ? 20_000 : 10_000_000),
      seed: count('--seed', values.seed, 1),
      data: values.data === undefined ? null : resolve(values.data),
    },
  };
}

function count(option: string, text: string | undefined, fallback: number): number {
  const value = Number(text ?? fallback);
  if (!Number.isInteger(value) || value < 1)
    throw new UsageError(`${option} is a whole number from 1 on, not "${text}".`);
  return value;
}

function chosen(option: string, text: string | undefined, known: readonly string[]): readonly string[] {
  const names = text?.split(',') ?? known;
  const strange = names.find((name) => !known.includes(name));
  if (strange !== undefined) throw new UsageError(`${option} has ${known.join(', ')}; not "${strange}".`);
  return names;
}

async function run({ name, bench, json, options }: Request): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'portcullis-bench-'));
  const startedMs = performance.now();
  let stopping = false;
  const progress = (text: string) => {
    if (!stopping) console.error(`[${((performance.now() - startedMs) / 1000).toFixed(0).padStart(4)} s] ${text}`);
  };
  const cleanUp = async () => {
    await stopChildren();
    await rm(directory, { recursive: true, force: true });
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      progress(`${signal}: stopping what was started`);
      stopping = true;
      void cleanUp().finally(() => process.exit(130));
    });
  }
  try {
    // An embedded PostgreSQL that root starts runs as another user, who must be able to pass through.
    await chmod(directory, 0o711);
    const machine = describeMachine(directory);
    const versions = readVersions();
    const result: BenchResult = {
      bench: name,
      machine,
      versions,
      ...(await bench.run({ ...options, directory, progress })),
    };
    console.log(json ? JSON.stringify(result) : toText(result));
  } finally {
    await cleanUp();
  }
}

try {
  await run(readCommandLine());
} catch (error) {
  const mistaken = error instanceof UsageError || (error as NodeJS.ErrnoException).code?.startsWith('ERR_PARSE_ARGS');
  console.error(mistaken ? (error as Error).message : error);
  process.exitCode = mistaken ? 2 : 1;
}
