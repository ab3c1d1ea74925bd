import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Child, endOfLog, startChild, stopChildren } from '../harness/children.ts';
import {
  type Bench,
  type BenchOptions,
  type Findings,
  mainFigures,
  missedBars,
  type Sample,
  summarize,
  type TargetFigures,
} from '../harness/result.ts';
import { round as shorten } from '../harness/statistics.ts';
import { bareProxy } from '../targets/bare-proxy.ts';
import { direct } from '../targets/direct.ts';
import { gate } from '../targets/gate.ts';
import { litellm } from '../targets/litellm.ts';
import { portkey } from '../targets/portkey.ts';
import type { RunningTarget, Target } from '../targets/target.ts';
import { measure, probe } from './measure.ts';
import { bars, compare } from './ratios.ts';
import { type Workload, workloadNames, workloads } from './workloads.ts';

const allTargets: readonly Target[] = [direct, bareProxy, portkey, litellm, gate];

/** The model door beside a bare proxy and another gateway, round by round in turn, so that a busy minute hits them all. */
export const models: Bench = {
  summary:
    'the model door beside a bare Node proxy, Portkey and (where it is installed) LiteLLM, before a mock provider',
  targets: allTargets.map(({ name }) => name),
  workloads: workloadNames,
  defaults: { rounds: 3, durationS: 4 },
  run,
};

// A just-in-time compiler is done after some number of requests, not after some time: by time alone the fastest target
// would be measured compiled and the slowest while it compiles.
const firstWarmup = { requests: 20_000, msMin: 2_000, msMax: 15_000 };
const laterWarmup = { requests: 500, msMin: 500, msMax: 2_000 };
const smokeWarmup = { requests: 0, msMin: 500, msMax: 500 };

const appliesTo = (workload: Workload, name: string) => workload.targets?.includes(name) ?? true;

type Samples = Map<string, Map<string, Sample[]>>;

async function run(options: BenchOptions): Promise<Findings> {
  const { directory, progress } = options;
  const mock = start('test/support/mock-upstream/main.ts', ['--bench'], join(directory, 'mock.log'));
  const mockUrl = `http://127.0.0.1:${(JSON.parse(await mock.line()) as { port: number }).port}`;
  const load = start('bench/load/main.ts', [], join(directory, 'load.log'));
  const unavailable: Record<string, string> = {};
  const running = new Map<string, RunningTarget>();
  const plan = workloads(options).filter(({ name }) => options.workloads.includes(name));
  try {
    for (const target of allTargets.filter(({ name }) => options.targets.includes(name))) {
      try {
        progress(`starting ${target.name}`);
        const own = join(directory, target.name);
        await mkdir(own);
        const logFile = join(directory, `${target.name}.log`);
        const context = { mockUrl, mockPid: mock.pid, directory: own, logFile, progress };
        running.set(target.name, await target.start(context));
      } catch (error) {
        unavailable[target.name] = (error as Error).message;
        progress(`${target.name} is not measured: ${unavailable[target.name]}`);
      }
    }
    const samples = await interleaved(load, running, plan, options, unavailable);
    const figures = Object.fromEntries([...samples].map(([name, taken]) => [name, figuresOf(taken)]));
    const ratios = compare(figures, unavailable);
    return { targets: figures, ratios, missed: missedBars(bars, ratios), unavailable };
  } finally {
    await stopChildren();
  }
}

function start(script: string, args: string[], logFile: string): Child {
  const path = fileURLToPath(new URL(`../../${script}`, import.meta.url));
  return startChild([process.execPath, path, ...args], { name: script, side: 'load', logFile, talks: true });
}

async function interleaved(
  load: Child,
  running: ReadonlyMap<string, RunningTarget>,
  plan: readonly Workload[],
  { directory, rounds, durationS, smoke, progress }: BenchOptions,
  unavailable: Record<string, string>,
): Promise<Samples> {
  const samples: Samples = new Map([...running.keys()].map((name) => [name, new Map()]));
  for (const workload of plan) {
    for (let round = 1; round <= rounds; round += 1) {
      for (const [name, target] of running) {
        const taken = samples.get(name);
        const failure = `${name}: ${workload.name}`;
        if (!appliesTo(workload, name) || failure in unavailable) continue;
        try {
          if (round === 1) await probe(target, workload);
          const sample = await measure(load, target, workload, {
            warmup: smoke ? smokeWarmup : round === 1 ? firstWarmup : laterWarmup,
            durationMs: durationS * 1_000,
          });
          taken?.set(workload.name, [...(taken.get(workload.name) ?? []), sample]);
          progress(`${workload.name} (${workload.about}), round ${round} of ${rounds}: ${name} ${brief(sample)}`);
        } catch (error) {
          unavailable[failure] = (error as Error).message;
          progress(`${failure} is not measured: ${unavailable[failure]}\n${endOfLog(join(directory, `${name}.log`))}`);
        }
      }
    }
  }
  return samples;
}

function brief(sample: Sample): string {
  return Object.entries(sample)
    .map(([name, value]) => `${name} ${shorten(value)}`)
    .join(', ');
}

function figuresOf(taken: ReadonlyMap<string, readonly Sample[]>): TargetFigures {
  const summaries = [...taken].map(([name, samples]) => [name, summarize(samples)] as const);
  return {
    ...Object.fromEntries(mainFigures.map((figure) => [figure, summaries[0]?.[1][figure]])),
    workloads: Object.fromEntries(summaries),
    samples: Object.fromEntries(taken),
  };
}
