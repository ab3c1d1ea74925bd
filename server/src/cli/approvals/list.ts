import type { Command } from 'commander';
import {
  type Approval,
  ApprovalKindSchema,
  ApprovalRiskSchema,
  ApprovalService,
  ApprovalState,
  ApprovalStateSchema,
  ListApprovalsResponseSchema,
} from '../../gen/portcullis/v1/approval_pb.ts';
import type { CliContext } from '../context.ts';
import { enumOption, enumWord } from '../enum-words.ts';
import { withGate } from '../gate-client.ts';
import { listCommand, type ListOptions } from '../gate-command.ts';
import { beginningOf } from '../long-text.ts';
import { localTime, noteMore, printAnswer, printTable, stateFormat } from '../output.ts';
import { readPages } from '../paging.ts';
import { projectOf } from '../references.ts';

interface ApprovalListOptions extends ListOptions {
  readonly state?: ApprovalState;
  readonly all?: true;
  readonly run?: string;
}

/** `portcullis approvals list`. */
export function listApprovalsCommand(context: CliContext): Command {
  return listCommand('list requests that wait for people, newest first')
    .addOption(enumOption('--state <state>', 'in this state instead', ApprovalStateSchema))
    .option('--all', 'in any state')
    .option('--run <run>', 'of one run')
    .action((options: ApprovalListOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const state = options.all ? ApprovalState.UNSPECIFIED : (options.state ?? ApprovalState.PENDING);
        const filter = { state, ...(options.run !== undefined && { runId: options.run }), ...project };
        const answer = await readPages(
          options.limit,
          (page) => gate.of(ApprovalService).listApprovals({ ...page, ...filter }),
          ({ approvals }) => approvals,
        );
        if (options.json) return printAnswer(context, ListApprovalsResponseSchema, answer);
        printTable(
          context,
          [
            { title: 'ASKED' },
            { title: 'APPROVAL', whole: true },
            ...['KIND', 'ACTION', 'BY'].map((title) => ({ title })),
            { title: 'STATE', format: stateFormat },
            ...['RISK', 'EXPIRES', 'SUMMARY'].map((title) => ({ title })),
          ],
          answer.approvals.map(rowOf),
          'Nothing waits for people.',
        );
        noteMore(context, answer.nextPageToken);
      }),
    );
}

function rowOf(approval: Approval): string[] {
  const { id, createTime, kind, action, requesterName, state, risk, expireTime, summary } = approval;
  return [
    localTime(createTime),
    id,
    enumWord(ApprovalKindSchema, kind),
    action,
    requesterName,
    enumWord(ApprovalStateSchema, state),
    enumWord(ApprovalRiskSchema, risk),
    localTime(expireTime),
    beginningOf(summary),
  ];
}
