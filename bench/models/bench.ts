import { stopChildren } from '../harness/children.ts';
import { type Bench, type BenchOptions, figuresOf, type Findings, missedBars } from '../harness/result.ts';
import { bareProxy } from '../targets/bare-proxy.ts';
import { direct } from '../targets/direct.ts';
import { gate, gateRelaxed } from '../targets/gate.ts';
import { litellm } from '../targets/litellm.ts';
import { portkey } from '../targets/portkey.ts';
import type { Target } from '../targets/target.ts';
import { bars, compare } from './ratios.ts';
import { sideBySide } from './side-by-side.ts';
import { workloadNames, workloads } from './workloads.ts';

const allTargets: readonly Target[] = [direct, bareProxy, portkey, litellm, gate, gateRelaxed];

/** The model door, strict and relaxed, beside a bare proxy and other gateways. */
export const models: Bench = {
  summary:
    'the model door beside a bare Node proxy, Portkey and (where it is installed) LiteLLM, before a mock provider',
  targets: allTargets.map(({ name }) => name),
  workloads: workloadNames,
  defaults: { rounds: 3, durationS: 4 },
  run,
};

async function run(options: BenchOptions): Promise<Findings> {
  const targets = allTargets.filter(({ name }) => options.targets.includes(name));
  const plan = workloads(options).filter(({ name }) => options.workloads.includes(name));
  try {
    const { samples, unavailable } = await sideBySide(targets, plan, options);
    const figures = figuresOf(samples, plan[0]?.name);
    const ratios = compare(figures, unavailable);
    return { targets: figures, ratios, missed: missedBars(bars, ratios), unavailable };
  } finally {
    await stopChildren();
  }
}
