/** Control state in memory, and the calls in flight that it ends. Part of the composition root: see main.ts. */
import { appended } from '../audit/append.ts';
import { systemClock } from '../base/clock.ts';
import { PortcullisError } from '../base/errors.ts';
import { bodyBytesInFlightMax } from '../base/limits.ts';
import { BudgetIndex } from '../budget/budget-index.ts';
import { IdentityIndex } from '../identity/identity-index.ts';
import { ControlFeed } from '../pg/control-feed.ts';
import type { ConnectionOptions } from '../pg/pool.ts';
import { Flights } from '../policy/flights.ts';
import { KillIndex, killError } from '../policy/kill-index.ts';
import { RunIndex } from '../run/run-index.ts';
import type { Base } from './base.ts';

export interface Control {
  readonly feed: ControlFeed;
  readonly identity: IdentityIndex;
  readonly budgets: BudgetIndex;
  readonly kills: KillIndex;
  readonly runs: RunIndex;
  readonly flights: Flights;
}

/** Control state in memory, and the calls in flight that it ends. */
export async function startControl(
  { config, log, metrics, stops }: Base,
  connection: ConnectionOptions,
): Promise<Control> {
  const { options } = config;
  const identity = new IdentityIndex(systemClock);
  const budgets = new BudgetIndex();
  const kills = new KillIndex();
  const runs = new RunIndex(() => feed.refresh());
  const feed: ControlFeed = new ControlFeed({
    connection,
    parts: [identity, budgets, kills, runs],
    clock: systemClock,
    log,
    maxAgeMs: options.CONTROL_AGE_MAX_MS,
  });
  const flights = new Flights(
    {
      maxPerProcess: options.CALLS_IN_FLIGHT_MAX,
      maxPerCaller: options.CALLS_IN_FLIGHT_PER_KEY_MAX,
      queueMax: options.CALLS_IN_FLIGHT_MAX,
      queueWaitMs: 1_000,
      bodyBytesMax: bodyBytesInFlightMax,
    },
    (subject) => {
      const kill = kills.killedBy(subject, systemClock.now());
      if (kill) return killError(kill);
      if (identity.whyEnded(subject) !== null)
        return new PortcullisError('unauthenticated', 'The credential of this call no longer holds.');
      return feed.staleness();
    },
  );
  feed.onApplied(() => flights.sweep());
  feed.onStale(() => flights.sweep());
  metrics.readings.killEngaged = () => kills.engagedAt(systemClock.now());
  metrics.readings.controlAgeS = () => feed.ageMs() / 1000;
  metrics.readings.callsInFlight = () => flights.size;
  metrics.readings.auditEntries = () => appended;
  await feed.start();
  stops.add('control feed', () => feed.stop());
  return { feed, identity, budgets, kills, runs, flights };
}
