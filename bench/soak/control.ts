/** The few control calls that the soak needs, as Connect JSON. */
export class Control {
  readonly #url: string;
  readonly #key: string;

  constructor(url: string, key: string) {
    this.#url = url;
    this.#key = key;
  }

  /** A budget that counts every call and refuses none. */
  async createBudget(name: string, unit: 'USD' | 'REQUESTS'): Promise<void> {
    await this.#post('BudgetService/CreateBudget', {
      name,
      unit: `BUDGET_UNIT_${unit}`,
      window: 'BUDGET_WINDOW_LIFETIME',
      limitAmount: String(10n ** 18n),
    });
  }

  /** What the budgets hold now, and have spent: by the budget's name, in its unit. */
  async standings(): Promise<Map<string, { readonly held: bigint; readonly used: bigint }>> {
    const { budgets = [] } = (await this.#post('BudgetService/ListBudgets', {})) as {
      budgets?: { budget: { name: string }; standing?: { heldAmount?: string; postedAmount?: string } }[];
    };
    return new Map(
      budgets.map(({ budget, standing }) => [
        budget.name,
        { held: BigInt(standing?.heldAmount ?? 0), used: BigInt(standing?.postedAmount ?? 0) },
      ]),
    );
  }

  async #post(method: string, body: unknown): Promise<unknown> {
    const response = await fetch(`${this.#url}/portcullis.v1.${method}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${this.#key}` },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${method} was answered with ${response.status}: ${await response.text()}`);
    return response.json();
  }
}
