import type { Pool } from 'pg';
import { appendAudit } from '../audit/append.ts';
import type { JsonValue } from '../audit/canonical-json.ts';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { budgetsPerProjectMax } from '../base/limits.ts';
import type { Principal } from '../identity/model.ts';
import { type Page, type PageRequest, readPage } from '../identity/page.ts';
import { requireProject } from '../identity/references.ts';
import { violates } from '../pg/errors.ts';
import { controlWrite } from '../pg/tx.ts';
import {
  checkBudgetName,
  checkConsistent,
  checkLimit,
  checkNewBudget,
  checkNotifyPercents,
  type NewBudget,
} from './budget-input.ts';
import {
  type BudgetRecord,
  countBudgets,
  findBudget,
  findBudgetByName,
  insertBudget,
  markBudgetDeleted,
  readCounters,
  selectBudgets,
  selectBudgetsOfRun,
  updateBudget,
} from './budget-store.ts';
import { calendarWindow } from './calendar.ts';
import type { Budget, BudgetMode } from './model.ts';
import { type PostingRecord, selectPostings } from './leases/postings-store.ts';
import { type NoticeRecord, selectNotices } from './notices-store.ts';
import { decimalText, remainingOf, runBudgetExceeded } from './refusal.ts';
import { type BudgetSubject, findMissingReference, readSelectorFacts, readSubjects } from './selector-store.ts';

export interface BudgetChange {
  readonly projectId: string;
  readonly id: string;
  /** What is undefined stays as it is. */
  readonly name: string | undefined;
  readonly limit: bigint | null | undefined;
  readonly mode: BudgetMode | undefined;
  readonly notifyPercents?: readonly number[] | undefined;
}

/** What a budget has used in its current window, in its unit. */
export interface Standing {
  readonly posted: bigint;
  readonly held: bigint;
  /** What of `held` processes leased. */
  readonly leased: bigint;
  /** Null where there is no limit. */
  readonly remaining: bigint | null;
  /** Epoch milliseconds; null when the window does not end by itself. */
  readonly resetsAt: number | null;
}

export interface BudgetStatus {
  readonly id: string;
  readonly budget: BudgetRecord;
  /** Null where there is no one window to speak of: each call, or each of many runs, has its own. */
  readonly standing: Standing | null;
  readonly subject: BudgetSubject;
}

/** How a caller says which budget it means. */
export type BudgetName = { readonly id: string } | { readonly name: string };

/** Makes, changes and shows budgets. A change of limit or mode decides from the next hold on, in every process. */
export class BudgetService {
  readonly #pool: Pool;
  readonly #databaseNow: () => number;

  /** @param databaseNow epoch milliseconds by the database's clock, which says what window it is */
  constructor(pool: Pool, databaseNow: () => number) {
    this.#pool = pool;
    this.#databaseNow = databaseNow;
  }

  /** @throws PortcullisError invalid_argument, not_found (project, or what the selector names), conflict (name taken, too many) */
  async create(
    by: Principal,
    requestId: string,
    request: NewBudget,
  ): Promise<{ result: BudgetRecord; version: bigint }> {
    const checked = checkNewBudget(request);
    const { projectId, selector } = checked;
    return this.#nameTaken(checked.name, () =>
      controlWrite(this.#pool, async (tx, version) => {
        await requireProject(tx, projectId);
        const missing = await findMissingReference(tx, projectId, selector);
        if (missing) throw notFound(missing.kind, missing.id);
        checkConsistent(selector, await readSelectorFacts(tx, selector));
        if ((await countBudgets(tx, projectId)) >= budgetsPerProjectMax) {
          throw new PortcullisError(
            'conflict',
            `A project has at most ${budgetsPerProjectMax} budgets: delete one first.`,
          );
        }
        const id = newId('bud');
        const budget = await insertBudget(tx, version, { ...checked, id, managedByPolicy: false, createdBy: by.id });
        await appendAudit(tx, {
          actor: { kind: by.kind, id: by.id },
          action: 'budget.created',
          target: id,
          projectId,
          requestId,
          payload: {
            ...changeable(budget),
            unit: budget.unit,
            window: budget.window,
            time_zone: budget.timeZone,
            selector: { ...selector },
          },
        });
        return budget;
      }),
    );
  }

  /** @throws PortcullisError invalid_argument, not_found, conflict (name taken, or a cap of the policy) */
  async update(
    by: Principal,
    requestId: string,
    change: BudgetChange,
  ): Promise<{ result: BudgetRecord; version: bigint }> {
    const { projectId, id } = change;
    const name = change.name === undefined ? undefined : checkBudgetName(change.name);
    return this.#nameTaken(name ?? '', () =>
      controlWrite(this.#pool, async (tx, version) => {
        const before = await findBudget(tx, projectId, id);
        if (!before) throw noBudget(id);
        requireOwn(before);
        const after: BudgetRecord = {
          ...before,
          name: name ?? before.name,
          limit: change.limit === undefined ? before.limit : checkLimit(change.limit, before),
          mode: change.mode ?? before.mode,
          notifyPercents: checkNotifyPercents(change.notifyPercents ?? before.notifyPercents, before),
        };
        await updateBudget(tx, version, after);
        await appendAudit(tx, {
          actor: { kind: by.kind, id: by.id },
          action: 'budget.updated',
          target: id,
          projectId,
          requestId,
          payload: { before: changeable(before), after: changeable(after) },
        });
        return after;
      }),
    );
  }

  /** Ends a budget: it counts no further call, and its name is free again. @throws PortcullisError not_found, conflict (a cap of the policy) */
  async delete(
    by: Principal,
    requestId: string,
    { projectId, id }: { readonly projectId: string; readonly id: string },
  ): Promise<{ result: BudgetRecord; version: bigint }> {
    return controlWrite(this.#pool, async (tx, version) => {
      const budget = await findBudget(tx, projectId, id);
      if (!budget) throw noBudget(id);
      requireOwn(budget);
      await markBudgetDeleted(tx, version, id);
      await appendAudit(tx, {
        actor: { kind: by.kind, id: by.id },
        action: 'budget.deleted',
        target: id,
        projectId,
        requestId,
        payload: { before: changeable(budget) },
      });
      return budget;
    });
  }

  /** @throws PortcullisError not_found */
  async get(projectId: string, named: BudgetName): Promise<BudgetStatus> {
    const budget =
      'id' in named
        ? await findBudget(this.#pool, projectId, named.id)
        : await findBudgetByName(this.#pool, projectId, named.name);
    const [status] = budget ? await this.#status([budget]) : [];
    if (!status) throw 'id' in named ? noBudget(named.id) : notFound('budget', named.name, '"');
    return status;
  }

  /**
   * Refuses a run none of whose calls could be let in. It holds nothing: each call asks for itself.
   * @throws PortcullisError budget_exceeded
   */
  async requireLeft(run: Parameters<typeof selectBudgetsOfRun>[1]): Promise<void> {
    const budgets = await selectBudgetsOfRun(this.#pool, run);
    const standings = await this.#standings(budgets);
    for (const budget of budgets) {
      const standing = standings.get(budget.id);
      // What is leased is given back when nobody uses it.
      if (budget.limit !== 0n && (standing?.remaining !== 0n || standing.leased > 0n)) continue;
      const { posted, held, leased, resetsAt } = standing ?? { posted: 0n, held: 0n, leased: 0n, resetsAt: null };
      const meter = { budget, posted, held, leased, accumulates: standing !== undefined, endsAt: resetsAt };
      throw runBudgetExceeded({ meter, amount: 1n, observed: posted + held, limit: budget.limit ?? 0n });
    }
  }

  /** Budgets of a project with what their current windows have used, newest first. @throws PortcullisError invalid_argument */
  list(projectId: string, page: PageRequest): Promise<Page<BudgetStatus>> {
    return readPage(page, async (beforeId, limit) =>
      this.#status(await selectBudgets(this.#pool, projectId, beforeId, limit)),
    );
  }

  /**
   * Notices of a project, or of one of its budgets, newest first.
   * @param budgetId null for all budgets; a deleted one too
   * @throws PortcullisError invalid_argument
   */
  notices(projectId: string, budgetId: string | null, page: PageRequest): Promise<Page<NoticeRecord>> {
    return readPage(page, (beforeId, limit) => selectNotices(this.#pool, projectId, budgetId, beforeId, limit));
  }

  /**
   * What was posted for processes that went silent with leases, of a project or one of its budgets, newest first.
   * @param budgetId null for all budgets; a deleted one too
   * @throws PortcullisError invalid_argument
   */
  postings(projectId: string, budgetId: string | null, page: PageRequest): Promise<Page<PostingRecord>> {
    return readPage(page, (beforeId, limit) => selectPostings(this.#pool, projectId, budgetId, beforeId, limit));
  }

  async #status(budgets: readonly BudgetRecord[]): Promise<BudgetStatus[]> {
    const standings = await this.#standings(budgets);
    const subjects = await readSubjects(
      this.#pool,
      budgets.map(({ id }) => id),
    );
    return budgets.map((budget) => ({
      id: budget.id,
      budget,
      standing: standings.get(budget.id) ?? null,
      subject: subjects.get(budget.id) ?? { agentName: null, personName: null, teamName: null, idleReason: null },
    }));
  }

  /** By budget; absent where there is no one window to speak of. */
  async #standings(budgets: readonly BudgetRecord[]): Promise<Map<string, Standing>> {
    const now = this.#databaseNow();
    const windows = new Map(budgets.map((budget) => [budget.id, currentWindow(budget, now)]));
    const keys = budgets.flatMap(({ id }) => {
      const window = windows.get(id);
      return window ? [{ budgetId: id, windowKey: window.key }] : [];
    });
    const counters = await readCounters(this.#pool, keys);
    return new Map(
      budgets.flatMap(({ id, limit }) => {
        const window = windows.get(id);
        if (!window) return [];
        const { posted, held, leased } = counters.get(id) ?? { posted: 0n, held: 0n, leased: 0n };
        const remaining = limit === null ? null : remainingOf(limit, posted + held);
        return [[id, { posted, held, leased, remaining, resetsAt: window.endsAt }]];
      }),
    );
  }

  async #nameTaken<T>(name: string, write: () => Promise<T>): Promise<T> {
    try {
      return await write();
    } catch (error) {
      if (!violates(error, 'budgets_name')) throw error;
      throw new PortcullisError('conflict', `There is a budget "${name}" in this project already.`, { cause: error });
    }
  }
}

function currentWindow(budget: Budget, now: number): { readonly key: string; readonly endsAt: number | null } | null {
  const { window, timeZone, selector } = budget;
  if (window === 'attempt') return null;
  if (window === 'lifetime') return { key: 'lifetime', endsAt: null };
  if (window === 'run') return selector.runId === null ? null : { key: selector.runId, endsAt: null };
  return calendarWindow(window, timeZone, now);
}

function changeable(budget: BudgetRecord): { readonly [name: string]: JsonValue } {
  const { name, limit, mode, unit, notifyPercents } = budget;
  return { name, mode, limit: limit === null ? null : decimalText(unit, limit), notify_percents: [...notifyPercents] };
}

/** @throws PortcullisError conflict */
function requireOwn({ name, managedByPolicy }: BudgetRecord): void {
  if (!managedByPolicy) return;
  throw new PortcullisError(
    'conflict',
    `The budget "${name}" is a cap of the policy: change the policy, as by \`portcullis policy caps\`.`,
  );
}

function noBudget(id: string): PortcullisError {
  return notFound('budget', id);
}

function notFound(kind: string, name: string, quote = ''): PortcullisError {
  return new PortcullisError('not_found', `There is no ${kind} ${quote}${name.slice(0, 100)}${quote} in this project.`);
}
