import { parseArgs } from 'node:util';
import type { Durability } from './evidence.ts';
import { findFaketime } from './faketime.ts';
import { type Report, type RunOptions, run } from './run.ts';

const usage = `Usage: npm run chaos -- money [--durability strict|relaxed] [--seed N] [--kills N] [--duration SECONDS] [--json]

Four gateways on one PostgreSQL, before a provider that keeps its own record, while all of them are killed, stopped and
set wrong. Afterwards the provider's record and the public API are asked whether the money is exact. A seed makes the same
plan again. Without --durability both are tried. The exit code is 1 where an invariant did not hold.`;

/** What a run of each durability has by default: 200 kills where every call is on the books, and some more. */
const defaults: Readonly<Record<Durability, Pick<RunOptions, 'kills' | 'durationMs'>>> = {
  strict: { kills: 200, durationMs: 700_000 },
  relaxed: { kills: 60, durationMs: 240_000 },
};

const clients = 40;
const burstCalls = 500;
const violationsShownMax = 20;

/** @returns the exit code */
export async function provesMoney(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      durability: { type: 'string' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
      kills: { type: 'string' },
      duration: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const { durability: only, kills, duration } = values;
  const wanted = (['strict', 'relaxed'] as const).filter((each) => only === undefined || each === only);
  if (values.help || wanted.length === 0) {
    console.log(usage);
    return values.help ? 0 : 2;
  }
  const faketime = findFaketime();
  if ('missing' in faketime && process.env['REQUIRE_ALL'] === '1') {
    console.error(`Under REQUIRE_ALL nothing may be left out: ${faketime.missing}.`);
    return 1;
  }
  // Broken off by a signal it ends its processes too: they hear of `exit`.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
  const seed = Number(values.seed);
  let violations = 0;
  for (const durability of wanted) {
    process.stderr.write(`${durability}, seed ${seed}\n`);
    const started = performance.now();
    const report = await run({
      seed,
      durability,
      kills: kills === undefined ? defaults[durability].kills : Number(kills),
      durationMs: duration === undefined ? defaults[durability].durationMs : Number(duration) * 1_000,
      clients,
      burstCalls,
      hurry: false,
      progress: (line) =>
        process.stderr.write(`${String(Math.round((performance.now() - started) / 1_000)).padStart(5)} s  ${line}\n`),
    });
    violations += report.findings.reduce((sum, finding) => sum + finding.violations.length, 0);
    console.log(values.json ? JSON.stringify(report) : tell(report));
  }
  return violations > 0 ? 1 : 0;
}

/** The summary: what was done, and one line for each invariant, with whatever broke it. */
export function tell({ seed, durability, seconds, done, calls, leftOut, findings }: Report): string {
  const { kills, strikes } = done;
  const violations = findings.flatMap((finding) => finding.violations);
  const list = (counts: object) => Object.entries(counts).map(([name, count]) => `${count} ${name}`);
  return [
    `money, ${durability}: seed ${seed}, ${seconds} s`,
    `  calls: ${list(calls).join(', ')}`,
    `  kill -9 of gateways: ${kills.serving + kills.starting + kills.paused} (${list(kills).join(', ')})`,
    `  ends of PostgreSQL: ${list(strikes).join(', ')}`,
    `  ${done.pauses} SIGSTOPs, ${done.shifts} clock jumps of gateways, ${done.jumps} of PostgreSQL, ${done.bursts} bursts, ${done.raises} raises of limits`,
    ...leftOut.map((what) => `  left out: ${what}`),
    ...findings.flatMap((finding) => [
      `  ${finding.violations.length === 0 ? 'held  ' : 'BROKEN'} ${finding.invariant}: ${finding.counts}; ${finding.violations.length} violations`,
      ...finding.violations.slice(0, violationsShownMax).map((violation) => `           ${violation}`),
    ]),
    violations.length === 0
      ? '  verdict: every invariant held'
      : `  verdict: ${violations.length} VIOLATIONS; --durability ${durability} --seed ${seed} plays this plan again`,
  ].join('\n');
}
