import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Command } from 'commander';
import { AnalyticsService } from '../gen/portcullis/v1/analytics_pb.ts';
import {
  ListPromptVersionsResponseSchema,
  RegisterPromptVersionResponseSchema,
} from '../gen/portcullis/v1/leaderboard_pb.ts';
import { CliError, type CliContext } from './context.ts';
import { exitCodes } from './exit-codes.ts';
import { withGate } from './gate-client.ts';
import { gateCommand, type GateOptions, listCommand, type ListOptions, present } from './gate-command.ts';
import { localTime, noteMore, printAnswer, printFields, printTable } from './output.ts';
import { readPages } from './paging.ts';
import { projectOf } from './references.ts';

/** `portcullis prompts`: versions of prompts, which runs name and the leaderboard ranks. */
export function promptsCommand(context: CliContext): Command {
  return new Command('prompts')
    .description('register and list versions of prompts')
    .addCommand(registerCommand(context))
    .addCommand(listVersionsCommand(context));
}

interface RegisterOptions extends GateOptions {
  readonly digest?: string;
  readonly notes: string;
}

function registerCommand(context: CliContext): Command {
  return gateCommand('register', "register a version of a workflow's prompt; its content stays here")
    .argument('<workflow>')
    .argument('<label>', 'its name for people: strangers see it too if its workflow is public and you may publish it')
    .argument('[file]', 'where the prompt is; - or nothing is standard input')
    .option('--digest <sha256>', 'the SHA-256 of the content, in hex, instead of the content')
    .option('--notes <text>', 'what there is to say of it', '')
    .action((workflow: string, label: string, file: string | undefined, options: RegisterOptions) =>
      withGate(context, async (gate) => {
        const digest = await digestOf(context, file, options.digest);
        const project = await projectOf(gate, options);
        const asked = { workflow, label, notes: options.notes, ...project };
        const version = { case: 'digest' as const, value: digest };
        const answer = await gate.of(AnalyticsService).registerPromptVersion({ ...asked, version });
        if (options.json) return printAnswer(context, RegisterPromptVersionResponseSchema, answer);
        const registered = present(answer.promptVersion);
        printFields(context, [
          ['label', registered.label],
          ['workflow', registered.workflow],
          ['sha256', registered.digest],
          ['notes', registered.notes],
          ['strangers see', registered.labelConfirmed ? 'the label, if the workflow is public' : 'no label'],
          ['registered', localTime(registered.registerTime)],
        ]);
      }),
    );
}

/** @throws CliError where both or neither of a content and its digest are given, or the file cannot be read */
async function digestOf(context: CliContext, file: string | undefined, given: string | undefined): Promise<string> {
  if (given !== undefined) {
    if (file === undefined) return given;
    throw new CliError('Give a file or --digest, not both.', exitCodes.usage);
  }
  const isStdin = file === undefined || file === '-';
  if (isStdin && context.stdin.isTTY === true) {
    throw new CliError('Name a file with the prompt, or send it to standard input.', exitCodes.usage);
  }
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    await pipeline(
      isStdin ? context.stdin : createReadStream(resolve(context.cwd, file)),
      async (content: AsyncIterable<Buffer | string>) => {
        for await (const chunk of content) {
          bytes += Buffer.byteLength(chunk);
          hash.update(chunk);
        }
      },
    );
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CliError(`The prompt cannot be read: ${why}`);
  }
  if (bytes === 0) throw new CliError('The prompt is empty: nothing was registered.');
  return hash.digest('hex');
}

function listVersionsCommand(context: CliContext): Command {
  return listCommand('list versions of prompts, newest first')
    .option('--workflow <workflow>', 'of this workflow alone')
    .action((options: ListOptions & { readonly workflow?: string }) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const which = { ...project, ...(options.workflow !== undefined && { workflow: options.workflow }) };
        const answer = await readPages(
          options.limit,
          (page) => gate.of(AnalyticsService).listPromptVersions({ ...page, ...which }),
          ({ promptVersions }) => promptVersions,
        );
        if (options.json) return printAnswer(context, ListPromptVersionsResponseSchema, answer);
        printTable(
          context,
          [
            { title: 'WORKFLOW' },
            { title: 'LABEL' },
            { title: 'SHA-256' },
            { title: 'REGISTERED' },
            { title: 'NOTES' },
          ],
          answer.promptVersions.map(({ workflow, label, digest, registerTime, notes }) => [
            workflow,
            label,
            digest.slice(0, 12),
            localTime(registerTime),
            notes,
          ]),
          'There are no versions: portcullis prompts register WORKFLOW LABEL FILE',
        );
        noteMore(context, answer.nextPageToken);
      }),
    );
}
