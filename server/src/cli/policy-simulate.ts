import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import { formatUsd } from '../base/money.ts';
import { simulationRowsMax } from '../base/limits.ts';
import { PolicyVerdictSchema, type SimulatedCall } from '../gen/portcullis/v1/policy_document_pb.ts';
import { PolicyService, SimulatePolicyResponseSchema } from '../gen/portcullis/v1/policy_pb.ts';
import type { CliContext } from './context.ts';
import { parseDuration } from './durations.ts';
import { enumWord } from './enum-words.ts';
import { withGate } from './gate-client.ts';
import { gateCommand, type GateOptions, parseCount, present } from './gate-command.ts';
import { localTime, printAnswer, printLine, printNote, printTable } from './output.ts';
import { readPolicyFile } from './policy-file.ts';
import { agentIdOf, projectOf } from './references.ts';

interface SimulateOptions extends GateOptions {
  readonly since?: number;
  readonly limit: number;
}

/** `portcullis policy simulate`: what a document would have done to recorded calls. */
export function simulateCommand(context: CliContext): Command {
  return gateCommand('simulate', 'judge recorded calls by a file or a version: what would it have stopped?')
    .argument('<policy>', 'a file, or the number of a version')
    .option(
      '--since <time>',
      'judge the calls of so long until now, like 7d (default: all that are recorded)',
      parseDuration,
    )
    .option('--limit <count>', 'how many of the calls to show', parseCount, 20)
    .action((policy: string, options: SimulateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const isVersion = /^[1-9]\d{0,8}$/.test(policy);
        const answer = await gate.of(PolicyService).simulatePolicy({
          policy: isVersion
            ? { case: 'version', value: Number(policy) }
            : {
                case: 'document',
                value: (await readPolicyFile(context.cwd, policy, (agent) => agentIdOf(gate, agent, project))).document,
              },
          ...(options.since !== undefined && { startTime: timestampFromMs(Date.now() - options.since) }),
          rowsMax: Math.min(options.limit, simulationRowsMax),
          ...project,
        });
        if (options.json) return printAnswer(context, SimulatePolicyResponseSchema, answer);
        const totals = present(answer.totals);
        if (totals.calls === 0n) return printNote(context, 'No calls are recorded for that time.');
        printLine(
          context,
          `Of ${calls(totals.calls)} since ${localTime(answer.firstCallTime)} it would have blocked ${calls(totals.newlyBlocked)}, ${formatUsd(totals.blockedCostNanousd)}, and let ${totals.newlyAllowed} pass that were refused.`,
        );
        printLine(
          context,
          `Its verdicts: ${totals.allowed} allow, ${totals.denied} deny, ${totals.approvals} require approval.`,
        );
        if (totals.evaluationErrors > 0n)
          printNote(context, `Failures of conditions, each of which counts as a denial: ${totals.evaluationErrors}.`);
        if (answer.costsUnknown) printNote(context, 'What the calls cost took too long to find: name a shorter time.');
        if (answer.truncated) printNote(context, 'Older calls were left out: name a shorter time.');
        if (answer.calls.length > 0) printTable(context, columns, answer.calls.map(callRow), '');
        const changed = totals.newlyBlocked + totals.newlyAllowed;
        if (BigInt(answer.calls.length) < changed) printNote(context, 'There are more: raise --limit.');
      }),
    );
}

const columns = [
  ...['TIME', 'CALLER', 'ACTION', 'RESOURCE', 'WAS', 'NOW', 'RULE'].map((title) => ({ title })),
  { title: 'COST', align: 'right' as const },
  { title: 'REQUEST' },
];

function callRow(call: SimulatedCall): string[] {
  return [
    localTime(call.callTime),
    call.principal,
    call.action,
    call.resource,
    enumWord(PolicyVerdictSchema, call.recordedVerdict),
    enumWord(PolicyVerdictSchema, call.verdict),
    call.rule ?? call.recordedRule ?? '',
    formatUsd(call.costNanousd),
    call.requestId,
  ];
}

function calls(count: bigint): string {
  return count === 1n ? '1 call' : `${count} calls`;
}
