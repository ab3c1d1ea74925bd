import { type Bar, measured, type Sample, type TargetFigures } from '../harness/result.ts';
import { minus, over } from '../harness/rounds.ts';

/** The gates, by the name under which their ratios stand. */
const gates = { gate: 'gate', relaxed: 'gate-relaxed' } as const;

/** What the project promises of its model door, by durability; `gate` is strict. */
export const bars: readonly Bar[] = [
  { ratio: 'gate_cpu_vs_bare', atMost: 2.3 },
  { ratio: 'relaxed_cpu_vs_bare', atMost: 1.8 },
  { ratio: 'gate_rps_vs_portkey', atLeast: 4 },
  { ratio: 'relaxed_rps_vs_portkey', atLeast: 8 },
  // Bodies as large as Claude Code's: what the first measurement said, to be held.
  { ratio: 'gate_cpu_vs_bare_large', atMost: 8 },
  { ratio: 'gate_rps_vs_portkey_large', atLeast: 1.4 },
  { ratio: 'gate_added_p50_ms', atMost: 5 },
  { ratio: 'relaxed_added_p50_ms', atMost: 0.4 },
  { ratio: 'relaxed_added_p99_ms', atMost: 1.5 },
  ...Object.keys(gates).flatMap((name) => [
    { ratio: `${name}_translated_vs_passthrough`, atLeast: 0.7 },
    { ratio: `${name}_ttft_p99_vs_bare`, atMost: 1.5 },
    { ratio: `${name}_event_delay_p99_vs_bare`, atMost: 1.5 },
    { ratio: `${name}_stream_gaps_over_1s`, atMost: 0 },
    { ratio: `${name}_streams_rss_mib`, atMost: 250 },
    { ratio: `${name}_errors`, atMost: 0 },
    { ratio: `${name}_workloads_failed`, atMost: 0 },
  ]),
];

type Figures = (workload: string, figure: string) => readonly number[];

/** The named comparisons; one whose sides were not both measured is absent. */
export function compare(
  targets: Readonly<Record<string, TargetFigures>>,
  unavailable: Readonly<Record<string, string>>,
): Sample {
  const of =
    (target: string): Figures =>
    (workload, figure) =>
      targets[target]?.samples[workload]?.flatMap((sample) => sample[figure] ?? []) ?? [];
  const [bare, portkey, direct] = [of('bare-proxy'), of('portkey'), of('direct')];
  const others = { bare, portkey, litellm: of('litellm'), direct };
  const ratios: Record<string, number> = {};
  for (const [name, target] of Object.entries(gates))
    Object.assign(ratios, ofGate(name, of(target), others), failuresOf(name, target, targets[target], unavailable));
  Object.assign(ratios, {
    relaxed_cpu_vs_gate: over(of(gates.relaxed)('small', cpu), of(gates.gate)('small', cpu)),
    bare_rps_vs_portkey: over(bare('small', 'rps'), portkey('small', 'rps')),
    bare_added_p50_ms: added(bare, direct, 'p50_ms'),
    bare_added_p99_ms: added(bare, direct, 'p99_ms'),
    portkey_added_p50_ms: added(portkey, direct, 'p50_ms'),
    portkey_added_p99_ms: added(portkey, direct, 'p99_ms'),
  });
  return measured(ratios);
}

const cpu = 'cpu_us_per_request';

function ofGate(
  name: string,
  gate: Figures,
  { bare, portkey, litellm, direct }: Readonly<Record<'bare' | 'portkey' | 'litellm' | 'direct', Figures>>,
): Sample {
  const database = gate('small', `database_${cpu}`);
  const alone = gate('small', cpu).map((whole, round) => whole - (database[round] ?? 0));
  return {
    [`${name}_cpu_vs_bare`]: over(gate('small', cpu), bare('small', cpu)),
    [`${name}_cpu_without_database_vs_bare`]: over(alone, bare('small', cpu)),
    [`${name}_cpu_vs_bare_large`]: over(gate('large', cpu), bare('large', cpu)),
    [`${name}_rps_vs_bare`]: over(gate('small', 'rps'), bare('small', 'rps')),
    [`${name}_rps_vs_portkey`]: over(gate('small', 'rps'), portkey('small', 'rps')),
    [`${name}_rps_vs_portkey_large`]: over(gate('large', 'rps'), portkey('large', 'rps')),
    [`${name}_rps_vs_litellm`]: over(gate('small', 'rps'), litellm('small', 'rps')),
    [`${name}_rps_vs_litellm_large`]: over(gate('large', 'rps'), litellm('large', 'rps')),
    [`${name}_added_p50_ms`]: added(gate, direct, 'p50_ms'),
    [`${name}_added_p99_ms`]: added(gate, direct, 'p99_ms'),
    [`${name}_translated_vs_passthrough`]: over(gate('translated', 'rps'), gate('passthrough', 'rps')),
    [`${name}_ttft_p99_vs_bare`]: over(gate('streams', 'ttft_p99_ms'), bare('streams', 'ttft_p99_ms')),
    [`${name}_event_delay_p99_vs_bare`]: over(
      gate('streams', 'event_delay_p99_ms'),
      bare('streams', 'event_delay_p99_ms'),
    ),
    [`${name}_stream_gaps_over_1s`]: Math.max(...gate('streams', 'gaps_over_1s')),
    [`${name}_streams_rss_mib`]: Math.max(...gate('streams', 'rss_mib')),
  };
}

function failuresOf(
  name: string,
  target: string,
  figures: TargetFigures | undefined,
  unavailable: Readonly<Record<string, string>>,
): Sample {
  const samples = Object.values(figures?.samples ?? {}).flat();
  const failed = Object.keys(unavailable).filter((each) => each === target || each.startsWith(`${target}: `));
  return {
    [`${name}_workloads_failed`]: failed.length,
    [`${name}_errors`]: Math.max(...samples.map((sample) => (sample['errors'] ?? 0) + (sample['failed'] ?? 0))),
  };
}

/** What a call takes longer than a direct one. */
function added(target: Figures, direct: Figures, figure: string): number {
  return minus(target('sequential', figure), direct('sequential', figure));
}
