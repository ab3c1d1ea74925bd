import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { median } from '../bench/harness/statistics.ts';
import { type FaultyLink, openFaultyLink } from './support/faulty-link.ts';
import { type TestGate, startGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { mockConfiguration, startGateWithMock } from './support/models.ts';
import {
  type Caller,
  endings,
  killedScopes,
  measureEnding,
  measureSwitch,
  newCaller,
  type Pair,
} from './support/stops.ts';

/**
 * Two replicas on one database: what one is told reaches a call on the other within a second. The figures are printed; the
 * median is held against the second, so that one slow moment of the machine fails nothing.
 */

const rounds = 5;
const bySpecMs = 1_000;

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
const replicas: TestGate[] = [];
const links: FaultyLink[] = [];
const printed: { what: string; rounds: number; median_ms: number; max_ms: number }[] = [];

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock({ env: { RATE_LIMIT_ADMIN_PER_MINUTE: '100000' } }));
  await mock.script({ model: 'claude-endless', tokens: 1_000_000, tokensPerSecond: 100 });
});

afterAll(async () => {
  console.table(printed);
  await Promise.all(replicas.map((replica) => replica.stop()));
  await Promise.all(links.map((link) => link.close()));
  await stop();
});

/** A replica that hears of changes, or one that must ask for them. */
async function pairWith(deaf: boolean): Promise<Pair> {
  const link = await openFaultyLink(gate.database.appUrl, { deaf });
  links.push(link);
  const other = await startGate({
    yaml: mockConfiguration(mock),
    database: gate.database,
    env: { DATABASE_URL: link.url },
  });
  replicas.push(other);
  return { told: gate, other, model: 'claude-endless', provider: 'claude' };
}

/** Measures some rounds, and notes them. @returns the median, in milliseconds */
async function medianOf(what: string, measure: () => Promise<number>): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) times.push(await measure());
  return note(what, times);
}

function note(what: string, times: readonly number[]): number {
  const median_ms = Math.round(median(times));
  printed.push({ what, rounds: times.length, median_ms, max_ms: Math.round(Math.max(...times)) });
  return median_ms;
}

describe('a replica that is notified', () => {
  let pair: Pair;
  let caller: Caller;
  beforeAll(async () => {
    pair = await pairWith(false);
    caller = await newCaller(pair);
  });

  test.each(killedScopes)(
    'ends the streams of %s when the other is told to stop it, and lets it go on when released',
    async (scope) => {
      const taken: Awaited<ReturnType<typeof measureSwitch>>[] = [];
      for (let round = 0; round < rounds; round++) taken.push(await measureSwitch(pair, caller, scope));
      const stops = taken.map(({ engageMs }) => engageMs);
      const releases = taken.map(({ releaseMs }) => releaseMs);
      expect(note(`stop ${scope}`, stops), stops.join(', ')).toBeLessThan(bySpecMs);
      expect(note(`release ${scope}`, releases), releases.join(', ')).toBeLessThan(bySpecMs);
    },
  );

  test.each(endings)('ends the streams of a %s', async (ending) => {
    expect(await medianOf(ending, () => measureEnding(pair, ending))).toBeLessThan(bySpecMs);
  });
});

describe('a replica whose notifications are lost', () => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await pairWith(true);
  });

  test('asks soon enough by itself', async () => {
    const caller = await newCaller(pair);
    const measure = async () => (await measureSwitch(pair, caller, 'agent')).engageMs;
    expect(await medianOf('stop agent, by the poll', measure)).toBeLessThan(bySpecMs);
    const revoke = () => measureEnding(pair, 'revoked key');
    expect(await medianOf('revoked key, by the poll', revoke)).toBeLessThan(bySpecMs);
  });
});
