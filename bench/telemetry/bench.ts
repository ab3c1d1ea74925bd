import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createPool } from '../../server/src/pg/pool.ts';
import { startChild, stopChildren } from '../harness/children.ts';
import { type Bench, type BenchOptions, figuresOf, type Findings, missedBars } from '../harness/result.ts';
import { arrangements, besideWorkload, measureBeside } from './beside/beside.ts';
import { compareBoards } from './check-boards.ts';
import { protocols } from './client/job.ts';
import { measureCosts } from './costs.ts';
import { type Data, makeData, startDatabase } from './data.ts';
import { startGate } from './gates.ts';
import { ingestWorkloads, measureIngest } from './measure-ingest.ts';
import { findFacts, measureReads } from './measure-reads.ts';
import { Notebook } from './notebook.ts';
import { publishWorkflows } from './publish.ts';
import { Random } from './random.ts';
import { barsOf, compare } from './ratios.ts';
import { readNames, reads } from './reads.ts';
import { compareWindows } from './check-windows.ts';

/** Lists, sums, boards and ingest over ten million attempts, and what ingest takes from the calls of models. */
export const telemetry: Bench = {
  summary:
    'lists, sums, leaderboard and ingest over 10 million attempts (--attempts n), and ingest beside the models workload',
  targets: [...protocols, ...arrangements],
  workloads: [...readNames, ...ingestWorkloads, besideWorkload],
  defaults: { rounds: 3, durationS: 3 },
  run,
};

async function run(options: BenchOptions): Promise<Findings> {
  const { directory, progress, workloads } = options;
  try {
    const data = await makeData(options);
    const { database } = await startDatabase(data.folder, 'target', directory);
    const pool = createPool({
      connectionString: database.url,
      statementMs: 600_000,
      lockMs: 5_000,
      connectMs: 5_000,
      applicationName: 'bench',
      max: 2,
      idleMs: 0,
      lifetimeMs: 0,
      onError: () => {},
    });
    const mock = startScript('test/support/mock-upstream/main.ts', ['--bench'], directory);
    const mockUrl = `http://127.0.0.1:${(JSON.parse(await mock.line()) as { port: number }).port}`;
    const client = startScript('bench/telemetry/client/main.ts', [], directory);
    const gates = join(directory, 'gates');
    await mkdir(gates);
    const gateOptions = { directory: gates, databaseUrl: database.url, mockUrl };
    const gate = await startGate('gate', 'target', gateOptions);
    progress(`the gate was ready after ${Math.round(gate.startedMs)} ms`);
    const wrong = {
      wrong_windows: await compareWindows(pool, gate, data.seeded, options),
      wrong_versions: await compareBoards(pool, gate, progress),
    };
    const random = new Random(options.seed);
    const all = reads(await findFacts(pool, gate, data.seeded, random));
    const kinds = all.filter(({ name }) => workloads.includes(name));
    await publishWorkflows(gate);
    const readers = { gate, databasePid: database.pid, client };
    const chosen = protocols.filter((protocol) => options.targets.includes(protocol));
    const notebook = new Notebook(progress);
    noteMaking(notebook, data);
    await measureReads(readers, kinds, chosen, notebook, options);
    await measureIngest(readers, pool, chosen, notebook, options);
    if (workloads.includes(besideWorkload)) await measureBeside({ ...readers, pool, gateOptions }, notebook, options);
    await measureCosts(database, pool, gateOptions, kinds, notebook, options);
    await pool.end();
    const ratios = compare(notebook, kinds, wrong);
    return {
      targets: figuresOf(notebook.samples, undefined),
      ratios,
      missed: missedBars(barsOf(kinds, options), ratios),
      unavailable: notebook.unavailable,
    };
  } finally {
    await stopChildren();
  }
}

function startScript(script: string, args: readonly string[], directory: string) {
  const path = fileURLToPath(new URL(`../../${script}`, import.meta.url));
  const logFile = join(directory, `${script.replaceAll('/', '-')}.log`);
  return startChild([process.execPath, path, ...args], { name: script, side: 'load', logFile, talks: true });
}

function noteMaking(notebook: Notebook, { seeded, caughtUp }: Data): void {
  const { seconds, attempts, corrections, events } = seeded;
  const rows = attempts + corrections + events;
  notebook.add('seed', 'making', { rows, seconds, rows_per_s: rows / seconds });
  for (const [job, sample] of Object.entries(caughtUp)) notebook.add(job, 'making', sample);
}
