import { PortcullisError } from '../base/errors.ts';
import type { Principal } from '../identity/model.ts';
import type { ControlPart } from '../pg/control-feed.ts';
import type { Queryable } from '../pg/tx.ts';
import type { Run } from './model.ts';
import { runsSince } from './store.ts';

/** What the data plane needs to know of a run that runs. */
export type RunningRun = Pick<Run, 'id' | 'projectId' | 'agentId' | 'workflow' | 'maxRetries'>;

/** The running runs, in memory; finished ones leave. Fed by the control feed. */
export class RunIndex implements ControlPart {
  readonly name = 'runs';
  readonly #runs = new Map<string, RunningRun>();
  readonly #refresh: () => Promise<void>;

  /** @param refresh brings control state up to now: a run may have been started on another replica just before */
  constructor(refresh: () => Promise<void>) {
    this.#refresh = refresh;
  }

  async load(db: Queryable, since: bigint): Promise<() => void> {
    const changed = await runsSince(db, since);
    return () => {
      for (const run of changed) {
        if (run.state === 'running') this.#runs.set(run.id, run);
        else this.#runs.delete(run.id);
      }
    };
  }

  /**
   * The run that a call belongs to: the one it names, or the one that its key is bound to.
   * @param named the run id in the request; null where there is none
   * @returns null for a call outside any run
   * @throws PortcullisError policy_denied (a bound key names another run), not_found (no such run of this agent runs)
   */
  async resolve(named: string | null, principal: Principal): Promise<RunningRun | null> {
    const bound = principal.runId;
    if (bound !== null && named !== null && named !== bound) {
      throw new PortcullisError('policy_denied', `This key is bound to the run ${bound}: it cannot call for another.`, {
        rule: 'key.run',
      });
    }
    const id = named ?? bound;
    if (id === null) return null;
    if (!this.#runs.has(id)) await this.#refresh();
    const run = this.#runs.get(id);
    if (run?.projectId !== principal.projectId || (principal.agentId !== null && run.agentId !== principal.agentId)) {
      throw new PortcullisError(
        'not_found',
        `No run "${id.slice(0, 100)}" of yours is running: start one, and send its id.`,
        { param: 'x-portcullis-run' },
      );
    }
    return run;
  }
}
