import { setTimeout as sleep } from 'node:timers/promises';
import { type Account, type LeasePosting, type Row, accountsOf, readLedger, readLeasePostings } from './books.ts';
import type { Cast } from './cast.ts';
import type { Made } from './load.ts';
import { type Seen, readRecord } from './provider-record.ts';
import type { Replica } from './replica.ts';
import { type Sample, type Standing, standings } from './samples.ts';
import type { Stage } from './stage.ts';

export type Durability = 'strict' | 'relaxed';

/** All that the verdict is made from: the provider's record, the public API, what clients got, and the logs. */
export interface Evidence {
  readonly durability: Durability;
  readonly stage: Stage;
  readonly cast: Cast;
  readonly made: readonly Made[];
  readonly samples: readonly Sample[];
  readonly seen: readonly Seen[];
  readonly rows: readonly Row[];
  readonly accounts: ReadonlyMap<string, Account>;
  /** Slices of processes that died, posted without rows. */
  readonly postings: readonly LeasePosting[];
  readonly ends: readonly Standing[];
  /** Ids of holds that are open at the end. */
  readonly openHolds: readonly string[];
}

// A dead process is known to be dead after 20 s, and a hold outlives its call by 30 s.
const quietMs = 90_000;

/** Waits until nothing is held any more, or for as long as anything may be; then reads everything. */
export async function collect(
  evidence: Pick<Evidence, 'durability' | 'stage' | 'cast' | 'made' | 'samples'>,
): Promise<Evidence> {
  const { stage } = evidence;
  const [replica] = stage.replicas;
  if (!replica) throw new Error('there is no gateway');
  await stage.mock.until((requests) => requests.every(({ outcome }) => outcome !== 'open'), 60_000);
  const deadline = performance.now() + quietMs;
  while (performance.now() < deadline && !(await isQuiet(replica))) await sleep(500);
  const rows = await readLedger(replica);
  return {
    ...evidence,
    seen: await readRecord(stage.recordFile),
    rows,
    accounts: new Map(accountsOf(rows).map((account) => [account.attemptId, account])),
    postings: await readLeasePostings(replica),
    ends: await standings(replica),
    openHolds: await openHolds(replica),
  };
}

async function isQuiet(replica: Replica): Promise<boolean> {
  return (await openHolds(replica)).length === 0 && (await standings(replica)).every(({ held }) => held === 0n);
}

/** The ids of the holds that are open, the newest of them where there are many. */
async function openHolds({ gate }: Replica): Promise<string[]> {
  const { holds = [] } = await gate.api<{ holds?: { readonly attemptId: string }[] }>('AnalyticsService/ListHolds', {
    pageSize: 500,
  });
  return holds.map(({ attemptId }) => attemptId);
}
