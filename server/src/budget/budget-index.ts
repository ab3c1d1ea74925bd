import type { ControlPart } from '../pg/control-feed.ts';
import type { Queryable } from '../pg/tx.ts';
import { loadBudgets } from './budget-store.ts';
import type { Budget, BudgetSelector, Spender } from './model.ts';
import { counts } from './rules.ts';

/**
 * All budgets in memory, to know which ones count a call. What decides about it, limit and mode, is read from the
 * database under lock.
 */
export class BudgetIndex implements ControlPart {
  readonly name = 'budgets';
  readonly #byId = new Map<string, Budget>();
  /**
   * By project, and within under the one place of each budget: the principal, team or run that it is for, and what of a call it
   * is for. A call looks at the few places that it can be in, however many budgets there are.
   */
  readonly #places = new Map<string, Map<string, Budget[]>>();

  async load(db: Queryable, since: bigint): Promise<() => void> {
    const changed = await loadBudgets(db, since);
    return () => {
      for (const { budget, deleted } of changed) {
        this.#remove(budget.id);
        if (!deleted) this.#add(budget);
      }
    };
  }

  /** Every budget that counts the calls of `spender`, in no particular order. */
  matching(spender: Spender): Budget[] {
    const places = this.#places.get(spender.projectId);
    const found: Budget[] = [];
    if (!places) return found;
    const { runId, keyId, agentId, personId, teams, model, workflow, provider } = spender;
    const details = ['', `m${model}`, workflow === null ? null : `w${workflow}`, `p${provider}`];
    for (const subject of ['', runId, keyId, agentId, personId, ...teams]) {
      if (subject === null) continue;
      for (const detail of details) {
        if (detail === null) continue;
        for (const budget of places.get(`${subject} ${detail}`) ?? []) if (counts(budget, spender)) found.push(budget);
      }
    }
    return found;
  }

  #add(budget: Budget): void {
    this.#byId.set(budget.id, budget);
    const places = this.#places.get(budget.projectId) ?? new Map<string, Budget[]>();
    this.#places.set(budget.projectId, places);
    const place = placeOf(budget.selector);
    const there = places.get(place);
    if (there) there.push(budget);
    else places.set(place, [budget]);
  }

  #remove(id: string): void {
    const budget = this.#byId.get(id);
    if (!budget) return;
    this.#byId.delete(id);
    const places = this.#places.get(budget.projectId);
    const place = placeOf(budget.selector);
    const rest = places?.get(place)?.filter((other) => other !== budget) ?? [];
    if (rest.length > 0) places?.set(place, rest);
    else places?.delete(place);
  }
}

/** One of those in which `matching` looks for every call that the selector can match. No subject contains a blank. */
function placeOf({ runId, keyId, agentId, personId, teamId, model, workflow, provider }: BudgetSelector): string {
  const subject = runId ?? keyId ?? agentId ?? personId ?? teamId ?? '';
  if (model !== null && !model.includes('*')) return `${subject} m${model}`;
  if (workflow !== null) return `${subject} w${workflow}`;
  return provider === null ? `${subject} ` : `${subject} p${provider}`;
}
