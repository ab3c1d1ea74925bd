import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { acquireLock } from './lock.ts';
import { processIdentity } from './processes.ts';

let dir: string;
let path: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'portcullis-lock-'));
  path = join(dir, 'lock');
});
afterEach(() => rm(dir, { recursive: true }));

const acquire = () => acquireLock(path, 'The data');

test('a lock keeps the next one out until it is released', async () => {
  const lock = await acquire();
  await expect(acquire()).rejects.toThrow(`The data is in use by process ${process.pid}`);
  await lock.release();
  await (await acquire()).release();
  expect(await readdir(dir)).toEqual([]);
});

test.each([
  ['a process that is gone', `4194305 boot/1\n`],
  ['a living process with our number of another start', `${process.pid} boot/1\n`],
  ['nobody that one could read', 'scribble'],
  ['a write that was interrupted', ''],
])('a lock of %s is taken over', async (_title, record) => {
  await writeFile(path, record);
  await acquire();
  expect(await readFile(path, 'utf8')).toBe(`${process.pid} ${processIdentity(process.pid)}\n`);
  expect(await readdir(dir)).toEqual(['lock']);
});

test('of many that find a lock left behind, one takes it over', async () => {
  for (let round = 0; round < 20; round++) {
    await writeFile(path, `4194305 boot/1\n`);
    const results = await Promise.allSettled(Array.from({ length: 8 }, acquire));
    const winners = results.filter((result) => result.status === 'fulfilled');
    expect(winners).toHaveLength(1);
    await winners[0]!.value.release();
  }
});
