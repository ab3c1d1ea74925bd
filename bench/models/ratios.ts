import type { Bar, Sample, TargetFigures } from '../harness/result.ts';
import { round } from '../harness/statistics.ts';

/** What the project promises of its model door with durability `strict`. */
export const bars: readonly Bar[] = [
  { ratio: 'gate_cpu_vs_bare', atMost: 2.3 },
  { ratio: 'gate_rps_vs_portkey', atLeast: 4 },
  { ratio: 'added_p50_ms', atMost: 5 },
  { ratio: 'translated_vs_passthrough', atLeast: 0.7 },
  { ratio: 'ttft_p99_vs_bare', atMost: 1.5 },
  { ratio: 'event_delay_p99_vs_bare', atMost: 1.5 },
  { ratio: 'stream_gaps_over_1s', atMost: 0 },
  { ratio: 'streams_rss_mib', atMost: 250 },
  { ratio: 'gate_errors', atMost: 0 },
];

/** The named comparisons; one whose sides were not both measured is absent. */
export function compare(targets: Readonly<Record<string, TargetFigures>>): Sample {
  const get = (target: string, workload: string, figure: string) => targets[target]?.workloads[workload]?.[figure];
  const sum = (...values: (number | undefined)[]) => values.reduce<number>((total, value) => total + (value ?? 0), 0);
  const gate = (workload: string, figure: string) => get('gate', workload, figure);
  const bare = (workload: string, figure: string) => get('bare-proxy', workload, figure);
  const added = (target: string, figure: string) =>
    difference(get(target, 'sequential', figure), get('direct', 'sequential', figure));
  const small = 'cpu_us_per_request';
  const ratios: Record<string, number | undefined> = {
    gate_cpu_vs_bare: over(gate('small', small), bare('small', small)),
    gate_cpu_without_database_vs_bare: over(
      difference(gate('small', small), gate('small', 'database_cpu_us_per_request') ?? 0),
      bare('small', small),
    ),
    gate_cpu_vs_bare_large: over(gate('large', small), bare('large', small)),
    gate_rps_vs_bare: over(gate('small', 'rps'), bare('small', 'rps')),
    gate_rps_vs_portkey: over(gate('small', 'rps'), get('portkey', 'small', 'rps')),
    gate_rps_vs_portkey_large: over(gate('large', 'rps'), get('portkey', 'large', 'rps')),
    added_p50_ms: added('gate', 'p50_ms'),
    added_p99_ms: added('gate', 'p99_ms'),
    bare_added_p50_ms: added('bare-proxy', 'p50_ms'),
    bare_added_p99_ms: added('bare-proxy', 'p99_ms'),
    portkey_added_p50_ms: added('portkey', 'p50_ms'),
    portkey_added_p99_ms: added('portkey', 'p99_ms'),
    translated_vs_passthrough: over(gate('translated', 'rps'), gate('passthrough', 'rps')),
    ttft_p99_vs_bare: over(gate('streams', 'ttft_p99_ms'), bare('streams', 'ttft_p99_ms')),
    event_delay_p99_vs_bare: over(gate('streams', 'event_delay_p99_ms'), bare('streams', 'event_delay_p99_ms')),
    stream_gaps_over_1s: gate('streams', 'gaps_over_1s'),
    streams_rss_mib: gate('streams', 'rss_mib'),
    gate_errors:
      targets['gate'] &&
      sum(...Object.values(targets['gate'].workloads).flatMap((figures) => [figures['errors'], figures['failed']])),
  };
  return Object.fromEntries(
    Object.entries(ratios).flatMap(([name, value]) => (value === undefined ? [] : [[name, round(value)]])),
  );
}

function over(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a / b;
}

function difference(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a - b;
}
