import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Child, endOfLog, startChild } from '../harness/children.ts';
import { type BenchOptions, brief, type Samples } from '../harness/result.ts';
import type { RunningTarget, Target } from '../targets/target.ts';
import { measure, probe } from './measure.ts';
import type { Workload } from './workloads.ts';

// A just-in-time compiler is done after some number of requests, not after some time: by time alone the fastest target
// would be measured compiled and the slowest while it compiles.
const firstWarmup = { requests: 20_000, msMin: 2_000, msMax: 15_000 };
const laterWarmup = { requests: 500, msMin: 500, msMax: 2_000 };
const smokeWarmup = { requests: 0, msMin: 500, msMax: 500 };

const appliesTo = (workload: Workload, name: string) => workload.targets?.includes(name) ?? true;

/**
 * Starts the targets before one mock provider and measures them round by round in turn, so that a busy minute hits them
 * all. What it started is the caller's to stop.
 * @returns the samples, and in `unavailable` what could not be measured, and why
 */
export async function sideBySide(
  targets: readonly Target[],
  plan: readonly Workload[],
  options: BenchOptions,
): Promise<{ readonly samples: Samples; readonly unavailable: Record<string, string> }> {
  const { directory, progress } = options;
  const mock = start('test/support/mock-upstream/main.ts', ['--bench'], join(directory, 'mock.log'));
  const mockUrl = `http://127.0.0.1:${(JSON.parse(await mock.line()) as { port: number }).port}`;
  const load = start('bench/load/main.ts', [], join(directory, 'load.log'));
  const unavailable: Record<string, string> = {};
  const running = new Map<string, RunningTarget>();
  for (const target of targets) {
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
  return { samples, unavailable };
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
