import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { toJson } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { formatUsd } from '../../base/money.ts';
import {
  AnalyticsService,
  AttemptOutcome,
  AttemptOutcomeSchema,
  UsageGroup,
  type UsageRow,
  UsageRowSchema,
  type UsageTotals,
  UsageTotalsSchema,
} from '../../gen/portcullis/v1/analytics_pb.ts';
import { type Run, RunSchema, RunService, RunStateSchema } from '../../gen/portcullis/v1/run_pb.ts';
import { type CliContext, CliError } from '../context.ts';
import { enumWord } from '../enum-words.ts';
import type { GateClient } from '../gate-client.ts';
import { present } from '../gate-command.ts';
import { printNote, printTable } from '../output.ts';
import { visible, visibleJson } from '../terminal-text.ts';
import type { Ending } from './child.ts';
import type { Lease } from './lease.ts';

/** What a run came to, from the ledger. */
export interface RunReport {
  readonly run: Run;
  readonly totals: UsageTotals;
  /** By public model name; empty for a key that may not read the ledger. */
  readonly models: readonly UsageRow[];
  readonly refusals: readonly Refusal[];
}

interface Refusal {
  readonly outcome: string;
  /** The rule, budget or kill switch that refused; else the code of the error. */
  readonly rule: string;
  readonly calls: number;
}

// Calls that the end of the run cut off, and refusals, get their rows a moment later.
const settlingMs = 300;
const attemptsMax = 500;

/** Reads what an ended run came to. */
export async function reportOf(gate: GateClient, { project }: Lease, run: Run): Promise<RunReport> {
  await sleep(settlingMs);
  const filter = { runId: run.id };
  const { totals } = await gate.of(RunService).getRun({ ...filter, ...project });
  const analytics = gate.of(AnalyticsService);
  try {
    const [usage, { attempts }] = await Promise.all([
      analytics.getUsage({ groupBy: UsageGroup.MODEL, filter, limit: 100, ...project }),
      analytics.listAttempts({ pageSize: attemptsMax, filter, ...project }),
    ]);
    const refused = attempts.filter(({ outcome }) => refusing.has(outcome));
    const groups = Map.groupBy(refused, ({ outcome, rule, errorClass }) =>
      JSON.stringify([enumWord(AttemptOutcomeSchema, outcome), rule ?? errorClass ?? '']),
    );
    const refusals = [...groups].map(([group, { length: calls }]) => {
      const [outcome, rule] = JSON.parse(group) as [string, string];
      return { outcome, rule, calls };
    });
    return { run, totals: present(totals), models: usage.rows, refusals };
  } catch (error) {
    if (!(error instanceof ConnectError && error.code === Code.PermissionDenied)) throw error;
    return { run, totals: present(totals), models: [], refusals: [] };
  }
}

const refusing: ReadonlySet<AttemptOutcome> = new Set([
  AttemptOutcome.REFUSED,
  AttemptOutcome.KILLED,
  AttemptOutcome.BUDGET,
]);

/** Tells a person, on standard error: standard output is the command's own. */
export function printReport(context: CliContext, { run, totals, models, refusals }: RunReport): void {
  const state = enumWord(RunStateSchema, run.state);
  const { attempts, refusedAttempts, costNanousd } = totals;
  context.stderr.write('\n');
  printNote(
    context,
    `Run ${run.id} ${state}: ${formatUsd(costNanousd)} for ${attempts} ${attempts === 1n ? 'call' : 'calls'}, ${refusedAttempts} refused.`,
  );
  if (models.length > 0) printModels(context, models);
  for (const { outcome, rule, calls } of refusals)
    printNote(context, `Refused ${calls} ${calls === 1 ? 'time' : 'times'}: ${rule} (${outcome})`);
}

function printModels(context: CliContext, models: readonly UsageRow[]): void {
  const right = ['COST', 'CALLS', 'REFUSED', 'INPUT', 'OUTPUT', 'CACHED'].map((title) => ({
    title,
    align: 'right' as const,
  }));
  printTable(
    { ...context, stdout: context.stderr },
    [{ title: 'MODEL' }, ...right],
    models.map(({ key, totals }) => [
      key === '' ? '(none)' : key,
      formatUsd(totals?.costNanousd ?? 0n),
      String(totals?.attempts ?? 0n),
      String(totals?.refusedAttempts ?? 0n),
      String(totals?.inputTokens ?? 0n),
      String(totals?.outputTokens ?? 0n),
      String((totals?.cacheReadTokens ?? 0n) + (totals?.cacheWriteTokens ?? 0n)),
    ]),
    '',
  );
}

/** Writes the same for programs, as one JSON document in Connect's form. */
export function writeReport(path: string, { run, totals, models, refusals }: RunReport, ending: Ending | null): void {
  const all = { alwaysEmitImplicit: true };
  const document = {
    run: toJson(RunSchema, run, all),
    command: ending,
    totals: toJson(UsageTotalsSchema, totals, all),
    models: models.map((row) => toJson(UsageRowSchema, row, all)),
    refusals,
  };
  try {
    writeFileSync(path, `${visibleJson(document)}\n`);
  } catch {
    throw new CliError(`The summary could not be written to ${visible(path)}.`);
  }
}
