import { expect, test } from 'vitest';
import { tell } from './command.ts';
import { run } from './run.ts';

/** The smoke of the proof that money is exact; `npm run chaos -- money` is all of it. */
test('gateways and the database are killed under load, and every invariant of money holds', async () => {
  const report = await run({
    seed: Math.floor(Math.random() * 2 ** 31),
    durability: 'strict',
    kills: 6,
    durationMs: 9_000,
    clients: 24,
    burstCalls: 100,
    hurry: true,
    progress: () => undefined,
  });
  const { kills, strikes } = report.done;
  expect(
    report.findings.flatMap(({ violations }) => violations),
    tell(report),
  ).toEqual([]);
  expect(process.env['REQUIRE_ALL'] === '1' ? report.leftOut : []).toEqual([]);
  expect(kills.serving + kills.starting).toBe(6);
  expect(strikes.postmaster).toBe(1);
  expect(report.calls['attempts at the provider']).toBeGreaterThan(100);
}, 120_000);
