import { type Bar, measured, type Sample, type Samples } from '../harness/result.ts';
import { over } from '../harness/rounds.ts';
import { median } from '../harness/statistics.ts';

/** What the project promises of its money (the share of a limit that may be leased: 1 %). */
export const bars: readonly Bar[] = [
  { ratio: 'strict_spread_pairs_per_s', atLeast: 4_000 },
  { ratio: 'strict_hot_pairs_per_s', atLeast: 2_000 },
  { ratio: 'strict_cpu_vs_off', atMost: 1.4 },
  { ratio: 'relaxed_cpu_vs_off', atMost: 1.15 },
  { ratio: 'strict_false_refusals', atMost: 0 },
  { ratio: 'relaxed_refused_with_room_of_limit', atMost: 0.01 },
  ...['strict', 'relaxed'].flatMap((durability) => [
    { ratio: `${durability}_overspent_calls`, atMost: 0 },
    { ratio: `${durability}_unused_in_the_end_calls`, atMost: 0 },
    { ratio: `${durability}_missing_rows`, atMost: 0 },
    { ratio: `${durability}_errors`, atMost: 0 },
  ]),
  { ratio: 'not_measured', atMost: 0 },
];

/** The named comparisons; one whose sides were not both measured is absent. */
export function compare(samples: Samples, unavailable: Readonly<Record<string, string>>): Sample {
  const of = (target: string, workload: string, figure: string) =>
    samples
      .get(target)
      ?.get(workload)
      ?.flatMap((sample) => sample[figure] ?? []) ?? [];
  const cpu = (target: string, figure = 'cpu_us_per_request') => of(target, 'calls', figure);
  const ratios: Record<string, number> = {
    strict_cpu_vs_off: over(cpu('strict'), cpu('strict-off')),
    relaxed_cpu_vs_off: over(cpu('relaxed'), cpu('relaxed-off')),
    strict_cpu_vs_relaxed_off: over(cpu('strict'), cpu('relaxed-off')),
    relaxed_cpu_vs_strict: over(cpu('relaxed'), cpu('strict')),
    not_measured: Object.keys(unavailable).length,
  };
  for (const durability of ['strict', 'relaxed']) {
    const pairs = (workload: string) => of(durability, workload, 'pairs_per_s');
    const limit = (figure: string) => Math.max(...of(durability, 'limit', figure));
    const all = [...(samples.get(durability)?.values() ?? [])].flat();
    const worst = (figure: string) => Math.max(...all.map((sample) => sample[figure] ?? 0));
    const database = `${durability}_database_of_cpu`;
    Object.assign(ratios, {
      [`${durability}_spread_pairs_per_s`]: median(pairs('spread')),
      [`${durability}_hot_pairs_per_s`]: median(pairs('hot')),
      [`${durability}_hot_vs_spread`]: over(pairs('hot'), pairs('spread')),
      [`${durability}_nested_vs_hot`]: over(pairs('nested'), pairs('hot')),
      [`${durability}_runs_vs_hot`]: over(pairs('runs'), pairs('hot')),
      [`${durability}_many_vs_spread`]: over(pairs('many'), pairs('spread')),
      [database]: over(cpu(durability, 'database_cpu_us_per_request'), cpu(durability)),
      [`${durability}_false_refusals`]: limit('false_refusals'),
      [`${durability}_refused_with_room_of_limit`]: limit('refused_with_room_calls') / limit('limit_calls'),
      [`${durability}_outstanding_of_limit`]: limit('outstanding_calls') / limit('limit_calls'),
      [`${durability}_overspent_calls`]: limit('overspent_calls'),
      [`${durability}_unused_in_the_end_calls`]: limit('unused_in_the_end_calls'),
      [`${durability}_missing_rows`]: worst('missing_rows'),
      [`${durability}_errors`]: worst('errors'),
    });
  }
  return measured(ratios);
}
