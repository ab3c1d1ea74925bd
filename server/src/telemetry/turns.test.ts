import { expect, test } from 'vitest';
import { Turns } from './turns.ts';

/** Work that lasts until it is told to end. */
function begun(turns: Turns, caller: string, log: string[]) {
  const end = Promise.withResolvers<void>();
  const done = turns.run(caller, async () => {
    log.push(caller);
    await end.promise;
    return caller;
  });
  return { done, end: end.resolve, fail: end.reject };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

test('some callers have their turn at once, each for some of its work; who waits follows in order', async () => {
  const turns = new Turns(3, 2);
  const log: string[] = [];
  const work = ['a', 'a', 'a', 'b', 'c', 'a', 'b'].map((caller) => begun(turns, caller, log));
  await settled();
  expect(log).toEqual(['a', 'a', 'b']);
  work[3]?.end();
  await settled();
  expect(log.slice(3)).toEqual(['c']);
  work[0]?.fail(new Error('lost'));
  await expect(work[0]?.done).rejects.toThrow('lost');
  expect(log.slice(4)).toEqual(['a']);
  for (const { end } of work) end();
  expect(await Promise.all(work.slice(1).map(({ done }) => done))).toEqual(['a', 'a', 'b', 'c', 'a', 'b']);
  expect(log.slice(5)).toEqual(['a', 'b']);
});

test('work that fails at once gives its turn to the next', async () => {
  const turns = new Turns(1, 1);
  await expect(turns.run('a', () => Promise.reject(new Error('lost')))).rejects.toThrow('lost');
  expect(await turns.run('a', () => Promise.resolve(1))).toBe(1);
});
