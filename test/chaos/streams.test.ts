import { afterAll, beforeAll, expect, test } from 'vitest';
import { type TestGate, startGate } from '../support/gate.ts';
import { campaign, chaosConfiguration, chaosEnvironment } from './campaign.ts';
import { type ChaosUpstream, startChaosUpstream } from './upstream.ts';

/** The smoke of the chaos proof; `npm run chaos -- streams --runs 10000` is all of it. */

let gate: TestGate;
let upstream: ChaosUpstream;

beforeAll(async () => {
  upstream = await startChaosUpstream();
  gate = await startGate({ yaml: chaosConfiguration(upstream.url), env: chaosEnvironment });
});

afterAll(async () => {
  await gate.stop();
  await upstream.stop();
});

test('whatever happens to a stream, the client gets a legal one, and the books are right', async () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const { runs, violations } = await campaign(gate, upstream, { seed, first: 0, runs: 160, concurrency: 16 });
  expect(violations).toEqual([]);
  expect(runs).toBe(160);
});
