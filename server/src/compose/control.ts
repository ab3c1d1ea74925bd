/** Control state in memory, and the calls in flight that it ends. Part of the composition root: see main.ts. */
import { appended } from '../audit/append.ts';
import { systemClock } from '../base/clock.ts';
import { PortcullisError } from '../base/errors.ts';
import { bodyBytesInFlightMax, killAcknowledgementsKeptMs, purgeBatchMax, purgeEveryMs } from '../base/limits.ts';
import { BudgetIndex } from '../budget/budget-index.ts';
import { IdentityIndex } from '../identity/identity-index.ts';
import { SigningKeyIndex } from '../identity/signatures/signing-key-index.ts';
import { ControlFeed } from '../pg/control-feed.ts';
import { purgeAcknowledgements } from '../policy/acknowledgement-store.ts';
import { Flights } from '../policy/flights.ts';
import { KillAcknowledger } from '../policy/kill-acknowledger.ts';
import { KillIndex, killError } from '../policy/kill-index.ts';
import { PolicyIndex } from '../policy/policy-index.ts';
import { RunIndex } from '../run/run-index.ts';
import { PublicBoardMaker } from '../telemetry/leaderboard/public-board-maker.ts';
import { PublicBoards } from '../telemetry/leaderboard/public-board.ts';
import { startJobs } from '../worker/ticker.ts';
import { type Base, reporter } from './base.ts';
import type { Store } from './database.ts';

export interface Control {
  readonly feed: ControlFeed;
  readonly identity: IdentityIndex;
  readonly signers: SigningKeyIndex;
  readonly budgets: BudgetIndex;
  readonly kills: KillIndex;
  readonly policies: PolicyIndex;
  readonly runs: RunIndex;
  readonly flights: Flights;
  readonly acknowledger: KillAcknowledger;
  readonly publicBoards: PublicBoards;
  readonly boardMaker: PublicBoardMaker;
}

/** Control state in memory, and the calls in flight that it ends. */
export async function startControl(
  { config, log, metrics, stops }: Base,
  { connection, keys }: Store,
): Promise<Control> {
  const { options } = config;
  const identity = new IdentityIndex(systemClock);
  const signers = new SigningKeyIndex(keys.signingSecrets, (id) =>
    log.error({ signing_key: id }, 'the secret of a signing key cannot be opened: was SECRETS_KEY changed?'),
  );
  const budgets = new BudgetIndex();
  const kills = new KillIndex();
  const policies = new PolicyIndex(log);
  const runs = new RunIndex(() => feed.refresh());
  const publicBoards = new PublicBoards();
  const boardMaker = new PublicBoardMaker(publicBoards, systemClock, () => feed.databaseNow(), log);
  const feed: ControlFeed = new ControlFeed({
    connection,
    parts: [identity, signers, budgets, kills, policies, runs, boardMaker],
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
      const kill = kills.killedBy(subject, feed.databaseNow());
      if (kill) return killError(kill);
      if (identity.whyEnded(subject) !== null)
        return new PortcullisError('unauthenticated', 'The credential of this call no longer holds.');
      return feed.staleness();
    },
  );
  const onError = reporter(log, 'the acknowledgement of a kill switch');
  const acknowledger = new KillAcknowledger({ kills, flights, clock: systemClock, onError });
  feed.onApplied(() => acknowledger.sweep());
  feed.onStale(() => flights.sweep());
  metrics.readings.killEngaged = () => kills.engagedAt(feed.databaseNow());
  metrics.readings.controlAgeS = () => feed.ageMs() / 1000;
  metrics.readings.callsInFlight = () => flights.size;
  metrics.readings.auditEntries = () => appended;
  await feed.start();
  stops.add('control feed', () => feed.stop());
  return { feed, identity, signers, budgets, kills, policies, runs, flights, acknowledger, publicBoards, boardMaker };
}

/** Says from now on, as this instance, which kill switches were applied here. */
export function acknowledgeKills({ log, stops }: Base, { pool }: Store, control: Control, instanceId: string): void {
  control.acknowledger.start(pool, instanceId);
  stops.add('acknowledgements', () => control.acknowledger.stop());
  const purge = () => purgeAcknowledgements(pool, killAcknowledgementsKeptMs, purgeBatchMax);
  stops.add(
    'purge of acknowledgements',
    startJobs([{ name: 'purge acknowledgements', everyMs: purgeEveryMs, run: purge }], log),
  );
}
