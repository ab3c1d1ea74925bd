import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { GroupCommit } from './group-commit.ts';

/** A lane whose commits end when the test says so. */
function openLane(limits: { readonly batchMax: number; readonly queueMax: number }) {
  const batches: number[][] = [];
  const commits: (() => void)[] = [];
  const lane = new GroupCommit<number>({
    ...limits,
    commit: async (batch) => {
      batches.push([...batch]);
      await new Promise<void>((done) => {
        commits.push(done);
      });
    },
  });
  const commitNext = async () => {
    commits.shift()?.();
    await turn();
  };
  return { lane, batches, commitNext };
}

test('what arrives in one turn shares a commit, and what arrives meanwhile shares the next', async () => {
  const { lane, batches, commitNext } = openLane({ batchMax: 10, queueMax: 10 });
  for (const item of [1, 2, 3]) lane.add(item);
  await turn();
  for (const item of [4, 5]) lane.add(item);
  expect(batches).toEqual([[1, 2, 3]]);
  await commitNext();
  expect(batches).toEqual([
    [1, 2, 3],
    [4, 5],
  ]);
  await commitNext();
  await lane.idle();
  lane.add(6);
  await turn();
  expect(batches).toHaveLength(3);
});

test('a batch is bounded, and so is the queue: what does not fit is not taken', async () => {
  const { lane, batches, commitNext } = openLane({ batchMax: 2, queueMax: 3 });
  expect([1, 2, 3, 4].map((item) => lane.add(item))).toEqual([true, true, true, false]);
  await turn();
  expect(lane.add(5)).toBe(true);
  expect(batches).toEqual([[1, 2]]);
  await commitNext();
  await commitNext();
  await lane.idle();
  expect(batches.flat()).toEqual([1, 2, 3, 5]);
});

test('an idle lane is idle', async () => {
  await expect(openLane({ batchMax: 1, queueMax: 1 }).lane.idle()).resolves.toBeUndefined();
});
