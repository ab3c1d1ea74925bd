import { mkdtemp, rm } from 'node:fs/promises';
import { chmodSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { stopChildren } from './harness/children.ts';
import { describeMachine } from './harness/machine.ts';
import type { Bench, BenchResult } from './harness/result.ts';
import { toText } from './harness/table.ts';
import { models } from './models/bench.ts';

const benches: Record<string, Bench> = { models };

const usage = `usage: npm run bench -- NAME [--json] [--rounds n] [--duration s] [--smoke] [--targets a,b]
${Object.entries(benches)
  .map(([name, bench]) => `  ${name.padEnd(10)} ${bench.summary}`)
  .join('\n')}`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    duration: { type: 'string' },
    smoke: { type: 'boolean', default: false },
    targets: { type: 'string' },
  },
});

const [name = ''] = positionals;
const bench = benches[name];
if (bench === undefined) {
  console.error(name === '' ? usage : `There is no benchmark "${name}".\n${usage}`);
  process.exit(2);
}
if (process.platform !== 'linux') {
  console.error('The benchmarks read CPU time from /proc and run on Linux only.');
  process.exit(2);
}

const directory = await mkdtemp(join(tmpdir(), 'portcullis-bench-'));
// An embedded PostgreSQL started by root runs as another user, who must be able to pass.
chmodSync(directory, 0o711);
const startedMs = performance.now();
const progress = (text: string) => {
  console.error(`[${((performance.now() - startedMs) / 1000).toFixed(0).padStart(4)} s] ${text}`);
};

const cleanUp = async () => {
  await stopChildren();
  await rm(directory, { recursive: true, force: true });
};
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    progress('stopping');
    void cleanUp().finally(() => process.exit(130));
  });
}

try {
  const machine = describeMachine(directory);
  const findings = await bench.run({
    rounds: atLeastOne('rounds') ?? (values.smoke ? 1 : bench.defaults.rounds),
    durationS: atLeastOne('duration') ?? (values.smoke ? 1 : bench.defaults.durationS),
    smoke: values.smoke,
    only: values.targets?.split(',') ?? null,
    directory,
    progress,
  });
  const result: BenchResult = { bench: name, machine, ...findings };
  console.log(values.json ? JSON.stringify(result) : toText(result));
} finally {
  await cleanUp();
}

function atLeastOne(option: 'rounds' | 'duration'): number | null {
  const text = values[option];
  if (text === undefined) return null;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${option} is a whole number from 1 on, not "${text}".`);
  return value;
}
