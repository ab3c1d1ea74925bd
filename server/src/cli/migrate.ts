import { Command } from 'commander';
import { DatabaseError } from 'pg';
import { copyDatabase, type CopyProgress } from '../pg/copy.ts';
import { migrate } from '../pg/migrate.ts';
import { configurationFor } from './configuration.ts';
import { CliError, type CliContext } from './context.ts';

interface MigrateFlags {
  readonly timescale?: boolean;
  readonly copyFrom?: boolean;
}

/** `portcullis migrate`: brings the schema up to date under the owner's role, and grants the application's role what it needs. */
export function migrateCommand(context: CliContext): Command {
  return new Command('migrate')
    .description('bring the database schema up to date (role of MIGRATE_DATABASE_URL, else of DATABASE_URL)')
    .option('--timescale', 'lay a new database out for TimescaleDB; decided once, later migrations follow')
    .option('--copy-from', 'then copy all of the database of COPY_FROM_DATABASE_URL into this one, which must be empty')
    .action(async ({ timescale = false, copyFrom = false }: MigrateFlags) => {
      const { DATABASE_URL, MIGRATE_DATABASE_URL, COPY_FROM_DATABASE_URL } = configurationFor(context).options;
      if (DATABASE_URL === null)
        throw new CliError('DATABASE_URL is not set: the embedded database migrates itself at start.');
      if (copyFrom && COPY_FROM_DATABASE_URL === null)
        throw new CliError('COPY_FROM_DATABASE_URL is not set: it names the database to copy from.');
      const ownerUrl = MIGRATE_DATABASE_URL ?? DATABASE_URL;
      const applied = await told(migrate(ownerUrl, { ...appRole(DATABASE_URL, MIGRATE_DATABASE_URL), timescale }));
      for (const { version, name } of applied)
        context.stdout.write(`applied ${String(version).padStart(6, '0')}_${name}\n`);
      context.stdout.write(applied.length === 0 ? 'The schema is up to date.\n' : `${applied.length} applied.\n`);
      if (!copyFrom || COPY_FROM_DATABASE_URL === null) return;
      await told(copyDatabase(COPY_FROM_DATABASE_URL, ownerUrl, (progress) => printProgress(context, progress)));
      context.stdout.write('All of it was copied and checked.\n');
    });
}

/** Errors of these are written for the operator, or are the database's own words, with its advice. */
async function told<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const message = error instanceof Error && error.message !== '' ? error.message : String(error);
    const hint = error instanceof DatabaseError ? error.hint : undefined;
    throw new CliError(hint === undefined ? message : `${message}: ${hint}`);
  }
}

function printProgress(context: CliContext, { table, rows, bytes, ms }: CopyProgress): void {
  const megabytes = bytes / 1e6;
  const speed = `${megabytes.toFixed(1)} MB, ${(megabytes / Math.max(ms / 1_000, 0.001)).toFixed(1)} MB/s`;
  if (rows === null) context.stdout.write(`copying ${table}: ${speed}\n`);
  else if (rows > 0) context.stdout.write(`copied ${table}: ${rows} rows, ${speed}\n`);
}

/** With an owner beside it, the application's role gets its privileges and no more. */
function appRole(databaseUrl: string, ownerUrl: string | null): { appRole?: string } {
  return ownerUrl === null ? {} : { appRole: decodeURIComponent(new URL(databaseUrl).username) };
}
