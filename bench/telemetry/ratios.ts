import { type Bar, type BenchOptions, measured, type Sample } from '../harness/result.ts';
import { over } from '../harness/rounds.ts';
import { median } from '../harness/statistics.ts';
import { arrangements, besideWorkload, workloadOf as besideWorkloadOf } from './beside/beside.ts';
import { protocols } from './client/job.ts';
import { ingestWorkloads } from './measure-ingest.ts';
import { concurrencies, workloadOf } from './measure-reads.ts';
import type { Notebook } from './notebook.ts';
import type { Read } from './reads.ts';

/** What the project promises of what is measured, on two cores of which one is the gate's and its database's. */
export function barsOf(kinds: readonly Read[], { workloads, targets }: BenchOptions): readonly Bar[] {
  const asksForIngest = ingestWorkloads.some((name) => workloads.includes(name));
  const chosen = workloads.includes(besideWorkload) ? arrangements.filter((name) => targets.includes(name)) : [];
  return [
    { ratio: 'wrong_windows', atMost: 0 },
    { ratio: 'wrong_versions', atMost: 0 },
    { ratio: 'not_measured', atMost: 0 },
    ...kinds.flatMap(({ name, p95MsMax }) =>
      p95MsMax === undefined ? [] : [{ ratio: `${name}_p95_ms`, atMost: p95MsMax }],
    ),
    ...(asksForIngest ? [{ ratio: 'ingest_events_per_s', atLeast: 10_000 }] : []),
    ...(asksForIngest || chosen.length > 0 ? [{ ratio: 'missing_rows', atMost: 0 }] : []),
    ...chosen.flatMap((arrangement) => [
      // Exact to a batch at each end of the time.
      { ratio: `${arrangement}_events_per_s`, atLeast: 9_900 },
      { ratio: `${arrangement}_cpu_vs_alone`, atMost: 1.1 },
      // One core cannot give to two what one of them has whole: in one process it says what events cost.
      ...(arrangement === 'second-replica' ? [{ ratio: `${arrangement}_rps_vs_alone`, atLeast: 0.9 }] : []),
    ]),
  ];
}

/** The worst of the protocols, and of reads the slowest, with one caller at a time; `x8` has eight. */
export function compare({ samples, unavailable }: Notebook, kinds: readonly Read[], wrong: Sample): Sample {
  const figure = (target: string, workload: string, name: string) =>
    (samples.get(target)?.get(workload) ?? []).map((sample) => sample[name] ?? Number.NaN);
  const worst = (workload: string, name: string) =>
    Math.max(...protocols.map((protocol) => median(figure(protocol, workload, name))).filter(Number.isFinite));
  const ratios: Record<string, number> = {
    ...wrong,
    not_measured: Object.keys(unavailable).length,
  };
  for (const read of kinds) {
    for (const concurrency of concurrencies) {
      const name = concurrency === 1 ? read.name : `${read.name}_x${concurrency}`;
      ratios[`${name}_p95_ms`] = worst(workloadOf(read, concurrency), 'p95_ms');
    }
  }
  const rates = protocols.flatMap((protocol) =>
    ingestWorkloads.map((workload) => median(figure(protocol, workload, 'events_per_s'))),
  );
  ratios['ingest_events_per_s'] = Math.min(...rates.filter(Number.isFinite));
  const missing = [...samples.values()]
    .flatMap((taken) => [...taken.values()].flat())
    .flatMap((sample) => sample['missing_rows'] ?? []);
  ratios['missing_rows'] = Math.max(...missing);
  for (const arrangement of arrangements)
    Object.assign(
      ratios,
      besideEvents(arrangement, (...of) => figure(arrangement, ...of)),
    );
  return measured(ratios);
}

/** What becomes of the calls of models while events come in, beside what they were alone, round by round. */
function besideEvents(arrangement: string, figure: (workload: string, name: string) => readonly number[]): Sample {
  const [alone, both, events] = (['models', 'both', 'events'] as const).map(besideWorkloadOf) as [
    string,
    string,
    string,
  ];
  const perRequest = (ms: readonly number[], workload: string) =>
    ms.map((each, round) => each / (figure(workload, 'requests')[round] ?? Number.NaN));
  // What as many events use without any call.
  const eventsMs = figure(events, 'target_cpu_ms').map(
    (ms, round) =>
      ms * ((figure(both, 'events_per_s')[round] ?? 0) / (figure(events, 'events_per_s')[round] ?? Number.NaN)),
  );
  const callsMs = figure(both, 'target_cpu_ms').map((ms, round) => ms - (eventsMs[round] ?? Number.NaN));
  return {
    [`${arrangement}_events_per_s`]: median(figure(both, 'events_per_s')),
    [`${arrangement}_rps_vs_alone`]: over(figure(both, 'rps'), figure(alone, 'rps')),
    [`${arrangement}_cpu_vs_alone`]: over(perRequest(callsMs, both), perRequest(figure(alone, 'target_cpu_ms'), alone)),
    [`${arrangement}_p99_vs_alone`]: over(figure(both, 'p99_ms'), figure(alone, 'p99_ms')),
    [`${arrangement}_load_cores_busy_percent`]: median(figure(both, 'load_cores_busy_percent')),
  };
}
