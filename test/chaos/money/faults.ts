import { setTimeout as sleep } from 'node:timers/promises';
import { type ChaosBudget, raise } from './cast.ts';
import type { DatabaseEnd } from './database.ts';
import type { Load } from './load.ts';
import type { Timed } from './plan.ts';
import type { Stage } from './stage.ts';

/** What was done of a plan. */
export interface Done {
  kills: { serving: number; starting: number; paused: number };
  pauses: number;
  shifts: number;
  jumps: number;
  strikes: Record<DatabaseEnd, number>;
  raises: number;
  bursts: number;
}

/** The agent whose budget of requests bursts go against. */
const burstAgent = 1;

/** Plays a plan to its end, each fault at its time, whether or not the one before is over. */
export async function play(
  plan: readonly Timed[],
  { stage, budgets, load, done }: { stage: Stage; budgets: readonly ChaosBudget[]; load: Load; done: Done },
): Promise<void> {
  const { replicas, database } = stage;
  const started = performance.now();
  const running: Promise<unknown>[] = [];
  let striking = Promise.resolve();
  for (const fault of plan) {
    await sleep(Math.max(0, started + fault.atMs - performance.now()));
    switch (fault.do) {
      case 'kill':
        running.push(kill(stage, fault, done));
        break;
      case 'pause':
        replicas[fault.gate]?.pause(fault.ms);
        done.pauses++;
        break;
      case 'shift':
        replicas[fault.gate]?.shift(fault.offsetMs);
        done.shifts++;
        break;
      case 'jump':
        if (database.clockIsFixed !== null) break;
        database.jump(fault.ms);
        done.jumps++;
        break;
      case 'strike':
        striking = striking.then(() => database.strike(fault.how));
        done.strikes[fault.how]++;
        break;
      case 'burst':
        running.push(load.burst(burstAgent, fault.calls));
        done.bursts++;
        break;
      default:
        // One that falls into an outage is missed.
        running.push(raiseSomewhere(stage, budgets).catch(() => undefined));
        done.raises++;
    }
  }
  await Promise.all([...running, striking]);
}

async function kill(
  { replicas }: Stage,
  { gate, serving }: Extract<Timed, { do: 'kill' }>,
  { kills }: Done,
): Promise<void> {
  const inTurn = [...replicas.slice(gate), ...replicas.slice(0, gate)];
  const replica = (serving ? inTurn.find(({ state }) => state === 'serving') : undefined) ?? inTurn[0];
  if (!replica) return;
  let was = await replica.kill();
  // Dead already, and not yet on its way back.
  for (; was === 'ended'; was = await replica.kill()) await sleep(10);
  kills[was]++;
}

async function raiseSomewhere({ replicas }: Stage, budgets: readonly ChaosBudget[]): Promise<void> {
  const replica = replicas.find(({ state }) => state === 'serving');
  if (replica) await raise(replica.gate, budgets);
}
