import { Command } from 'commander';
import { configurationFor } from './configuration.ts';
import { CliError, type CliContext } from './context.ts';
import { runUntilSignal } from './signals.ts';

/** `portcullis serve`: one gate process of a fleet, on a database that exists and is migrated. */
export function serveCommand(context: CliContext): Command {
  return new Command('serve')
    .description('run a gate on DATABASE_URL (its schema must be up to date)')
    .action(async () => {
      const config = configurationFor(context);
      if (config.embedded) throw new CliError('DATABASE_URL is not set: `portcullis up` runs on an embedded database.');
      const say = (line: string) => context.stderr.write(`${line}\n`);
      await runUntilSignal(
        () => context.start(config, say),
        ({ url }) => say(`Portcullis listens on ${url}`),
        context,
      );
    });
}
