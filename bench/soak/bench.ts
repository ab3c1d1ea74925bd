import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startChild, stopChildren } from '../harness/children.ts';
import { type Bar, type Bench, type BenchOptions, type Findings, missedBars, type Sample } from '../harness/result.ts';
import { round } from '../harness/statistics.ts';
import { type RunningGate, startGate } from '../targets/gate.ts';
import { SoakClient } from './client.ts';
import { Control } from './control.ts';
import { during, type Reading, read } from './readings.ts';
import { type Door, type Scenario, configuration, doors, scenarios } from './scenarios.ts';

const clients = 24;
const readingMs = 1_000;
/** The longest that a call of the scenarios can go on after its client left. */
const quietMs = 5_000;
const progressEvery = 30;
const shownMax = 10;

/** Memory and descriptors at the end beside those after the warm-up, and what stays held. */
const bars: readonly Bar[] = [
  { ratio: 'rss_end_vs_early', atMost: 1.1 },
  { ratio: 'descriptors_growth', atMost: 8 },
  { ratio: 'held_at_end', atMost: 0 },
  { ratio: 'wrong_answers', atMost: 0 },
];

/** Mixed traffic of every kind, for a long time: nothing may grow, and nothing may stay held. */
export const soak: Bench = {
  summary: 'mixed traffic with aborts and errors (10 minutes: --duration 600): nothing grows, nothing stays held',
  targets: ['gate'],
  workloads: ['mixed'],
  defaults: { rounds: 1, durationS: 600 },
  run,
};

async function run({ directory, durationS, progress }: BenchOptions): Promise<Findings> {
  const path = fileURLToPath(new URL('../../test/support/mock-upstream/main.ts', import.meta.url));
  const mock = startChild([process.execPath, path], {
    name: 'the mock provider',
    side: 'load',
    logFile: join(directory, 'mock.log'),
    talks: true,
  });
  try {
    const mockUrl = `http://127.0.0.1:${(JSON.parse(await mock.line()) as { port: number }).port}`;
    const own = join(directory, 'gate');
    await mkdir(own);
    const context = { mockUrl, mockPid: mock.pid, directory: own, logFile: join(directory, 'gate.log'), progress };
    const gate = await startGate(context, configuration(mockUrl));
    const figures = await load(gate, durationS, progress);
    return {
      targets: { gate: { workloads: { mixed: figures }, samples: { mixed: [figures] } } },
      ratios: figures,
      missed: missedBars(bars, figures),
      unavailable: {},
    };
  } finally {
    await stopChildren();
  }
}

async function load(gate: RunningGate, durationS: number, progress: (text: string) => void): Promise<Sample> {
  const control = new Control(gate.url, gate.credentials.admin_key);
  await control.createBudget('money', 'USD');
  await control.createBudget('attempts', 'REQUESTS');
  const client = new SoakClient(gate.url, gate.credentials.agent_key);
  const readings: Reading[] = [];
  const wrong = new Map<string, number>();
  let calls = 0;
  const over = new AbortController();
  const worker = async () => {
    while (!over.signal.aborted) {
      const outcome = await client.call(pick(scenarios), doors[Math.floor(Math.random() * doors.length)] as Door);
      calls += 1;
      if (outcome.wrong === null) continue;
      const kind = `${outcome.scenario} at ${outcome.door}: ${outcome.wrong}`;
      wrong.set(kind, (wrong.get(kind) ?? 0) + 1);
    }
  };
  const workers = Array.from({ length: clients }, worker);
  for (let second = 0; second < durationS; second += readingMs / 1_000) {
    await sleep(readingMs);
    gate.alive();
    readings.push(read(gate));
    const { residentMib, descriptors } = readings.at(-1) as Reading;
    if (readings.length % progressEvery === 0)
      progress(
        `${readings.length} s: ${calls} calls, ${round(residentMib)} MiB, ${descriptors} descriptors, ${wrong.size} kinds of wrong answers`,
      );
  }
  over.abort();
  await Promise.all(workers);
  await client.close();
  await sleep(quietMs);
  for (const [kind, count] of [...wrong].slice(0, shownMax)) progress(`${count} times: ${kind}`);
  return figuresOf(readings, calls, wrong, await control.standings(), read(gate));
}

function figuresOf(
  readings: readonly Reading[],
  calls: number,
  wrong: ReadonlyMap<string, number>,
  standings: Awaited<ReturnType<Control['standings']>>,
  after: Reading,
): Sample {
  // What is compiled, cached and pooled comes early; what is lost comes for ever.
  const early = during(readings, 'residentMib', [0.2, 0.4]);
  const end = during(readings, 'residentMib', [0.8, 1]);
  const held = [...standings.values()].reduce((sum, each) => sum + each.held, 0n);
  return {
    calls,
    rss_early_mib: round(early),
    rss_end_mib: round(end),
    rss_end_vs_early: round(end / early),
    descriptors_early: during(readings, 'descriptors', [0.2, 0.4]),
    descriptors_after: after.descriptors,
    descriptors_growth: Math.max(0, after.descriptors - during(readings, 'descriptors', [0.2, 0.4])),
    held_at_end: Number(held),
    attempts: Number(standings.get('attempts')?.used ?? 0n),
    wrong_answers: [...wrong.values()].reduce((sum, count) => sum + count, 0),
  };
}

function pick(all: readonly Scenario[]): Scenario {
  let rest = Math.random() * all.reduce((sum, { weight }) => sum + weight, 0);
  for (const scenario of all) {
    rest -= scenario.weight;
    if (rest < 0) return scenario;
  }
  return all[0] as Scenario;
}
