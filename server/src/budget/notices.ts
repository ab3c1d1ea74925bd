import type { Pool } from 'pg';
import { appendAudit } from '../audit/append.ts';
import type { Clock } from '../base/clock.ts';
import { newId } from '../base/ids.ts';
import { noticesFoundMax, noticesPerTransactionMax, noticesRetryMs, noticesSweepMs } from '../base/limits.ts';
import type { Logger } from '../base/log.ts';
import { inTransaction, type Tx } from '../pg/tx.ts';
import { calendarWindow } from './calendar.ts';
import {
  type DueNotice,
  dueInRuns,
  dueInWindows,
  dueOnCounters,
  insertNotices,
  selectWindowKinds,
  type WindowKind,
} from './notices-store.ts';
import { decimalText } from './refusal.ts';
import type { TouchedCounters } from './touched-counters.ts';

export interface NoticesOptions {
  readonly pool: Pool;
  readonly touched: TouchedCounters;
  /** Epoch milliseconds by the database's clock. */
  readonly databaseNow: () => number;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called once for each notice that this process gave. */
  readonly onNotice: (notice: DueNotice) => void;
}

// Longer than it takes until others have posted what a process held that died.
const lateMs = 10 * 60_000;

/**
 * Tells once of each percent of a limit that was reached in a window: a row, an audit entry in the same transaction, a
 * line in the log. It looks at what this process posted lately and, since a process that dies takes that knowledge along
 * and budgets change, once a minute at all windows that are open or closed lately; at the start of a process, which may have
 * been long in coming, at the last ones that closed whenever that was.
 */
export class ThresholdNotices {
  readonly #options: NoticesOptions;
  /** Monotonic time. */
  #sweepAt = -Infinity;
  #swept = false;

  constructor(options: NoticesOptions) {
    this.#options = options;
  }

  /** One look; to be repeated every second. @throws the database's error; soon a look at everything makes up for it */
  async check(): Promise<void> {
    const { touched, clock } = this.#options;
    const { keys, overflowed } = touched.take();
    const now = clock.monotonic();
    const sweep = overflowed || now >= this.#sweepAt;
    const nextSweepAt = sweep ? now + noticesSweepMs : this.#sweepAt;
    // If this look fails: not at once, since a database in trouble is not helped by the hardest question every second.
    this.#sweepAt = now + noticesRetryMs;
    if (sweep) await this.#sweep();
    else if (keys.length > 0) await this.#tellAll((limit) => dueOnCounters(this.#options.pool, keys, limit));
    this.#sweepAt = nextSweepAt;
  }

  async #sweep(): Promise<void> {
    const { pool, databaseNow } = this.#options;
    const now = databaseNow();
    const closedSince = this.#swept ? now - lateMs : -Infinity;
    const windows = (await selectWindowKinds(pool)).flatMap((kind) =>
      keysAround(kind, now, closedSince).map((key) => ({ ...kind, key })),
    );
    await this.#tellAll((limit) => dueInWindows(pool, windows, limit));
    await this.#tellAll((limit) => dueInRuns(pool, lateMs, limit));
    this.#swept = true;
  }

  /** Tells of what `find` finds, until it finds no more: what was told of is no longer due. */
  async #tellAll(find: (limit: number) => Promise<readonly DueNotice[]>): Promise<void> {
    let due: readonly DueNotice[];
    do {
      due = await find(noticesFoundMax);
      for (let at = 0; at < due.length; at += noticesPerTransactionMax) {
        await this.#tell(due.slice(at, at + noticesPerTransactionMax));
      }
    } while (due.length === noticesFoundMax);
  }

  async #tell(due: readonly DueNotice[]): Promise<void> {
    const { pool, log, onNotice } = this.#options;
    const told = await inTransaction(pool, async (tx) => {
      const notices = due.map((notice) => ({ ...notice, id: newId('ntc') }));
      const inserted = await insertNotices(tx, notices);
      const ours = notices.filter(({ id }) => inserted.has(id));
      for (const notice of ours) await audit(tx, notice);
      return ours;
    });
    for (const notice of told) {
      log.warn({ ...payloadOf(notice), budget_id: notice.budgetId }, sentence(notice));
      onNotice(notice);
    }
  }
}

/** The window that is open, and the one before it where that closed after `closedSince`: its last moment may be found late. */
function keysAround({ window, timeZone }: WindowKind, now: number, closedSince: number): string[] {
  if (window === 'lifetime') return ['lifetime'];
  const { key, from } = calendarWindow(window, timeZone, now);
  return from > closedSince ? [key, calendarWindow(window, timeZone, from - 1).key] : [key];
}

function audit(tx: Tx, notice: DueNotice): Promise<void> {
  return appendAudit(tx, {
    actor: { kind: 'system', id: 'budgets' },
    action: 'budget.threshold_reached',
    target: notice.budgetId,
    projectId: notice.projectId,
    requestId: null,
    payload: payloadOf(notice),
  });
}

function payloadOf({ name, unit, window, windowKey, percent, posted, limit, mode }: DueNotice) {
  return {
    name,
    unit,
    window,
    window_key: windowKey,
    percent,
    posted: decimalText(unit, posted),
    limit: decimalText(unit, limit),
    mode,
  };
}

function sentence({ name, percent, mode }: DueNotice): string {
  const reached = `Budget "${name}" reached ${percent} % of its limit`;
  return mode === 'dry_run' ? `${reached}; it is a dry run and refuses nothing.` : `${reached}.`;
}
