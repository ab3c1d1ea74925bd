import { escapeIdentifier } from 'pg';
import { appPrivileges } from './grants.ts';
import type { Queryable } from './tx.ts';

/** A table to copy. */
export interface CopiedTable {
  readonly name: string;
  /** Those that are stored, in their order; generated ones make themselves. */
  readonly columns: readonly string[];
  /** Identity columns, whose numbering goes on after what was copied. */
  readonly numbered: readonly string[];
}

/** What a migration itself wrote, in every database: replaced by what the source has. */
export const seededTables: readonly string[] = ['control_version', 'rollup_watermarks', 'rollup_kept'];

/** What says how the target was made, not what it holds. */
const ownTables: readonly string[] = ['schema_migrations', 'schema_layout'];

/**
 * Transactions of another cluster mean nothing in this one (decision 0022). What was rolled up there gets 0, what was not gets 1,
 * and every watermark is 1: nothing is counted again, and nothing is missed. An audit entry that has no number yet is older than
 * whatever comes.
 */
export const rewrittenColumns: Readonly<Record<string, string>> = {
  'attempts.tx_id': countedOrNot('attempts', '(attempts.tx_id, attempts.row_no) <= (w.tx_id, w.row_no)'),
  'run_events.tx_id': countedOrNot('run_events', 'run_events.tx_id < w.tx_id'),
  'rollup_watermarks.tx_id': '1::bigint',
  'rollup_watermarks.row_no': '0::bigint',
  'rollup_watermarks.goal_tx_id': '1::bigint',
  'rollup_watermarks.moved_by': 'NULL::bigint',
  'audit_entries.xid': `'1'::xid8`,
};

function countedOrNot(source: string, counted: string): string {
  return `CASE WHEN (SELECT ${counted} FROM rollup_watermarks w WHERE w.source = '${source}') THEN 0 ELSE 1 END::bigint`;
}

/** The columns of a table as they are read from the source. */
export function selectList({ name, columns }: CopiedTable): string {
  return columns.map((column) => rewrittenColumns[`${name}.${column}`] ?? escapeIdentifier(column)).join(', ');
}

/** What must be the same on both sides. */
export interface TableDigest {
  readonly rows: string;
  readonly digest: string | null;
}

/** A statement that tells how many rows a table has and, in whatever order they lie, what digests of them sum up to. */
export function digestOf({ name, columns }: CopiedTable): string {
  const told = columns.filter((column) => rewrittenColumns[`${name}.${column}`] === undefined).map(escapeIdentifier);
  const row = `convert_to(ROW(${told.join(', ')})::text, 'UTF8')`;
  return `SELECT count(*)::text AS "rows", sum(('x' || left(md5(${row}), 16))::bit(64)::bigint)::text AS digest
          FROM ${escapeIdentifier(name)}`;
}

/**
 * Our tables, each after those that it refers to. Others may lie beside them, such as those of extensions.
 * @throws Error when tables refer to each other in a circle
 */
export async function readTables(db: Queryable): Promise<CopiedTable[]> {
  const { rows } = await db.query<CopiedTable & { refersTo: string[] }>(
    `SELECT c.relname::text AS name,
       ARRAY(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
             ORDER BY a.attnum) AS columns,
       ARRAY(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attidentity <> '') AS numbered,
       ARRAY(SELECT DISTINCT f.confrelid::regclass::text FROM pg_constraint f
             WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.confrelid <> c.oid) AS "refersTo"
     FROM pg_class c
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
       AND c.relname = ANY ($1) ORDER BY 1`,
    [Object.keys(appPrivileges).filter((name) => !ownTables.includes(name))],
  );
  return inOrder(rows);
}

function inOrder(tables: readonly (CopiedTable & { readonly refersTo: readonly string[] })[]): CopiedTable[] {
  const ordered = new Map<string, CopiedTable>();
  while (ordered.size < tables.length) {
    const before = ordered.size;
    for (const table of tables)
      if (!ordered.has(table.name) && table.refersTo.every((name) => ordered.has(name))) ordered.set(table.name, table);
    if (ordered.size === before) {
      const left = tables.filter(({ name }) => !ordered.has(name)).map(({ name }) => name);
      throw new Error(`The tables ${left.join(', ')} refer to each other in a circle: no order of copying fits.`);
    }
  }
  return [...ordered.values()];
}
