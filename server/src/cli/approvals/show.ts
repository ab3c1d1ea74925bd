import type { Command } from 'commander';
import {
  type Approval,
  ApprovalActionSchema,
  ApprovalKindSchema,
  ApprovalRiskSchema,
  ApprovalService,
  ApprovalStateSchema,
  type ApprovalVote,
  ApprovalViaSchema,
  GetApprovalResponseSchema,
} from '../../gen/portcullis/v1/approval_pb.ts';
import type { CliContext } from '../context.ts';
import { enumWord } from '../enum-words.ts';
import { withGate } from '../gate-client.ts';
import { gateCommand, type GateOptions, present } from '../gate-command.ts';
import { printLongText } from '../long-text.ts';
import { localTime, printAnswer, printFields, printLine, printTable } from '../output.ts';
import { projectOf } from '../references.ts';
import { visibleJson } from '../terminal-text.ts';

/** `portcullis approvals show`: exactly what is asked for. */
export function showApprovalCommand(context: CliContext): Command {
  return gateCommand('show', 'show exactly what is asked for, and who said what')
    .argument('<approval>', 'its id (apr_…)')
    .action((approvalId: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const client = gate.of(ApprovalService);
        const answer = await client.getApproval({ approvalId, ...project });
        if (options.json) return printAnswer(context, GetApprovalResponseSchema, answer);
        printApproval(context, present(answer.approval));
        const { votes } = await client.listApprovalVotes({ approvalId, ...project });
        if (votes.length > 0) printVotes(context, votes);
      }),
    );
}

function printApproval(context: CliContext, approval: Approval): void {
  printFields(context, [
    ['Approval', approval.id],
    ['Kind', enumWord(ApprovalKindSchema, approval.kind)],
    ['Action', approval.action],
    ['State', enumWord(ApprovalStateSchema, approval.state)],
    ['Risk', enumWord(ApprovalRiskSchema, approval.risk)],
    ['Asked by', `${approval.requesterName} (${approval.requesterId})`],
    ['Run', approval.runId],
    ['Rule', approval.rule],
    ['May decide', approval.groups.join(', ')],
    ['Must agree', String(approval.quorum)],
    ['Asked', localTime(approval.createTime)],
    ['Expires', localTime(approval.expireTime)],
    ['Decided by', approval.decidedBy],
    ['Reason', approval.reason === '' ? undefined : approval.reason],
    ['Response', approval.response],
    ['Used', approval.useTime && localTime(approval.useTime)],
    ['Digest', approval.editedDigest ?? approval.digest],
  ]);
  printLongText(context, approval.summary);
  if (approval.diff !== undefined) printLongText(context, approval.diff);
  printWhat(
    context,
    approval.editedDigest === undefined ? 'Asked for:' : 'Asked for, before it was edited:',
    approval.whatJson,
  );
  printWhat(context, 'Instead:', approval.editedWhatJson);
}

/** JSON of others, which a terminal shows and never obeys. */
function printWhat(context: CliContext, title: string, json: string | undefined): void {
  if (json === undefined) return;
  printLine(context, '');
  printLine(context, title);
  for (const line of visibleJson(JSON.parse(json)).split('\n')) printLine(context, line);
}

function printVotes(context: CliContext, votes: readonly ApprovalVote[]): void {
  printLine(context, '');
  printTable(
    context,
    ['VOTED', 'PERSON', 'SAID', 'VIA', 'ON DIGEST', 'REASON'].map((title) => ({ title })),
    votes.map(({ voteTime, personId, action, via, digest, reason }) => [
      localTime(voteTime),
      personId,
      enumWord(ApprovalActionSchema, action),
      enumWord(ApprovalViaSchema, via),
      digest.slice(0, 12),
      reason,
    ]),
    '',
  );
}
