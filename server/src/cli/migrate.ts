import { Command } from 'commander';
import { configurationFor } from './configuration.ts';
import { CliError, type CliContext } from './context.ts';

/** `portcullis migrate`: brings the schema of DATABASE_URL up to date under the owner's role, and grants the application's. */
export function migrateCommand(context: CliContext): Command {
  return new Command('migrate')
    .description('bring the database schema up to date (role of MIGRATE_DATABASE_URL)')
    .action(async () => {
      const { config } = configurationFor(context);
      if (config.embedded)
        throw new CliError('DATABASE_URL is not set: the embedded database migrates itself at start.');
      const applied = await context.migrate(config);
      for (const name of applied) context.stdout.write(`applied ${name}\n`);
      context.stdout.write(applied.length === 0 ? 'The schema is up to date.\n' : `${applied.length} applied.\n`);
    });
}
