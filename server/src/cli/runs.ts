import { Command, InvalidArgumentError } from 'commander';
import { formatUsd } from '../base/money.ts';
import type { UsageTotals } from '../gen/portcullis/v1/analytics_pb.ts';
import {
  FinishRunResponseSchema,
  GetRunResponseSchema,
  type Run,
  RunService,
  RunState,
  RunStateSchema,
  StartRunResponseSchema,
} from '../gen/portcullis/v1/run_pb.ts';
import type { CliContext } from './context.ts';
import { enumOption, enumWord } from './enum-words.ts';
import { withGate } from './gate-client.ts';
import { gateCommand, type GateOptions, present } from './gate-command.ts';
import { localTime, printAnswer, printFields, printNote } from './output.ts';
import { agentIdOf, projectOf } from './references.ts';
import { opinionCommands } from './run-opinions.ts';
import { eventCommand, eventsCommand } from './runs-events.ts';
import { runListCommand } from './runs-list.ts';
import { watchCommand } from './runs-watch.ts';

/** `portcullis runs`: pieces of work that calls, budgets and keys can belong to. */
export function runsCommand(context: CliContext): Command {
  const command = new Command('runs')
    .description('start, finish, list, watch and judge runs')
    .addCommand(startCommand(context))
    .addCommand(finishCommand(context))
    .addCommand(showCommand(context))
    .addCommand(runListCommand(context))
    .addCommand(watchCommand(context))
    .addCommand(eventsCommand(context))
    .addCommand(eventCommand(context));
  for (const opinion of opinionCommands(context)) command.addCommand(opinion);
  return command;
}

interface StartOptions extends GateOptions {
  readonly agent?: string;
  readonly task?: string;
  readonly promptVersion?: string;
  readonly maxRetries?: number;
}

function startCommand(context: CliContext): Command {
  return gateCommand('start', 'start a run; prints its id')
    .argument('<workflow>', 'the kind of task')
    .option('--agent <agent>', 'whose run it is, by name or id (default: the agent whose key this is)')
    .option('--task <task>', 'the task that it is for: its id in the journal, or a name of your own')
    .option('--prompt-version <version>', "the version of the workflow's prompt, by digest or label")
    .option('--max-retries <count>', 'how many further attempts a call may make: 0 to 9', parseRetries)
    .action((workflow: string, { agent, task, promptVersion, maxRetries, ...options }: StartOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const answer = await gate.of(RunService).startRun({
          workflow,
          ...(agent !== undefined && { agentId: await agentIdOf(gate, agent, project) }),
          ...(task !== undefined && { taskId: task }),
          ...(promptVersion !== undefined && { promptVersion }),
          ...(maxRetries !== undefined && { maxRetries }),
          ...project,
        });
        if (options.json) return printAnswer(context, StartRunResponseSchema, answer);
        const { id } = present(answer.run);
        printNote(context, `Calls belong to the run when they carry the header x-portcullis-run: ${id}`);
        context.stdout.write(`${id}\n`);
      }),
    );
}

interface FinishOptions extends GateOptions {
  readonly outcome: RunState;
  readonly summary: string;
  readonly error: string;
}

function finishCommand(context: CliContext): Command {
  return gateCommand('finish', 'finish a run; keys that are bound to it stop')
    .argument('<run>')
    .addOption(
      enumOption('--outcome <outcome>', 'how it ended', RunStateSchema).default(RunState.SUCCEEDED, 'succeeded'),
    )
    .option('--summary <text>', 'what came of it', '')
    .option('--error <text>', 'why it did not succeed', '')
    .action((runId: string, options: FinishOptions) =>
      withGate(context, async (gate) => {
        const { outcome, summary, error } = options;
        const project = await projectOf(gate, options);
        const answer = await gate.of(RunService).finishRun({ runId, outcome, summary, error, ...project });
        if (options.json) return printAnswer(context, FinishRunResponseSchema, answer);
        printRun(context, present(answer.run), present(answer.totals));
      }),
    );
}

function showCommand(context: CliContext): Command {
  return gateCommand('show', 'show a run and what it has spent')
    .argument('<run>')
    .action((runId: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const answer = await gate.of(RunService).getRun({ runId, ...(await projectOf(gate, options)) });
        if (options.json) return printAnswer(context, GetRunResponseSchema, answer);
        printRun(context, present(answer.run), present(answer.totals));
      }),
    );
}

function printRun(context: CliContext, run: Run, totals: UsageTotals): void {
  const cached = totals.cacheReadTokens + totals.cacheWriteTokens;
  printFields(context, [
    ['id', run.id],
    ['workflow', run.workflow],
    ['agent', run.agentId],
    ['state', enumWord(RunStateSchema, run.state)],
    ['task', run.taskId],
    ['prompt version', run.promptVersion],
    ['retries', run.maxRetries === undefined ? undefined : `${run.maxRetries} at most, of each call`],
    ['summary', run.summary],
    ['error', run.error],
    ['started', localTime(run.startTime)],
    ['finished', localTime(run.finishTime)],
    ['attempts', `${totals.attempts}, ${totals.refusedAttempts} of them refused`],
    ['cost', formatUsd(totals.costNanousd)],
    ['tokens', `${totals.inputTokens} in, ${totals.outputTokens} out, ${cached} cached`],
  ]);
}

function parseRetries(text: string): number {
  if (/^\d$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Write a number from 0 to 9.');
}
