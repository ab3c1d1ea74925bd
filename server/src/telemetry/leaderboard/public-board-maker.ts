import type { Pool } from 'pg';
import type { Clock } from '../../base/clock.ts';
import {
  boardDaysDefault,
  boardEntriesMax,
  boardRunsMinDefault,
  publicBoardEveryMs,
} from '../../base/telemetry-limits.ts';
import type { Logger } from '../../base/log.ts';
import type { ControlPart } from '../../pg/control-feed.ts';
import { isRolledBack, isUnavailable } from '../../pg/errors.ts';
import type { Queryable } from '../../pg/tx.ts';
import type { PublicBoards, PublicEntry } from './public-board.ts';
import { publicEntries } from './public-projection.ts';
import { publicSums } from './public-steps.ts';
import { type PublishedWorkflow, publishedSince } from './published-store.ts';

/**
 * Makes the public leaderboard once in a while, of the workflows that are public by the control state. What is public no
 * more goes as soon as that is read, what is new comes with the next making, which is soon.
 */
export class PublicBoardMaker implements ControlPart {
  readonly name = 'public leaderboard';
  readonly #boards: PublicBoards;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #databaseNow: () => number;
  readonly #log: Pick<Logger, 'error'>;
  /** Both by project and workflow. */
  readonly #published = new Map<string, PublishedWorkflow>();
  readonly #made = new Map<string, { readonly madeAt: number; readonly entries: readonly PublicEntry[] }>();
  #madeAt: number | null = null;
  #dueAt = -Infinity;

  /** @param databaseNow epoch milliseconds by the database's clock */
  constructor(
    boards: PublicBoards,
    clock: Pick<Clock, 'monotonic'>,
    databaseNow: () => number,
    log: Pick<Logger, 'error'>,
  ) {
    this.#log = log;
    this.#boards = boards;
    this.#clock = clock;
    this.#databaseNow = databaseNow;
  }

  async load(db: Queryable, since: bigint): Promise<() => void> {
    const changed = await publishedSince(db, since);
    return () => {
      for (const one of changed) this.#apply(one);
      if (changed.length > 0) this.#show();
    };
  }

  /** Makes it anew where that is due. Of a workflow for which that fails what was made before stays. */
  async makeIfDue(pool: Pool): Promise<void> {
    const now = this.#clock.monotonic();
    if (now < this.#dueAt) return;
    this.#dueAt = now + publicBoardEveryMs;
    const madeAt = Math.round(this.#databaseNow());
    for (const [key, { projectId, workflow }] of this.#published) {
      try {
        const versions = await publicSums(pool, { projectId, workflow }, madeAt, boardEntriesMax);
        // It may have gone meanwhile.
        if (this.#published.has(key))
          this.#made.set(key, { madeAt, entries: publicEntries(versions, boardRunsMinDefault) });
      } catch (err) {
        // Without a database there is no use in trying the others.
        if (isUnavailable(err) && !isRolledBack(err)) throw err;
        this.#log.error(
          { err, project_id: projectId, workflow },
          'the public leaderboard of a workflow was not made anew',
        );
      }
    }
    this.#madeAt = madeAt;
    this.#show();
  }

  #apply(one: PublishedWorkflow): void {
    const key = `${one.projectId}\0${one.workflow}`;
    if (one.unpublishedAt !== null) {
      this.#published.delete(key);
      // Should it come back, it comes as it is then.
      this.#made.delete(key);
      return;
    }
    if (!this.#made.has(key)) this.#dueAt = -Infinity;
    this.#published.set(key, one);
  }

  #show(): void {
    const shown = [...this.#published].flatMap(([key, { title }]) => {
      const made = this.#made.get(key);
      return made ? [{ ...made, title }] : [];
    });
    const workflows = shown
      .toSorted((a, b) => (a.title < b.title ? -1 : 1))
      .map(({ title, entries }) => ({ title, windowDays: boardDaysDefault, entries }));
    const madeAt = this.#madeAt && Math.min(this.#madeAt, ...shown.map((one) => one.madeAt));
    this.#boards.show({ madeAt, workflows });
  }
}
