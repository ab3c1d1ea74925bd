import { Command, CommanderError } from 'commander';
import { commands } from './commands.ts';
import { CliError, type CliContext } from './context.ts';
import { docsCommand } from './docs.ts';
import { exitCodes, exitCodesHelp } from './exit-codes.ts';
import { migrateCommand } from './migrate.ts';
import { serveCommand } from './serve.ts';
import { upCommand } from './up.ts';

/** Runs one command line. @returns the exit code */
export async function runCli(context: CliContext, args: readonly string[]): Promise<number> {
  try {
    await program(context).parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    if (error instanceof CliError) {
      if (error.message !== '') context.stderr.write(`${error.message}\n`);
      return error.exitCode;
    }
    throw error;
  }
}

function program(context: CliContext): Command {
  const root = new Command('portcullis')
    .description('The control plane for AI agents that you only half trust.')
    // What follows the command of `run` is that command's own.
    .enablePositionalOptions()
    .addHelpText('after', exitCodesHelp);
  for (const make of [upCommand, serveCommand, migrateCommand, ...commands, docsCommand])
    root.addCommand(make(context));
  configure(root, context);
  return root;
}

// Commander exits the process by itself unless told not to, command by command.
function configure(command: Command, context: CliContext): void {
  command.exitOverride().configureOutput({
    writeOut: (text) => context.stdout.write(text),
    writeErr: (text) => context.stderr.write(text),
  });
  for (const child of command.commands) configure(child, context);
}
