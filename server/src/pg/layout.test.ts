import { afterEach, beforeEach, expect, test } from 'vitest';
import { createEmptyDatabase, queryAsOwner, type TestDatabase } from '../../../test/support/database.ts';
import { migrate } from './migrate.ts';

let db: TestDatabase;
beforeEach(async () => {
  db = await createEmptyDatabase();
});
afterEach(() => db.drop());

const withTimescale = () => migrate(db.ownerUrl, { timescale: true });

/** A schema that is searched before pg_catalog can say what is installed. */
async function pretend([version, license, schema = 'public']: readonly string[]): Promise<void> {
  await queryAsOwner(
    db,
    `CREATE SCHEMA pretended;
     CREATE VIEW pretended.pg_extension AS
       SELECT 'timescaledb' AS extname, '${version}' AS extversion, '${schema}'::regnamespace::oid AS extnamespace;
     CREATE FUNCTION pretended.current_setting(name text, missing_ok boolean) RETURNS text LANGUAGE sql
       RETURN CASE name WHEN 'timescaledb.license' THEN '${license}' ELSE pg_catalog.current_setting(name, missing_ok) END`,
  );
  const name = new URL(db.ownerUrl).pathname.slice(1);
  await queryAsOwner(db, `ALTER DATABASE ${name} SET search_path = pretended, pg_catalog, public`);
}

test('a database that was migrated plainly stays so, and the way to move its data is named', async () => {
  await migrate(db.ownerUrl);
  await expect(withTimescale()).rejects.toThrow(/migrated without TimescaleDB.*--timescale --copy-from/);
  expect(await queryAsOwner(db, 'SELECT layout FROM schema_layout')).toEqual([{ layout: 'plain' }]);
});

test('so does one that was migrated before there was a choice', async () => {
  await migrate(db.ownerUrl);
  await queryAsOwner(db, 'DROP TABLE schema_layout');
  await expect(withTimescale()).rejects.toThrow(/migrated without TimescaleDB/);
  expect(await migrate(db.ownerUrl)).toEqual([]);
  expect(await queryAsOwner(db, 'SELECT layout FROM schema_layout')).toEqual([{ layout: 'plain' }]);
});

test.each([
  ['without TimescaleDB', null, /TimescaleDB is not in this database: install it.*CREATE EXTENSION timescaledb/],
  ['with an older one', ['2.22.1', 'timescale'], /This is TimescaleDB 2.22.1; Portcullis needs 2.23 or newer/],
  ['with the edition that does not compress', ['2.23.0', 'apache'], /Apache edition, which does not compress/],
  ['with it in another schema', ['2.23.0', 'timescale', 'pg_catalog'], /is in the schema pg_catalog/],
] as const)('a database %s is refused with what to do, and nothing is decided', async (_, installed, sentence) => {
  if (installed) await pretend(installed);
  await expect(withTimescale()).rejects.toThrow(sentence);
  expect(await queryAsOwner(db, `SELECT to_regclass('public.schema_layout') AS decided`)).toEqual([{ decided: null }]);
  await queryAsOwner(db, `ALTER DATABASE ${new URL(db.ownerUrl).pathname.slice(1)} RESET search_path`);
  expect((await migrate(db.ownerUrl)).length).toBeGreaterThan(0);
});
