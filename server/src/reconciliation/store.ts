import type { Queryable, Tx } from '../pg/tx.ts';
import type {
  BilledFigure,
  BillImport,
  BillSource,
  Booked,
  MatchedModel,
  MatchState,
  ProviderDay,
  ReconciledDay,
} from './model.ts';

/** Lets one import or matching at a time have a provider, until the transaction ends. Several are taken in one order by all. */
export async function lockProviders(tx: Tx, providers: readonly string[]): Promise<void> {
  for (const provider of [...new Set(providers)].toSorted()) {
    await tx.query(`SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, [`reconciliation ${provider}`]);
  }
}

interface FigureRow {
  readonly provider: string;
  readonly day: string;
  readonly model: string;
  readonly costUsd: bigint | null;
  readonly tokensInput: bigint | null;
  readonly tokensOutput: bigint | null;
}

/** The figures in force of these days. */
export async function currentFigures(db: Queryable, days: readonly ProviderDay[]): Promise<BilledFigure[]> {
  const { rows } = await db.query<FigureRow>(
    `SELECT DISTINCT ON (provider, day, model) provider, day::text, model, cost_nanousd AS "costUsd",
            tokens_input AS "tokensInput", tokens_output AS "tokensOutput"
     FROM billed_figures JOIN unnest($1::text[], $2::date[]) AS wanted (provider, day) USING (provider, day)
     ORDER BY provider, day, model, version DESC`,
    [days.map(({ provider }) => provider), days.map(({ day }) => day)],
  );
  return rows;
}

/** Adds the next version of each figure. */
export async function insertFigures(tx: Tx, importId: string, figures: readonly BilledFigure[]): Promise<void> {
  await tx.query(
    `INSERT INTO billed_figures (provider, day, model, version, cost_nanousd, tokens_input, tokens_output, import_id)
     SELECT f.provider, f.day, f.model,
            (SELECT coalesce(max(b.version), 0) + 1 FROM billed_figures b
             WHERE b.provider = f.provider AND b.day = f.day AND b.model = f.model),
            f.cost, f.input, f.output, $7
     FROM unnest($1::text[], $2::date[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[])
       AS f (provider, day, model, cost, input, output)`,
    [
      figures.map(({ provider }) => provider),
      figures.map(({ day }) => day),
      figures.map(({ model }) => model),
      figures.map(({ costUsd }) => costUsd),
      figures.map(({ tokensInput }) => tokensInput),
      figures.map(({ tokensOutput }) => tokensOutput),
      importId,
    ],
  );
}

/** Says of which days an import tells something. */
export async function insertBilledDays(
  tx: Tx,
  importId: string,
  days: readonly (ProviderDay & { readonly costs: boolean })[],
): Promise<void> {
  await tx.query(
    `INSERT INTO billed_days (provider, day, import_id, costs) SELECT provider, day, $4, costs
     FROM unnest($1::text[], $2::date[], $3::boolean[]) AS d (provider, day, costs)`,
    [days.map(({ provider }) => provider), days.map(({ day }) => day), days.map(({ costs }) => costs), importId],
  );
}

/** The days of a time of which an import told something, oldest first; null is any provider. */
export async function billedDays(
  db: Queryable,
  provider: string | null,
  firstDay: string,
  lastDay: string,
): Promise<ProviderDay[]> {
  const { rows } = await db.query<ProviderDay>(
    `SELECT DISTINCT provider, day::text FROM billed_days
     WHERE ($1::text IS NULL OR provider = $1) AND day BETWEEN $2 AND $3 ORDER BY day, provider`,
    [provider, firstDay, lastDay],
  );
  return rows;
}

/** What the imports of a day say of it as a whole. */
export interface KnownBill extends ProviderDay {
  /** Whether one told what the day cost. */
  readonly costs: boolean;
  /** The project that the newest one declared. */
  readonly projectId: string | null;
}

export async function knownBills(db: Queryable, days: readonly ProviderDay[]): Promise<KnownBill[]> {
  const { rows } = await db.query<KnownBill>(
    `SELECT provider, day::text, bool_or(b.costs) AS costs,
            (array_agg(i.project_id ORDER BY i.imported_at DESC, i.id DESC))[1] AS "projectId"
     FROM billed_days b JOIN unnest($1::text[], $2::date[]) AS wanted (provider, day) USING (provider, day)
     JOIN bill_imports i ON i.id = b.import_id GROUP BY provider, b.day, day`,
    [days.map(({ provider }) => provider), days.map(({ day }) => day)],
  );
  return rows;
}

/** Which of these days the ledger has dropped. */
export async function droppedDays(db: Queryable, days: readonly ProviderDay[]): Promise<ReadonlySet<string>> {
  const { rows } = await db.query<{ day: string }>(
    `SELECT DISTINCT day::text FROM ledger_dropped_days WHERE day = ANY ($1::date[])`,
    [[...new Set(days.map(({ day }) => day))]],
  );
  return new Set(rows.map(({ day }) => day));
}

// The rows of the ledger from day $2 to day $3. Ids are made when attempts start (base/ids.ts): by them the database leaves
// days out. A call may last.
const ofDays = `id >= ledger_day_start($2::date - 1) AND id < ledger_day_start($3::date + 2)
  AND started_at >= $2::date::timestamp AT TIME ZONE 'UTC' AND started_at < ($3::date + 1)::timestamp AT TIME ZONE 'UTC'`;

/** Which of these providers the ledger has attempts of, from a day to a day, both included. */
export async function bookedProviders(
  db: Queryable,
  providers: readonly string[],
  firstDay: string,
  lastDay: string,
): Promise<string[]> {
  const { rows } = await db.query<{ provider: string }>(
    `SELECT provider FROM unnest($1::text[]) AS wanted (provider)
     WHERE EXISTS (SELECT FROM attempts WHERE attempts.provider = wanted.provider AND ${ofDays})`,
    [providers, firstDay, lastDay],
  );
  return rows.map(({ provider }) => provider);
}

/**
 * What the ledger holds of a provider from a day to a day, both included: by day, model and project. What was corrected has
 * the provenance of its last correction, as in sums of usage.
 */
export async function bookedOf(db: Queryable, provider: string, firstDay: string, lastDay: string): Promise<Booked[]> {
  const { rows } = await db.query<Booked>(
    `SELECT provider, (started_at AT TIME ZONE 'UTC')::date::text AS day,
            coalesce(model_served, model_asked, '(none)') AS model, project_id AS "projectId",
            count(*) FILTER (WHERE corrects IS NULL) AS attempts,
            sum(cost_nanousd)::bigint AS "costUsd",
            coalesce(sum(cost_nanousd) FILTER (WHERE coalesce(c.provenance, a.provenance) = 'estimated'), 0)::bigint
              AS "estimatedUsd",
            sum(tokens_input + tokens_output + tokens_cache_read + tokens_cache_write_5m + tokens_cache_write_1h)::bigint
              AS tokens
     FROM (SELECT * FROM attempts WHERE provider = $1 AND ${ofDays}) AS a
     LEFT JOIN (
       SELECT DISTINCT ON (id) id, provenance FROM attempts
       WHERE provider = $1 AND corrects IS NOT NULL AND ${ofDays} ORDER BY id, row_no DESC
     ) AS c USING (id)
     GROUP BY 1, 2, 3, 4`,
    [provider, firstDay, lastDay],
  );
  return rows;
}

interface ImportRow {
  readonly id: string;
  readonly source: BillSource;
  readonly digest: Buffer;
  readonly project_id: string | null;
  readonly providers: readonly string[];
  readonly first_day: string;
  readonly last_day: string;
  readonly figures: number;
  readonly changed: number;
  readonly imported_by: string;
  readonly imported_at: Date;
}

const importColumns = `id, source, digest, project_id, providers, first_day::text, last_day::text, figures, changed,
  imported_by, imported_at`;

function importOf(row: ImportRow): BillImport {
  return {
    id: row.id,
    source: row.source,
    digest: row.digest,
    projectId: row.project_id,
    providers: row.providers,
    firstDay: row.first_day,
    lastDay: row.last_day,
    figures: row.figures,
    changed: row.changed,
    importedBy: row.imported_by,
    importedAt: row.imported_at.getTime(),
  };
}

export async function insertImport(tx: Tx, made: Omit<BillImport, 'importedAt'>): Promise<BillImport> {
  const { rows } = await tx.query<ImportRow>(
    `INSERT INTO bill_imports (id, source, digest, project_id, providers, first_day, last_day, figures, changed, imported_by)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING ${importColumns}`,
    [
      made.id,
      made.source,
      made.digest,
      made.projectId,
      made.providers,
      made.firstDay,
      made.lastDay,
      made.figures,
      made.changed,
      made.importedBy,
    ],
  );
  const [row] = rows;
  if (!row) throw new Error('INSERT … RETURNING gave no row');
  return importOf(row);
}

/** The newest import of this content. */
export async function findImport(db: Queryable, digest: Buffer): Promise<BillImport | null> {
  const { rows } = await db.query<ImportRow>(
    `SELECT ${importColumns} FROM bill_imports WHERE digest = $1 ORDER BY imported_at DESC, id DESC LIMIT 1`,
    [digest],
  );
  return rows[0] ? importOf(rows[0]) : null;
}

/** Newest first, from below `beforeId` (null: from the newest). */
export async function selectImports(db: Queryable, beforeId: string | null, limit: number): Promise<BillImport[]> {
  const { rows } = await db.query<ImportRow>(
    `SELECT ${importColumns} FROM bill_imports WHERE $1::text IS NULL OR id < $1 ORDER BY id DESC LIMIT $2`,
    [beforeId, limit],
  );
  return rows.map(importOf);
}

interface ReconciledRow {
  readonly provider: string;
  readonly day: string;
  readonly model: string;
  readonly billed_models: readonly string[];
  readonly booked_models: readonly string[];
  readonly state: MatchState;
  readonly billed_nanousd: bigint | null;
  readonly booked_nanousd: bigint;
  readonly estimated_nanousd: bigint;
  readonly unexplained_nanousd: bigint;
  readonly billed_tokens: bigint | null;
  readonly booked_tokens: bigint;
  readonly project_id: string;
  readonly booked_by: Readonly<Record<string, readonly string[]>>;
}

const reconciledColumns = `provider, day::text, model, billed_models, booked_models, state, billed_nanousd, booked_nanousd,
  estimated_nanousd, unexplained_nanousd, billed_tokens, booked_tokens, project_id, booked_by`;

function reconciledOf(row: ReconciledRow): ReconciledDay {
  return {
    provider: row.provider,
    day: row.day,
    model: row.model,
    billedModels: row.billed_models,
    bookedModels: row.booked_models,
    state: row.state,
    billedUsd: row.billed_nanousd,
    bookedUsd: row.booked_nanousd,
    estimatedUsd: row.estimated_nanousd,
    unexplainedUsd: row.unexplained_nanousd,
    billedTokens: row.billed_tokens,
    bookedTokens: row.booked_tokens,
    projectId: row.project_id,
    bookedBy: row.booked_by,
  };
}

/** What days were last found to be. */
export async function currentMatches(db: Queryable, days: readonly ProviderDay[]): Promise<ReconciledDay[]> {
  const { rows } = await db.query<ReconciledRow>(
    `SELECT ${reconciledColumns} FROM current_reconciled_days
     JOIN unnest($1::text[], $2::date[]) AS wanted (provider, day) USING (provider, day)`,
    [days.map(({ provider }) => provider), days.map(({ day }) => day)],
  );
  return rows.map(reconciledOf);
}

/** Adds the next matching of a day: all its rows. */
export async function insertMatches(
  tx: Tx,
  { provider, day, projectId, matchedBy }: ProviderDay & { readonly projectId: string; readonly matchedBy: string },
  rows: readonly MatchedModel[],
): Promise<void> {
  await tx.query(
    `INSERT INTO reconciled_days (provider, day, version, model, billed_models, booked_models, state, billed_nanousd,
       booked_nanousd, estimated_nanousd, unexplained_nanousd, billed_tokens, booked_tokens, project_id, booked_by,
       matched_by)
     SELECT $1, $2, (SELECT coalesce(max(version), 0) + 1 FROM reconciled_days WHERE provider = $1 AND day = $2), r.model,
       ARRAY(SELECT json_array_elements_text(r.billed_models)), ARRAY(SELECT json_array_elements_text(r.booked_models)),
       r.state, r.billed, r.booked, r.estimated, r.unexplained, r.billed_tokens, r.booked_tokens, $3, r.booked_by, $4
     FROM json_to_recordset($5) AS r (model text, billed_models json, booked_models json, state text, billed bigint,
       booked bigint, estimated bigint, unexplained bigint, billed_tokens bigint, booked_tokens bigint, booked_by jsonb)`,
    [
      provider,
      day,
      projectId,
      matchedBy,
      JSON.stringify(
        rows.map((row) => ({
          model: row.model,
          billed_models: row.billedModels,
          booked_models: row.bookedModels,
          state: row.state,
          billed: row.billedUsd?.toString(),
          booked: row.bookedUsd.toString(),
          estimated: row.estimatedUsd.toString(),
          unexplained: row.unexplainedUsd.toString(),
          billed_tokens: row.billedTokens?.toString(),
          booked_tokens: row.bookedTokens.toString(),
          booked_by: row.bookedBy,
        })),
      ),
    ],
  );
}

/** Which matched models are meant; null is any. */
export interface MatchFilter {
  readonly provider: string | null;
  readonly firstDay: string | null;
  readonly lastDay: string | null;
  readonly state: MatchState | null;
  /** Of which attempts of this project were booked, or unexplained spend is the project's. */
  readonly projectId: string | null;
}

/** A place in a list of matched models. */
export type MatchPlace = readonly [day: string, provider: string, model: string];

/** Newest days first, from below `before` (null: from the newest). */
export async function selectMatches(
  db: Queryable,
  filter: MatchFilter,
  before: MatchPlace | null,
  limit: number,
): Promise<ReconciledDay[]> {
  const { rows } = await db.query<ReconciledRow>(
    `SELECT ${reconciledColumns} FROM current_reconciled_days
     WHERE ($1::text IS NULL OR provider = $1) AND ($2::date IS NULL OR day >= $2) AND ($3::date IS NULL OR day <= $3)
       AND ($4::text IS NULL OR state = $4)
       AND ($5::text IS NULL OR booked_by ? $5 OR (project_id = $5 AND unexplained_nanousd > 0))
       AND ($6::date IS NULL OR (current_reconciled_days.day, provider, model) < ($6, $7, $8))
     ORDER BY current_reconciled_days.day DESC, provider DESC, model DESC LIMIT $9`,
    [
      filter.provider,
      filter.firstDay,
      filter.lastDay,
      filter.state,
      filter.projectId,
      before?.[0] ?? null,
      before?.[1] ?? null,
      before?.[2] ?? null,
      limit,
    ],
  );
  return rows.map(reconciledOf);
}
