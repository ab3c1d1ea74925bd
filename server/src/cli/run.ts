import { basename, resolve } from 'node:path';
import { ConnectError } from '@connectrpc/connect';
import { Command, InvalidArgumentError } from 'commander';
import { parseUsd } from '../base/money.ts';
import { RunState } from '../gen/portcullis/v1/run_pb.ts';
import { type CliContext, CliError } from './context.ts';
import { parseDuration } from './durations.ts';
import { exitCodes } from './exit-codes.ts';
import { type GateClient, refusalOf, withGate } from './gate-client.ts';
import { collectValues } from './gate-command.ts';
import { printNote } from './output.ts';
import { codeOf, type Ending, Signals } from './run/child.ts';
import { commandEnvironment } from './run/environment.ts';
import { type Lease, openLease } from './run/lease.ts';
import { printReport, reportOf, writeReport } from './run/report.ts';
import { type Tool, toolNames, toolOf } from './run/tools.ts';

interface RunOptions {
  readonly agent?: string;
  readonly workflow?: string;
  readonly model?: string;
  readonly budget?: bigint;
  readonly expires: number;
  readonly keepEnv?: string[];
  readonly summary?: string;
  readonly project?: string;
}

const dayMs = 86_400_000;

/** `portcullis run`: any command, with every call to a model through the gate and on the account of one run. */
export function runCommand(context: CliContext): Command {
  return new Command('run')
    .description(`run a command as one run: ${toolNames.join(', ')}, or any that uses the official SDKs`)
    .usage('[options] -- <command> [arguments]')
    .argument('<command...>', 'what to run; its options follow it')
    .option('--agent <agent>', 'whose run it is, by name or id (default: the only agent that there is)')
    .option('--workflow <name>', 'the kind of task (default: the name of the command)')
    .option('--model <name>', `the model that the tool shall use (${toolNames.join(', ')})`)
    .option('--budget <usd>', 'what the run may spend, like 2.50', parseBudget)
    .option('--expires <time>', 'when its key ends if nobody ends the run, like 8h', parseDuration, dayMs)
    .option('--keep-env <name>', 'a variable to hand on that would be withheld; repeatable', collectValues)
    .option('--summary <file>', 'write what it came to as one JSON document')
    .option('--project <project>', "a project by name or id (default: the key's own)")
    .passThroughOptions()
    .action(async (commandLine: string[], options: RunOptions) => {
      const exitCode = await withGate(context, (gate) => runLeased(context, gate, commandLine, options));
      if (exitCode !== exitCodes.ok) throw new CliError('', exitCode);
    });
}

async function runLeased(
  context: CliContext,
  gate: GateClient,
  [command = '', ...args]: readonly string[],
  options: RunOptions,
): Promise<number> {
  const { model = null, expires: lifetimeMs, workflow = basename(command) } = options;
  const tool = toolOf(command);
  if (model !== null && tool === null)
    throw new CliError(`--model is for ${toolNames.join(', ')}: tell ${command} itself.`, exitCodes.usage);
  let lease: Lease | null = null;
  let ending: Ending | null = null;
  // A gate that hangs would keep whoever wants to leave for as long as its calls may take.
  using signals = new Signals(() => {
    if (lease !== null) printNote(context, howToFinish(lease));
    process.exit(ending?.exitCode ?? codeOf(signals.received));
  });
  lease = await openLease(gate, { ...options, model, workflow, lifetimeMs });
  const environment = environmentFor(context, tool, lease, options.keepEnv ?? []);
  let notStarted: Error | null = null;
  if (signals.received === null) {
    const line = { command, args: [...(tool?.args?.(lease.access) ?? []), ...args], cwd: context.cwd, environment };
    try {
      ending = await signals.run(line);
    } catch (error) {
      notStarted = error instanceof Error ? error : new Error(String(error));
    }
  }
  if (notStarted !== null) printNote(context, whyNot(command, notStarted));
  await conclude(context, gate, lease, ending, signals.received, options.summary);
  return ending?.exitCode ?? (notStarted === null ? codeOf(signals.received) : exitCodeOf(notStarted));
}

/** What the command is started with; what it does not get is told. */
function environmentFor(
  context: CliContext,
  tool: Tool | null,
  { access }: Lease,
  keep: readonly string[],
): Readonly<Record<string, string>> {
  const { environment, withheld, notKept } = commandEnvironment(context.environment, tool, access, keep);
  if (withheld.length > 0) printNote(context, `Withheld from the command: ${withheld.join(', ')} (see --keep-env).`);
  if (notKept.length > 0)
    printNote(context, `Not kept, since the run sets or removes them itself: ${notKept.join(', ')}`);
  return environment;
}

/** Ends the run and tells what it came to. What fails here takes nothing from what the command did: its exit code stays. */
async function conclude(
  context: CliContext,
  gate: GateClient,
  lease: Lease,
  ending: Ending | null,
  received: NodeJS.Signals | null,
  summaryFile: string | undefined,
): Promise<void> {
  try {
    const run = await lease.end(outcomeOf(ending, received), summaryOf(ending));
    const report = await reportOf(gate, lease, run);
    if (ending !== null) printReport(context, report);
    if (summaryFile !== undefined) writeReport(resolve(context.cwd, summaryFile), report, ending);
  } catch (error) {
    const told = error instanceof ConnectError ? refusalOf(error, gate.url) : error;
    if (!(told instanceof CliError)) throw told;
    printNote(context, told.message);
    printNote(context, howToFinish(lease));
  }
}

function howToFinish({ run: { id } }: Lease): string {
  return `If the run ${id} is still open, finish it: portcullis runs finish ${id}`;
}

/** A tool that was interrupted and ended well all the same (many go on after Ctrl-C) did succeed. */
function outcomeOf(ending: Ending | null, received: NodeJS.Signals | null): RunState {
  if (ending?.exitCode === 0) return RunState.SUCCEEDED;
  return ending === null || ending.signal !== null || received !== null ? RunState.CANCELLED : RunState.FAILED;
}

function summaryOf(ending: Ending | null): string {
  if (ending === null) return 'The command was not started.';
  return ending.signal === null ? `exit code ${ending.exitCode}` : `ended by ${ending.signal}`;
}

function whyNot(command: string, error: Error): string {
  const code = 'code' in error ? error.code : undefined;
  if (code === 'ENOENT') return `There is no command "${command}" here, or no such directory.`;
  return `The command "${command}" could not be started: ${error.message}`;
}

/** As a shell says it: 127 for a command that is not there, 126 for one that cannot be run. */
function exitCodeOf(error: Error): number {
  return 'code' in error && error.code === 'ENOENT' ? 127 : 126;
}

function parseBudget(text: string): bigint {
  try {
    return parseUsd(text);
  } catch {
    throw new InvalidArgumentError('Write an amount in USD, like 2.50.');
  }
}
