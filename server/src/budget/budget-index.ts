import type { ControlPart } from '../pg/control-feed.ts';
import type { Queryable } from '../pg/tx.ts';
import { loadBudgets } from './budget-store.ts';
import type { Budget, Spender } from './model.ts';
import { counts } from './rules.ts';

/**
 * All budgets in memory, to know which ones count a call. What decides about it, limit and mode, is read from the
 * database under lock.
 */
export class BudgetIndex implements ControlPart {
  readonly name = 'budgets';
  readonly #byId = new Map<string, Budget>();
  /** By project, and within by the one principal or run that a budget is for ('' is none), so that a call looks at few. */
  #bySubject = new Map<string, Map<string, Budget[]>>();

  async load(db: Queryable, since: bigint): Promise<() => void> {
    const changed = await loadBudgets(db, since);
    return () => {
      for (const { budget, deleted } of changed) {
        if (deleted) this.#byId.delete(budget.id);
        else this.#byId.set(budget.id, budget);
      }
      if (changed.length > 0) this.#arrange();
    };
  }

  /** Every budget that counts the calls of `spender`. */
  matching(spender: Spender): Budget[] {
    const subjects = this.#bySubject.get(spender.projectId);
    if (!subjects) return [];
    return ['', spender.runId, spender.keyId, spender.agentId, spender.personId].flatMap((subject) =>
      subject === null ? [] : (subjects.get(subject) ?? []).filter((budget) => counts(budget, spender)),
    );
  }

  #arrange(): void {
    this.#bySubject = new Map();
    for (const budget of this.#byId.values()) {
      const { runId, keyId, agentId, personId } = budget.selector;
      const subject = runId ?? keyId ?? agentId ?? personId ?? '';
      let subjects = this.#bySubject.get(budget.projectId);
      if (!subjects) this.#bySubject.set(budget.projectId, (subjects = new Map<string, Budget[]>()));
      const budgets = subjects.get(subject);
      if (budgets) budgets.push(budget);
      else subjects.set(subject, [budget]);
    }
  }
}
