import type { Bar, Sample, TargetFigures } from '../harness/result.ts';
import { median, round } from '../harness/statistics.ts';

/** What the project promises of its model door with durability `strict`. */
export const bars: readonly Bar[] = [
  { ratio: 'gate_cpu_vs_bare', atMost: 2.3 },
  { ratio: 'gate_rps_vs_portkey', atLeast: 4 },
  // Bodies as large as Claude Code's: what the first measurement said, to be held.
  { ratio: 'gate_cpu_vs_bare_large', atMost: 8 },
  { ratio: 'gate_rps_vs_portkey_large', atLeast: 1.4 },
  { ratio: 'added_p50_ms', atMost: 5 },
  { ratio: 'translated_vs_passthrough', atLeast: 0.7 },
  { ratio: 'ttft_p99_vs_bare', atMost: 1.5 },
  { ratio: 'event_delay_p99_vs_bare', atMost: 1.5 },
  { ratio: 'stream_gaps_over_1s', atMost: 0 },
  { ratio: 'streams_rss_mib', atMost: 250 },
  { ratio: 'gate_errors', atMost: 0 },
  { ratio: 'gate_workloads_failed', atMost: 0 },
];

/**
 * The named comparisons; one whose sides were not both measured is absent. Sides are compared round by round, and the
 * median of that is the figure: what else the machine did in a round, it did to both.
 */
export function compare(
  targets: Readonly<Record<string, TargetFigures>>,
  unavailable: Readonly<Record<string, string>>,
): Sample {
  const of = (target: string) => (workload: string, figure: string) =>
    targets[target]?.samples[workload]?.flatMap((sample) => sample[figure] ?? []) ?? [];
  const [gate, bare, portkey, direct] = [of('gate'), of('bare-proxy'), of('portkey'), of('direct')];
  const litellm = of('litellm');
  const cpu = 'cpu_us_per_request';
  const added = (target: typeof gate, figure: string) =>
    minus(target('sequential', figure), direct('sequential', figure));
  const database = gate('small', `database_${cpu}`);
  const errors = Object.values(targets['gate']?.samples ?? {}).flat();
  const ratios: Record<string, number> = {
    gate_cpu_vs_bare: over(gate('small', cpu), bare('small', cpu)),
    gate_cpu_without_database_vs_bare: over(
      gate('small', cpu).map((whole, round) => whole - (database[round] ?? 0)),
      bare('small', cpu),
    ),
    gate_cpu_vs_bare_large: over(gate('large', cpu), bare('large', cpu)),
    gate_rps_vs_bare: over(gate('small', 'rps'), bare('small', 'rps')),
    gate_rps_vs_portkey: over(gate('small', 'rps'), portkey('small', 'rps')),
    gate_rps_vs_portkey_large: over(gate('large', 'rps'), portkey('large', 'rps')),
    gate_rps_vs_litellm: over(gate('small', 'rps'), litellm('small', 'rps')),
    gate_rps_vs_litellm_large: over(gate('large', 'rps'), litellm('large', 'rps')),
    bare_rps_vs_portkey: over(bare('small', 'rps'), portkey('small', 'rps')),
    added_p50_ms: added(gate, 'p50_ms'),
    added_p99_ms: added(gate, 'p99_ms'),
    bare_added_p50_ms: added(bare, 'p50_ms'),
    bare_added_p99_ms: added(bare, 'p99_ms'),
    portkey_added_p50_ms: added(portkey, 'p50_ms'),
    portkey_added_p99_ms: added(portkey, 'p99_ms'),
    translated_vs_passthrough: over(gate('translated', 'rps'), gate('passthrough', 'rps')),
    ttft_p99_vs_bare: over(gate('streams', 'ttft_p99_ms'), bare('streams', 'ttft_p99_ms')),
    event_delay_p99_vs_bare: over(gate('streams', 'event_delay_p99_ms'), bare('streams', 'event_delay_p99_ms')),
    stream_gaps_over_1s: Math.max(...gate('streams', 'gaps_over_1s')),
    streams_rss_mib: Math.max(...gate('streams', 'rss_mib')),
    gate_workloads_failed: Object.keys(unavailable).filter((name) => name.startsWith('gate')).length,
    gate_errors: Math.max(...errors.map((sample) => (sample['errors'] ?? 0) + (sample['failed'] ?? 0))),
  };
  return Object.fromEntries(
    Object.entries(ratios).flatMap(([name, value]) => (Number.isFinite(value) ? [[name, round(value)]] : [])),
  );
}

function over(a: readonly number[], b: readonly number[]): number {
  return median(paired(a, b).map(([one, other]) => one / other));
}

function minus(a: readonly number[], b: readonly number[]): number {
  return median(paired(a, b).map(([one, other]) => one - other));
}

/** The rounds that both sides have. */
function paired(a: readonly number[], b: readonly number[]): [number, number][] {
  return a.flatMap((one, index) => (b[index] === undefined ? [] : [[one, b[index]]]));
}
