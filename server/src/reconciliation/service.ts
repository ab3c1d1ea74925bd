import type { Pool } from 'pg';
import { type Actor, appendAudit } from '../audit/append.ts';
import type { Clock } from '../base/clock.ts';
import { digestOf } from '../base/digest.ts';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import type { Logger } from '../base/log.ts';
import { billDaysMax, nameCharsMax } from '../base/limits.ts';
import { checkLine, invalid } from '../identity/input.ts';
import type { Principal } from '../identity/model.ts';
import { type Page, type PageRequest, readPage } from '../identity/page.ts';
import { findProject } from '../identity/project-store.ts';
import { inTransaction, type Tx } from '../pg/tx.ts';
import { dayAfter, dayOf } from './calendar-day.ts';
import { checkBill, checkDay, checkTolerance } from './input.ts';
import { type Matched, matchDays } from './matching.ts';
import type {
  Bill,
  BilledFigure,
  BillImport,
  BillSource,
  MatchState,
  ProviderDay,
  ReconciledDay,
  Tolerance,
} from './model.ts';
import { changedFigures, countedTwice, dayKey } from './rules.ts';
import {
  billedDays,
  bookedProviders,
  currentFigures,
  findImport,
  insertBilledDays,
  insertFigures,
  insertImport,
  knownBills,
  lockProviders,
  type MatchFilter,
  type MatchPlace,
  selectImports,
  selectMatches,
} from './store.ts';

/** What the service tells besides its answers. */
export interface ReconciliationReports {
  readonly log: Pick<Logger, 'warn'>;
  /** A model of a day was matched, and this came of it. */
  readonly onMatched: (state: MatchState) => void;
}

export interface ImportRequest extends Bill {
  readonly source: BillSource;
  /** To which project unexplained spend goes; null is found from the attempts. */
  readonly projectId: string | null;
  readonly tolerance: Partial<Tolerance>;
  /** Takes also what neither the configuration nor the ledger has heard of, instead of refusing it as a slip. */
  readonly allowUnknownProviders: boolean;
}

export interface ImportAnswer extends Matched {
  readonly billImport: BillImport;
  /** True where it said nothing new, and nothing was written. */
  readonly repeated: boolean;
}

/** Bills of providers, and how they agree with the ledger. They are of the installation: who may ask is for the API to check. */
export class ReconciliationService {
  readonly #pool: Pool;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #reports: ReconciliationReports;
  readonly #isConfigured: (provider: string) => boolean;

  constructor(
    pool: Pool,
    clock: Pick<Clock, 'now'>,
    reports: ReconciliationReports,
    isConfigured: (provider: string) => boolean,
  ) {
    this.#pool = pool;
    this.#clock = clock;
    this.#reports = reports;
    this.#isConfigured = isConfigured;
  }

  /**
   * Takes over figures of bills, whole or not at all, and matches their days. What was known before stays as history. The
   * same again changes nothing.
   * @throws PortcullisError invalid_argument, not_found (the project)
   */
  async importBill(by: Principal, requestId: string, request: ImportRequest): Promise<ImportAnswer> {
    const { source, projectId } = request;
    const tolerance = checkTolerance(request.tolerance);
    const bill = checkBill(request, dayOf(this.#clock.now()));
    const days = daysOf(bill);
    const withCosts = new Set(
      [...bill.figures.filter(({ costUsd }) => costUsd !== null), ...bill.wholeDays].map(dayKey),
    );
    const digest = digestOfBill(source, projectId, bill);
    const actor = actorOf(by);
    const answer = await inTransaction(this.#pool, async (tx) => {
      await lockProviders(
        tx,
        days.map(({ provider }) => provider),
      );
      if (projectId !== null && !(await findProject(tx, projectId))) {
        throw new PortcullisError('not_found', `There is no project "${projectId.slice(0, 100)}".`, {
          param: 'project_id',
        });
      }
      if (!request.allowUnknownProviders) await this.#checkProviders(tx, days);
      const known = await currentFigures(tx, days);
      const wholeDays = new Set(bill.wholeDays.map(dayKey));
      checkNames(known, bill.figures, wholeDays);
      const changed = changedFigures(known, bill.figures, wholeDays);
      const declared = (await knownBills(tx, days)).every((bill) => bill.projectId === projectId);
      const before = changed.length === 0 && declared ? await findImport(tx, digest) : null;
      const draft = {
        id: newId('imp'),
        source,
        digest,
        projectId,
        providers: [...new Set(days.map(({ provider }) => provider))].toSorted(),
        firstDay: days[0]?.day ?? '',
        lastDay: days.at(-1)?.day ?? '',
        figures: bill.figures.length,
        changed: changed.length,
        importedBy: by.id,
      };
      const billImport = before ?? (await insertImport(tx, draft));
      if (before === null) {
        await insertFigures(tx, draft.id, changed);
        const billed = days.map((day) => ({ ...day, costs: withCosts.has(dayKey(day)) }));
        await insertBilledDays(tx, draft.id, billed);
        await auditImport(tx, draft, actor, requestId);
      }
      return { billImport, repeated: before !== null, ...(await matchDays(tx, days, { tolerance, actor, requestId })) };
    });
    this.#tell(answer);
    return answer;
  }

  /**
   * Matches days again with what the ledger holds by now: of those whose bill is known.
   * @param request null is any provider; days are included
   * @throws PortcullisError invalid_argument
   */
  async match(
    by: Principal,
    requestId: string,
    request: {
      readonly provider: string | null;
      readonly firstDay: string;
      readonly lastDay: string;
      readonly tolerance: Partial<Tolerance>;
    },
  ): Promise<Matched> {
    const tolerance = checkTolerance(request.tolerance);
    const provider = request.provider === null ? null : checkLine('provider', request.provider, 1, nameCharsMax);
    const firstDay = checkDay('first_day', request.firstDay);
    const lastDay = checkDay('last_day', request.lastDay);
    if (firstDay > lastDay || dayAfter(firstDay, billDaysMax) <= lastDay) {
      throw invalid('last_day', `last_day must be first_day or one of the ${billDaysMax - 1} days after it.`);
    }
    const actor = actorOf(by);
    const matched = await inTransaction(this.#pool, async (tx) => {
      const days = await billedDays(tx, provider, firstDay, lastDay);
      await lockProviders(
        tx,
        days.map((day) => day.provider),
      );
      return matchDays(tx, days, { tolerance, actor, requestId });
    });
    this.#tell(matched);
    return matched;
  }

  /** Imports, newest first. @throws PortcullisError invalid_argument */
  listImports(page: PageRequest): Promise<Page<BillImport>> {
    return readPage(page, (beforeId, limit) => selectImports(this.#pool, beforeId, limit));
  }

  /** Matched models, newest days first. @throws PortcullisError invalid_argument */
  async listMatches(filter: MatchFilter, page: PageRequest): Promise<Page<ReconciledDay>> {
    if (filter.firstDay !== null) checkDay('first_day', filter.firstDay);
    if (filter.lastDay !== null) checkDay('last_day', filter.lastDay);
    return readPage(page, async (cursor, limit) => {
      const rows = await selectMatches(this.#pool, filter, cursor === null ? null : placeOf(cursor), limit);
      return rows.map((row) => ({ ...row, id: JSON.stringify([row.day, row.provider, row.model]) }));
    });
  }

  /** A slip in a name would make money of it that nobody can explain. */
  async #checkProviders(tx: Tx, days: readonly ProviderDay[]): Promise<void> {
    const providers = [...new Set(days.map(({ provider }) => provider))].filter((name) => !this.#isConfigured(name));
    const booked = await bookedProviders(tx, providers, days[0]?.day ?? '', days.at(-1)?.day ?? '');
    const [unknown] = providers.filter((name) => !booked.includes(name));
    if (unknown === undefined) return;
    throw invalid(
      'provider',
      `There is no provider "${unknown}" in the configuration, nor in the ledger on the days of this bill: correct the name, or import with allow_unknown_providers (--force).`,
    );
  }

  #tell({ rows, days }: Matched): void {
    const drifted = rows.filter(({ state }) => state === 'drifted');
    for (const { state } of rows) this.#reports.onMatched(state);
    if (drifted.length === 0) return;
    const unexplained = drifted.reduce((sum, { unexplainedUsd }) => sum + unexplainedUsd, 0n);
    this.#reports.log.warn(
      { drifted: drifted.length, days, unexplained_nanousd: unexplained.toString() },
      'bills differ from the ledger by more than is tolerated',
    );
  }
}

/** The days that a bill is about, oldest first. */
async function auditImport(
  tx: Tx,
  { id, source, digest, projectId, providers, firstDay, lastDay, figures, changed }: Parameters<typeof insertImport>[1],
  actor: ReturnType<typeof actorOf>,
  requestId: string,
): Promise<void> {
  await appendAudit(tx, {
    actor,
    action: 'bill.imported',
    target: id,
    projectId,
    requestId,
    payload: {
      source,
      sha256: digest.toString('hex'),
      providers: [...providers],
      first_day: firstDay,
      last_day: lastDay,
      figures,
      changed,
    },
  });
}

function daysOf({ figures, wholeDays }: Bill): ProviderDay[] {
  const days = new Map(
    [...figures, ...wholeDays].map(({ provider, day }) => [dayKey({ provider, day }), { provider, day }]),
  );
  return [...days.values()].toSorted((one, other) => (one.day < other.day ? -1 : one.day > other.day ? 1 : 0));
}

function checkNames(
  known: readonly BilledFigure[],
  told: readonly BilledFigure[],
  wholeDays: ReadonlySet<string>,
): void {
  const twice = countedTwice(known, told, wholeDays);
  if (twice === null) return;
  const { model, day } = twice.told;
  throw invalid(
    'figures',
    `${model} on ${day} is known already as ${twice.known.model}, and would be counted twice: import it under that name.`,
  );
}

/** The same content in any order has one digest. */
function digestOfBill(source: BillSource, projectId: string | null, { figures, wholeDays }: Bill): Buffer {
  const lines = figures.map(({ provider, day, model, costUsd, tokensInput, tokensOutput }) =>
    JSON.stringify([provider, day, model, ...[costUsd, tokensInput, tokensOutput].map((amount) => amount?.toString())]),
  );
  return digestOf([source, projectId, ...lines.toSorted(), null, ...wholeDays.map(dayKey).toSorted()]);
}

function actorOf({ kind, id }: Principal): Actor {
  return { kind, id };
}

function placeOf(cursor: string): MatchPlace {
  return JSON.parse(cursor) as MatchPlace;
}
