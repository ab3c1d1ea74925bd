import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { type Command, InvalidArgumentError } from 'commander';
import {
  ApprovalAction,
  ApprovalService,
  ApprovalState,
  ApprovalStateSchema,
  DecideApprovalResponseSchema,
  type RepeatGrantSchema,
} from '../../gen/portcullis/v1/approval_pb.ts';
import { CliError, type CliContext } from '../context.ts';
import { parseDuration } from '../durations.ts';
import { enumWord } from '../enum-words.ts';
import { exitCodes } from '../exit-codes.ts';
import { withGate } from '../gate-client.ts';
import { gateCommand, type GateOptions, present } from '../gate-command.ts';
import { longTextOf, longTextOptions } from '../long-text.ts';
import { printAnswer, printLine } from '../output.ts';
import { projectOf } from '../references.ts';

interface DecideOptions extends GateOptions {
  readonly reason: string;
  readonly digest?: string;
  readonly again?: number;
  readonly within?: number;
  readonly anyArguments?: boolean;
}

interface EditOptions extends DecideOptions {
  readonly arguments?: string;
  readonly argumentsFile?: string;
}

/** What is decided, besides the approval's id. */
interface Decided {
  readonly action: ApprovalAction;
  readonly response?: string;
  readonly editedArgumentsJson?: string;
  readonly grant?: MessageInitShape<typeof RepeatGrantSchema>;
}

export function approveCommand(context: CliContext): Command {
  return decision('approve', 'let it run, as it stands')
    .option('--again <count>', 'and the same so many times more without asking', parseAgain)
    .option('--within <time>', 'for so long, like 1h (with --again)', parseDuration)
    .option('--any-arguments', 'whatever the arguments (with --again)')
    .action((id: string, options: DecideOptions) => {
      const grant = grantIn(options);
      return decide(context, id, options, { action: ApprovalAction.APPROVE, ...(grant && { grant }) });
    });
}

export function rejectCommand(context: CliContext): Command {
  return decision('reject', 'do not let it run; who asked is told the reason').action(
    (id: string, options: DecideOptions) => decide(context, id, options, { action: ApprovalAction.REJECT }),
  );
}

export function respondCommand(context: CliContext): Command {
  return decision('respond', 'do not let it run, and answer who asked')
    .argument('<text>', 'what they get instead of the result')
    .action((id: string, response: string, options: DecideOptions) =>
      decide(context, id, options, { action: ApprovalAction.RESPOND, response }),
    );
}

export function editCommand(context: CliContext): Command {
  return longTextOptions(decision('edit', 'let it run with other arguments'), 'arguments').action(
    async (id: string, options: EditOptions) => {
      const { arguments: text, argumentsFile: file } = options;
      const editedArgumentsJson = await longTextOf(context, 'arguments', text, file);
      if (editedArgumentsJson === undefined)
        throw new CliError('Say what the arguments are to be: --arguments or --arguments-file.', exitCodes.usage);
      await decide(context, id, options, { action: ApprovalAction.EDIT, editedArgumentsJson });
    },
  );
}

function decision(name: string, description: string): Command {
  return gateCommand(name, description)
    .argument('<approval>', 'its id (apr_…)')
    .option('--reason <reason>', 'why', '')
    .option('--digest <digest>', 'the digest that you looked at: another one in force is a conflict', parseDigest);
}

async function decide(
  context: CliContext,
  approvalId: string,
  options: DecideOptions,
  decided: Decided,
): Promise<void> {
  const { reason, digest } = options;
  await withGate(context, async (gate) => {
    const project = await projectOf(gate, options);
    const seen = digest === undefined ? {} : { digest };
    const answer = await gate
      .of(ApprovalService)
      .decideApproval({ approvalId, reason, ...seen, ...decided, ...project });
    if (options.json) return printAnswer(context, DecideApprovalResponseSchema, answer);
    const { state, quorum } = present(answer.approval);
    const word = enumWord(ApprovalStateSchema, state);
    printLine(
      context,
      state === ApprovalState.PENDING ? `Noted: ${quorum} people must agree, and not all have.` : `It is ${word}.`,
    );
  });
}

function grantIn({ again, within, anyArguments = false }: DecideOptions): Decided['grant'] {
  if (again === undefined && within === undefined && !anyArguments) return undefined;
  if (again === undefined || within === undefined)
    throw new CliError('--again and --within go together, and --any-arguments with both.', exitCodes.usage);
  return { uses: again, within: durationFromMs(within), anyArguments };
}

function parseAgain(text: string): number {
  const count = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > 1000) throw new InvalidArgumentError('Write a number from 1 to 1000.');
  return count;
}

function parseDigest(text: string): string {
  if (/^[0-9a-f]{64}$/.test(text)) return text;
  throw new InvalidArgumentError('Write the 64 hexadecimal digits that `approvals show` prints.');
}
