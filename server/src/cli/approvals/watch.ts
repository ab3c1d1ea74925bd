import { setTimeout as sleep } from 'node:timers/promises';
import { toJson } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import {
  type Approval,
  ApprovalKindSchema,
  ApprovalSchema,
  ApprovalService,
  ApprovalState,
  ApprovalStateSchema,
} from '../../gen/portcullis/v1/approval_pb.ts';
import type { CliContext } from '../context.ts';
import { enumWord } from '../enum-words.ts';
import { type GateClient, withGate } from '../gate-client.ts';
import { gateCommand, type GateOptions, present } from '../gate-command.ts';
import { beginningOf } from '../long-text.ts';
import { localTime, printLine } from '../output.ts';
import { readPages } from '../paging.ts';
import { projectOf } from '../references.ts';
import { visibleJson } from '../terminal-text.ts';

// The gate answers at once when it is decided, and else before the client gives up.
const waitMs = 20_000;
const lookEveryMs = 2_000;
const toldMax = 1_000;

/** `portcullis approvals watch`: what waits for people as it comes, or one until its outcome. */
export function watchApprovalsCommand(context: CliContext): Command {
  return gateCommand('watch', 'show what waits for people as it comes; with an id, wait for that one until its outcome')
    .argument('[approval]', 'its id (apr_…)')
    .action((approvalId: string | undefined, options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const tell = (approval: Approval) => printLine(context, options.json ? jsonLine(approval) : textLine(approval));
        if (approvalId === undefined) await watchAll(gate, project, tell);
        else tell(await outcomeOf(gate, approvalId, project));
      }),
    );
}

async function outcomeOf(gate: GateClient, approvalId: string, project: { projectId?: string }): Promise<Approval> {
  for (;;) {
    const answer = await gate.of(ApprovalService).getApproval({ approvalId, wait: durationFromMs(waitMs), ...project });
    const approval = present(answer.approval);
    if (approval.state !== ApprovalState.PENDING) return approval;
  }
}

/** Until the command is interrupted. */
async function watchAll(
  gate: GateClient,
  project: { projectId?: string },
  tell: (approval: Approval) => void,
): Promise<void> {
  let told = new Set<string>();
  for (;;) {
    const { approvals } = await readPages(
      toldMax,
      (page) => gate.of(ApprovalService).listApprovals({ ...page, state: ApprovalState.PENDING, ...project }),
      (answer) => answer.approvals,
    );
    for (const approval of approvals.toReversed()) if (!told.has(approval.id)) tell(approval);
    told = new Set(approvals.map(({ id }) => id));
    await sleep(lookEveryMs);
  }
}

function jsonLine(approval: Approval): string {
  return visibleJson(toJson(ApprovalSchema, approval, { alwaysEmitImplicit: true }), 0);
}

function textLine({ id, kind, action, requesterName, state, reason, summary, createTime }: Approval): string {
  const word = enumWord(ApprovalStateSchema, state);
  const what = `${localTime(createTime)}  ${id}  ${enumWord(ApprovalKindSchema, kind)}  ${action}  by ${requesterName}`;
  if (state === ApprovalState.PENDING) return `${what}: ${beginningOf(summary)}`;
  return reason === '' ? `${what}: ${word}` : `${what}: ${word} (${reason})`;
}
