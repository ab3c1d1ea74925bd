import type { Pool } from 'pg';
import { PortcullisError } from '../base/errors.ts';
import { idTime, leastId } from '../base/ids.ts';
import { pageSizeDefault, runClockMarginMs } from '../base/limits.ts';
import {
  eventPageBytesMax,
  eventsAfterEndMs,
  eventsCountedWithinMs,
  eventsLookedAtMax,
  eventsPerBatchMax,
  eventsPerRunMax,
} from '../base/telemetry-limits.ts';
import { invalid } from '../identity/input.ts';
import type { Principal } from '../identity/model.ts';
import type { Page, PageRequest } from '../identity/page.ts';
import { type CheckedEvent, EventChecks } from './event-input.ts';
import { countEvents, type EventFilter, insertEvents, lastLookedAt, selectEvents } from './event-store.ts';
import type { EventLevel, RunEvent, ToldEvent } from './model.ts';
import { noSuchRun, reach } from './reach.ts';
import { findRun, type RunScope } from './store.ts';

/** Which run is meant, by whoever asks. */
export interface AskedRun {
  readonly id: string;
  readonly projectId: string;
}

/** Which of a run's events are meant; null is any. Times are epoch milliseconds at which they occurred. */
export interface EventQuestion {
  readonly type: string | null;
  readonly level: EventLevel | null;
  readonly from: number | null;
  readonly to: number | null;
}

/** What agents tell of their runs. Kill switches do not silence it: it is evidence. */
export class RunEvents {
  readonly #pool: Pool;
  readonly #databaseNow: () => number;
  readonly #perRunMax: number;

  constructor(pool: Pool, databaseNow: () => number, perRunMax = eventsPerRunMax) {
    this.#pool = pool;
    this.#databaseNow = databaseNow;
    this.#perRunMax = perRunMax;
  }

  /** Keeps one event. @throws PortcullisError as `recordAll` does */
  async record(by: Principal, run: AskedRun, told: ToldEvent): Promise<{ id: string; duplicate: boolean }> {
    const scope = reach(by, run);
    const event = new EventChecks(run.id, Math.floor(this.#databaseNow())).check(told, 'event');
    return { id: event.id, duplicate: (await this.#write(scope, [event])) === 0 };
  }

  /**
   * Keeps all events in one statement, or none.
   * @returns how many are new; the others were told before
   * @throws PortcullisError invalid_argument (with the place of the event), not_found (the run), conflict (it ended more than an
   * hour ago, or has too many)
   */
  async recordAll(by: Principal, run: AskedRun, told: readonly ToldEvent[]): Promise<number> {
    const scope = reach(by, run);
    if (told.length === 0 || told.length > eventsPerBatchMax)
      throw invalid('events', `events must be 1 to ${eventsPerBatchMax}.`);
    const checks = new EventChecks(run.id, Math.floor(this.#databaseNow()));
    return this.#write(
      scope,
      told.map((one, at) => checks.check(one, `events[${at}]`)),
    );
  }

  async #write(
    scope: RunScope,
    events: readonly CheckedEvent[],
    countedWithinMs: number | null = eventsCountedWithinMs,
  ): Promise<number> {
    const bounds = { afterEndMs: eventsAfterEndMs, perRunMax: this.#perRunMax };
    const told = await insertEvents(this.#pool, scope, bounds, countedWithinMs, events);
    if (!told) throw noSuchRun(scope.id);
    if (!told.isOpen) {
      throw new PortcullisError('conflict', 'The run ended more than an hour ago: it takes no more events.', {
        param: 'run_id',
      });
    }
    if (!told.hasRoom) throw this.#full();
    if (told.isCounted) return told.written;
    // Its totals stand still while a transaction is open that somebody forgot: it is counted itself, at the cost of its events.
    if ((await countEvents(this.#pool, scope.id, this.#perRunMax)) === this.#perRunMax) throw this.#full();
    return this.#write(scope, events, null);
  }

  #full(): PortcullisError {
    return new PortcullisError('conflict', `A run has ${this.#perRunMax} events at most: start another one.`, {
      param: 'run_id',
    });
  }

  /**
   * A run's events, those that occurred last first. A page looks at so many events only, and holds so many bytes: it may be
   * short, and not be the last.
   * @throws PortcullisError not_found
   */
  async list(
    by: Principal,
    run: AskedRun,
    { type, level, from, to }: EventQuestion,
    { pageSize, cursor }: PageRequest,
  ): Promise<Page<RunEvent>> {
    const scope = reach(by, run);
    const found = await findRun(this.#pool, scope);
    if (!found) throw noSuchRun(run.id);
    const filter = { runId: run.id, type, level, ...eventIds(found, { from, to, now: this.#databaseNow() }) };
    if (cursor !== null && cursor < filter.end) filter.end = cursor;
    const rows = pageSize === 0 ? pageSizeDefault : pageSize;
    const page = await selectEvents(this.#pool, filter, { rows, bytes: eventPageBytesMax }, eventsLookedAtMax);
    const nextCursor = page.more ? (page.events.at(-1)?.id ?? null) : await this.#restOf(filter);
    return { items: page.events, nextCursor };
  }

  /** Where to go on when a page found too little in all that it looked at. */
  async #restOf(filter: EventFilter): Promise<string | null> {
    return filter.type === null && filter.level === null ? null : lastLookedAt(this.#pool, filter, eventsLookedAtMax);
  }
}

/** The ids that events of a run can have, within times: partitions that hold none of them are left out. */
function eventIds(
  run: { readonly id: string; readonly finishedAt: number | null },
  { from, to, now }: { readonly from: number | null; readonly to: number | null; readonly now: number },
): { first: string; end: string } {
  const earliest = (idTime(run.id) ?? 0) - runClockMarginMs;
  const latest = (run.finishedAt ?? now) + runClockMarginMs;
  return {
    first: leastId('evt', Math.max(earliest, from ?? 0)),
    end: leastId('evt', Math.min(latest, to ?? latest)),
  };
}
