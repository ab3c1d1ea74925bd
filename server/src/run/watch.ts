import type { Pool } from 'pg';
import type { Clock } from '../base/clock.ts';
import { idTime, leastId } from '../base/ids.ts';
import { runClockMarginMs } from '../base/limits.ts';
import { eventPageBytesMax, runWatchAliveMs, runWatchPageSize } from '../base/telemetry-limits.ts';
import { requireHolding } from '../identity/holding.ts';
import type { IdentityIndex } from '../identity/identity-index.ts';
import { invalid } from '../identity/input.ts';
import type { Principal } from '../identity/model.ts';
import { selectSlice } from './event-store.ts';
import type { AskedRun } from './events.ts';
import type { Run, RunEvent } from './model.ts';
import { noSuchRun, reach } from './reach.ts';
import { findRun, type RunScope } from './store.ts';
import { type Place, placeText, readPlace } from './watch-place.ts';
import type { RunWatches } from './watches.ts';

export interface WatchParts {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly identity: Pick<IdentityIndex, 'whyEnded' | 'scopesNow'>;
  readonly watches: RunWatches;
}

/** What a watcher is told at a time; nothing but a position says that the stream lives. */
export interface Told {
  /** Where to go on after it. */
  readonly position: string;
  readonly run?: Run;
  readonly event?: RunEvent;
  readonly ended?: Run;
}

/**
 * A run as it stands, its events as they are recorded, and its end.
 * @param asked with the position where an earlier stream broke; empty is from the first event
 * @throws PortcullisError not_found, invalid_argument (no position), rate_limited (too many watches), unauthenticated (the
 * credential holds no longer), unavailable (the process is being stopped)
 */
export async function* watchRun(
  { pool, clock, identity, watches }: WatchParts,
  by: Principal,
  asked: AskedRun & { readonly position: string },
  signal: AbortSignal,
): AsyncGenerator<Told> {
  const scope = reach(by, asked);
  let place = readPlace(asked.position);
  const mayGoOn = () => {
    watches.requireServing();
    requireHolding(by, identity, clock.now());
  };
  const { watch, end } = watches.begin(by, asked.id);
  try {
    yield { position: placeText(place), run: await existing(pool, scope) };
    let toldAt = clock.monotonic();
    for (let looks = 0; !signal.aborted; looks++, await watches.next()) {
      mayGoOn();
      // As the last look left it: nothing runs in between.
      const { dirty, ended } = watch;
      const { seen } = watches;
      if (seen !== null && seen.upTo >= place.to) {
        watch.dirty = false;
        for (const slice of slicesFrom(place, seen.upTo, dirty)) {
          for await (const event of eventsOf(pool, asked.id, slice, mayGoOn)) {
            yield { position: placeText({ ...slice, after: event.id }), event };
            toldAt = clock.monotonic();
          }
        }
        place = { from: seen.upTo, to: seen.upTo, after: '' };
        if (ended) {
          yield { position: placeText(place), ended: await existing(pool, scope) };
          return;
        }
      } else if (seen !== null && place.to > seen.next && looks > 1) {
        // The first may have been under way when the watch began, and older than a position of another replica; this was not.
        throw invalid('position', 'position is of another database: watch the run from its beginning.');
      }
      if (clock.monotonic() - toldAt < runWatchAliveMs) continue;
      yield { position: placeText(place) };
      toldAt = clock.monotonic();
    }
  } finally {
    end();
  }
}

async function existing(pool: Pool, scope: RunScope): Promise<Run> {
  const run = await findRun(pool, scope);
  if (!run) throw noSuchRun(scope.id);
  return run;
}

/** What is left of the slice in which a position lies, then what came since. */
function slicesFrom(place: Place, upTo: bigint, dirty: boolean): Place[] {
  const left = place.after === '' ? [] : [place];
  return dirty ? [...left, { from: place.to, to: upTo, after: '' }] : left;
}

/** @param mayGoOn asked before each page: a backlog may be long */
async function* eventsOf(pool: Pool, runId: string, slice: Place, mayGoOn: () => void): AsyncGenerator<RunEvent> {
  const least = leastId('evt', (idTime(runId) ?? 0) - runClockMarginMs);
  let after = slice.after > least ? slice.after : least;
  for (let more = true; more;) {
    mayGoOn();
    const bounds = { rows: runWatchPageSize, bytes: eventPageBytesMax };
    const page = await selectSlice(pool, { ...slice, runId, after }, bounds);
    yield* page.events;
    after = page.events.at(-1)?.id ?? after;
    ({ more } = page);
  }
}
