import { createInterface } from 'node:readline';
import { createLogger, logDestination } from '../../../server/src/base/log.ts';
import { createMetrics } from '../../../server/src/base/metrics.ts';
import { Stops } from '../../../server/src/base/stops.ts';
import type { BudgetIndex } from '../../../server/src/budget/budget-index.ts';
import { startControl } from '../../../server/src/compose/control.ts';
import { openDatabase, openStore } from '../../../server/src/compose/database.ts';
import { startLedger } from '../../../server/src/compose/ledger.ts';
import { loadConfig } from '../../../server/src/config/config.ts';
import { spenderOf } from '../workloads.ts';
import type { Command, Load, MemoryResult } from './job.ts';
import { burst, ClosedLoop } from './load.ts';

/** The money of a gate process, wired as the gate wires it, without the gate: `argv[2]` is the database. It ends with SIGTERM. */
process.once('SIGTERM', () => process.exit(0));
const { config } = loadConfig({ DATABASE_URL: process.argv[2], SECRETS_KEY: 'x'.repeat(32) }, '/');
const log = createLogger('warn', logDestination(null, 2));
const base = { config, log, metrics: createMetrics(), stops: new Stops(), notice: () => {} };
const reachMs = 60_000;

const store = await openStore(base, await openDatabase(base));
const control = await startControl(base, store);
const { ledger } = await startLedger(base, store, control);
let running: ClosedLoop | null = null;

answer(null);
for await (const line of createInterface(process.stdin)) answer(await obey(JSON.parse(line) as Command));

async function obey(command: Command): Promise<unknown> {
  switch (command.do) {
    case 'reach':
      return control.feed.reach(BigInt(command.version), reachMs).then(() => null);
    case 'start':
      running = new ClosedLoop(ledger, command.load);
      return null;
    case 'mark':
      running?.mark();
      return null;
    case 'stop':
      return running?.stop();
    case 'burst':
      return burst(ledger, command.load, command.callsPerCaller);
    case 'memory':
      return memory();
    default:
      return matchUs(control.budgets, command.load, command.calls);
  }
}

function answer(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** What is left after a collection. */
function memory(): MemoryResult {
  globalThis.gc?.();
  const { heapUsed, rss } = process.memoryUsage();
  return { heapMib: heapUsed / 2 ** 20, rssMib: rss / 2 ** 20 };
}

/** Microseconds of CPU that it takes to find the budgets of one call. */
function matchUs(budgets: BudgetIndex, { workload, set, round, firstCaller }: Load, calls: number): number {
  const spenders = Array.from({ length: calls }, (_, call) => spenderOf(workload, set, firstCaller, { round, call }));
  const before = process.cpuUsage();
  for (const spender of spenders) {
    if (budgets.matching(spender).length !== workload.budgets.length) throw new Error('a budget was not found');
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / calls;
}
