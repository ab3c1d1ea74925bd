import { Command } from 'commander';
import { approveCommand, editCommand, rejectCommand, respondCommand } from './approvals/decide.ts';
import { listApprovalsCommand } from './approvals/list.ts';
import { showApprovalCommand } from './approvals/show.ts';
import { watchApprovalsCommand } from './approvals/watch.ts';
import type { CliContext } from './context.ts';

/** `portcullis approvals`: look at what waits for people, and decide it. */
export function approvalsCommand(context: CliContext): Command {
  return new Command('approvals')
    .description('look at what waits for the decision of a person, and decide it')
    .addCommand(listApprovalsCommand(context))
    .addCommand(showApprovalCommand(context))
    .addCommand(approveCommand(context))
    .addCommand(rejectCommand(context))
    .addCommand(editCommand(context))
    .addCommand(respondCommand(context))
    .addCommand(watchApprovalsCommand(context));
}
