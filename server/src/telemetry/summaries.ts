import type { Pool } from 'pg';
import type { Clock } from '../base/clock.ts';
import { PortcullisError } from '../base/errors.ts';
import { summariesMax, summariesPerCallerMax } from '../base/telemetry-limits.ts';
import { findAgent } from '../identity/agent-store.ts';
import { invalid } from '../identity/input.ts';
import type { Principal } from '../identity/model.ts';
import { requireProject } from '../identity/references.ts';
import { summarize, type Summary } from './summary.ts';
import type { SummaryFilter, SummaryGroup } from './summary-store.ts';
import { bucketMs, type Window } from './summary-window.ts';
import { Turns } from './turns.ts';

/** Makes summaries for callers, few at once: a long one reads many rows, and takes a connection that others need. */
export class Summaries {
  readonly #pool: Pool;
  readonly #clock: Clock;
  readonly #turns = new Turns(summariesMax, summariesPerCallerMax);

  constructor(pool: Pool, clock: Clock) {
    this.#pool = pool;
    this.#clock = clock;
  }

  /**
   * As `summarize`, when it is the caller's turn.
   * @throws PortcullisError not_found (the project, the agent), invalid_argument
   */
  async get(
    { id: by }: Principal,
    filter: SummaryFilter,
    asked: Window,
    group: SummaryGroup | null,
    limit: number,
  ): Promise<Summary> {
    if (asked.to > this.#clock.now() + bucketMs.day) {
      throw invalid('end_time', 'end_time must not be more than a day ahead.');
    }
    const { projectId, agentId } = filter;
    await requireProject(this.#pool, projectId);
    if (agentId !== null && !(await findAgent(this.#pool, projectId, agentId))) {
      throw new PortcullisError('not_found', `There is no agent ${agentId} in this project.`);
    }
    return this.#turns.run(by, () => summarize(this.#pool, filter, asked, group, limit));
  }
}
