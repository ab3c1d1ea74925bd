import { Command } from 'commander';
import { migrate } from '../pg/migrate.ts';
import { configurationFor } from './configuration.ts';
import { CliError, type CliContext } from './context.ts';

/** `portcullis migrate`: brings the schema up to date under the owner's role, and grants the application's role what it needs. */
export function migrateCommand(context: CliContext): Command {
  return new Command('migrate')
    .description('bring the database schema up to date (role of MIGRATE_DATABASE_URL, else of DATABASE_URL)')
    .action(async () => {
      const { DATABASE_URL, MIGRATE_DATABASE_URL } = configurationFor(context).options;
      if (DATABASE_URL === null)
        throw new CliError('DATABASE_URL is not set: the embedded database migrates itself at start.');
      const applied = await migrate(
        MIGRATE_DATABASE_URL ?? DATABASE_URL,
        appRole(DATABASE_URL, MIGRATE_DATABASE_URL),
      ).catch((error: unknown) => {
        // Written for the operator, or the database's own words.
        throw new CliError(error instanceof Error && error.message !== '' ? error.message : String(error));
      });
      for (const { version, name } of applied)
        context.stdout.write(`applied ${String(version).padStart(6, '0')}_${name}\n`);
      context.stdout.write(applied.length === 0 ? 'The schema is up to date.\n' : `${applied.length} applied.\n`);
    });
}

/** With an owner beside it, the application's role gets its privileges and no more. */
function appRole(databaseUrl: string, ownerUrl: string | null): { appRole?: string } {
  return ownerUrl === null ? {} : { appRole: decodeURIComponent(new URL(databaseUrl).username) };
}
