import type { BenchOptions, Samples } from '../harness/result.ts';
import { sideBySide } from '../models/side-by-side.ts';
import { workloads } from '../models/workloads.ts';
import { gate, gateRelaxed, gateRelaxedUnbudgeted, gateUnbudgeted } from '../targets/gate.ts';
import type { Target } from '../targets/target.ts';

/** Whole gates, by what they are called here. `off` has no budget; its ledger is kept all the same. */
export const callTargets: Readonly<Record<string, Target>> = {
  strict: gate,
  relaxed: gateRelaxed,
  'strict-off': gateUnbudgeted,
  'relaxed-off': gateRelaxedUnbudgeted,
};

/** The main workload of the models benchmark with and without budgets. */
export async function calls(
  names: readonly string[],
  options: BenchOptions,
): Promise<{ readonly samples: Samples; readonly unavailable: Record<string, string> }> {
  const [main] = workloads(options);
  const targets = names.flatMap((name) => {
    const target = callTargets[name];
    return target === undefined ? [] : [{ ...target, name }];
  });
  const { samples, unavailable } = await sideBySide(targets, main === undefined ? [] : [main], options);
  const rounds = [...samples].map(([name, taken]) => [name, new Map([['calls', [...taken.values()].flat()]])] as const);
  return { samples: new Map(rounds), unavailable };
}
