import { burstsOf } from './bursts.ts';
import { makeCast } from './cast.ts';
import { type Durability, type Evidence, collect } from './evidence.ts';
import { type Done, play } from './faults.ts';
import type { Finding } from './finding.ts';
import { Load } from './load.ts';
import { planOf } from './plan.ts';
import { sampling } from './samples.ts';
import { type Stage, openStage } from './stage.ts';
import { judgeDryRuns, judgeLimits, judgeRefusals } from './verdict-limits.ts';
import { judgeHolds, judgeRelaxedHolds } from './verdict-holds.ts';
import { judgeLogs } from './verdict-logs.ts';
import { judgeCharges, judgeCosts, judgeSums } from './verdict-sums.ts';

export interface RunOptions {
  readonly seed: number;
  readonly durability: Durability;
  readonly kills: number;
  readonly durationMs: number;
  readonly clients: number;
  /** How many calls a burst without faults has. */
  readonly burstCalls: number;
  /** Sets the clock of PostgreSQL forward at the end, where it can be set, so that whoever is dead is known to be. */
  readonly hurry: boolean;
  readonly progress: (line: string) => void;
}

export interface Report {
  readonly seed: number;
  readonly durability: Durability;
  readonly seconds: number;
  readonly done: Done;
  /** How many calls the clients made, and how many of them ended with each status. */
  readonly calls: Readonly<Record<string, number>>;
  /** Faults that could not be played, and why. */
  readonly leftOut: readonly string[];
  readonly findings: readonly Finding[];
}

const sampleMs = 300;
/** Near its limit a `relaxed` call takes the strict path, so most are to have room. */
const roomyShare: Readonly<Record<Durability, number>> = { strict: 0.2, relaxed: 0.7 };
const progressMs = 5_000;
/** Past the silence after which a process is dead, and past every deadline. */
const hurryMs = 120_000;

/** Plays one run: bursts without faults, the plan under load, bursts again, and then the books. */
export async function run(options: RunOptions): Promise<Report> {
  const startedMs = performance.now();
  const stage = await openStage();
  try {
    const { evidence, done, bursts } = await perform(stage, options);
    const strict = options.durability === 'strict';
    return {
      seed: options.seed,
      durability: options.durability,
      seconds: Math.round((performance.now() - startedMs) / 1_000),
      done,
      calls: countsOf(evidence),
      leftOut:
        stage.database.clockIsFixed === null ? [] : [`clock jumps of PostgreSQL: ${stage.database.clockIsFixed}`],
      findings: [
        judgeLimits(evidence),
        ...bursts,
        judgeRefusals(evidence),
        strict ? judgeHolds(evidence) : judgeRelaxedHolds(evidence),
        judgeSums(evidence),
        judgeCosts(evidence),
        ...(strict ? [] : [judgeCharges(evidence)]),
        judgeLogs(evidence),
        judgeDryRuns(evidence),
      ],
    };
  } finally {
    await stage.stop();
  }
}

async function perform(
  stage: Stage,
  options: RunOptions,
): Promise<{ evidence: Evidence; done: Done; bursts: Finding[] }> {
  const { seed, durability, kills, durationMs, clients, burstCalls: calls, hurry, progress } = options;
  const [replica] = stage.replicas;
  if (!replica) throw new Error('there is no gateway');
  if (durability === 'relaxed') await relax(replica.gate);
  const cast = await makeCast(replica.gate);
  const load = new Load(stage.replicas, cast, { seed, roomy: roomyShare[durability] });
  progress('bursts without faults');
  const bursts = [await burstsOf(stage, load, { seed, calls, durability, name: 'before' })];
  const done: Done = newDone();
  const over = new AbortController();
  const ticker = setInterval(() => progress(tell(load, done)), progressMs);
  const sampled = sampling(stage.replicas, sampleMs, over.signal);
  const loaded = load.run(clients, over.signal);
  await play(planOf(seed, { kills, durationMs }), { stage, budgets: cast.budgets, load, done });
  over.abort();
  await loaded;
  const samples = await sampled;
  clearInterval(ticker);
  progress('the faults are over; waiting until nothing is held');
  await Promise.all(stage.replicas.map((each) => each.back()));
  bursts.push(await burstsOf(stage, load, { seed, calls, durability, name: 'after' }));
  if (hurry && stage.database.clockIsFixed === null) stage.database.jump(hurryMs);
  const evidence = await collect({ durability, stage, cast, made: load.made, samples });
  return { evidence, done, bursts };
}

async function relax(gate: Stage['replicas'][number]['gate']): Promise<void> {
  const { projects = [] } = await gate.api<{ projects?: { id: string }[] }>('ProjectService/ListProjects');
  for (const { id } of projects) {
    await gate.api('ProjectService/UpdateProject', {
      projectId: id,
      updateMask: 'durability',
      durability: 'DURABILITY_RELAXED',
    });
  }
}

function newDone(): Done {
  const strikes = { fast: 0, postmaster: 0, backend: 0, sessions: 0 };
  return {
    kills: { serving: 0, starting: 0, paused: 0 },
    pauses: 0,
    shifts: 0,
    jumps: 0,
    strikes,
    raises: 0,
    bursts: 0,
  };
}

function tell({ made, open }: Load, { kills, strikes, jumps, pauses }: Done): string {
  const killed = kills.serving + kills.starting + kills.paused;
  const ends = Object.values(strikes).reduce((sum, count) => sum + count, 0);
  return `${made.length} calls (${open} open), ${killed} kills, ${ends} ends of PostgreSQL, ${jumps} jumps, ${pauses} pauses`;
}

function countsOf({ made, seen }: Evidence): Record<string, number> {
  const byEnd: Record<string, number> = { made: made.length, 'attempts at the provider': seen.length };
  for (const { status, whole } of made) {
    const end = status === null ? 'without an answer' : `${status}${whole ? '' : ' broken off'}`;
    byEnd[end] = (byEnd[end] ?? 0) + 1;
  }
  return byEnd;
}
