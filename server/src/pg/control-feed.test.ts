import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Client } from 'pg';
import type { Clock } from '../base/clock.ts';
import { createLogger } from '../base/log.ts';
import { createTestDatabase, testBounds, type TestDatabase } from '../../../test/support/database.ts';
import { ControlFeed, type ControlFeedOptions, type ControlPart } from './control-feed.ts';
import { controlWrite, type Queryable } from './tx.ts';

/** Real time that a test can move on. */
class ShiftedClock implements Clock {
  aheadMs = 0;
  now = () => Date.now() + this.aheadMs;
  monotonic = () => performance.now() + this.aheadMs;
}

/** Keeps the names of projects, and what each load was asked for. */
class ProjectNames implements ControlPart {
  readonly name = 'projects';
  readonly names = new Map<string, string>();
  readonly sinces: bigint[] = [];
  beforeRead: () => Promise<void> = () => Promise.resolve();

  async load(db: Queryable, since: bigint) {
    this.sinces.push(since);
    await this.beforeRead();
    const { rows } = await db.query<{ id: string; name: string }>(
      'SELECT id, name FROM projects WHERE control_version > $1',
      [since],
    );
    return () => {
      for (const row of rows) this.names.set(row.id, row.name);
    };
  }
}

let db: TestDatabase;
let owner: Client;
let clock: ShiftedClock;
let projects: ProjectNames;
let feeds: ControlFeed[];

beforeEach(async () => {
  db = await createTestDatabase();
  owner = new Client({ connectionString: db.ownerUrl });
  await owner.connect();
  clock = new ShiftedClock();
  projects = new ProjectNames();
  feeds = [];
});
afterEach(async () => {
  vi.useRealTimers();
  await Promise.all(feeds.map((feed) => feed.stop()));
  await owner.end();
  await db.drop();
});

function makeFeed(options: Partial<ControlFeedOptions> = {}): ControlFeed {
  const connection = { ...testBounds, connectionString: db.appUrl, applicationName: 'feed' };
  const log = createLogger('silent');
  const feed = new ControlFeed({ connection, parts: [projects], clock, log, ...options });
  feeds.push(feed);
  return feed;
}

const addProject = (name: string) =>
  controlWrite(db.pool, (tx, version) =>
    tx.query('INSERT INTO projects (id, name, control_version) VALUES ($1, $1, $2)', [name, version]),
  );

/** As `addProject`, but nothing is announced. */
const addProjectSilently = (name: string) =>
  owner.query(
    `WITH bumped AS (UPDATE control_version SET version = version + 1 RETURNING version)
     INSERT INTO projects (id, name, control_version) SELECT $1, $1, version FROM bumped`,
    [name],
  );

/** Ends the feed's connection; with `forbid` it cannot come back until it is allowed again. */
async function cutOff(forbid: boolean): Promise<void> {
  if (forbid) await owner.query('REVOKE CONNECT ON DATABASE ' + database() + ' FROM PUBLIC, portcullis');
  await owner.query(
    `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'feed' AND datname = current_database()`,
  );
}
const letIn = () => owner.query('GRANT CONNECT ON DATABASE ' + database() + ' TO PUBLIC');
const database = () => new URL(db.ownerUrl).pathname.slice(1);

test('the start loads everything, and a control write arrives by its notification', async () => {
  // No timer fires, so no poll can be the messenger.
  vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval'] });
  await addProject('one');
  const feed = makeFeed();
  await feed.start();
  expect([...projects.names.keys()]).toEqual(['one']);
  expect(feed.version).toBe(2n);

  const applied = new Promise<void>((resolve) => feed.onApplied(resolve));
  await addProject('two');
  await applied;
  expect([...projects.names.keys()]).toEqual(['one', 'two']);
  expect(projects.sinces).toEqual([0n, 2n]);
});

test('a lost notification is covered by the poll', async () => {
  const feed = makeFeed();
  await feed.start();
  await addProjectSilently('quiet');
  await expect.poll(() => projects.names.has('quiet'), { timeout: 5_000 }).toBe(true);
});

test('when the version has not moved nothing is loaded and nobody is told', async () => {
  const feed = makeFeed();
  await feed.start();
  let told = 0;
  feed.onApplied(() => (told += 1));
  await feed.refresh();
  await feed.refresh();
  expect(projects.sinces).toHaveLength(1);
  expect(told).toBe(0);
});

test('a refresh waits for a read that began after it, and simultaneous callers share one', async () => {
  const feed = makeFeed();
  await feed.start();
  let reads = 0;
  projects.beforeRead = async () => {
    reads += 1;
    if (reads === 1) {
      // The first read has its snapshot already, so it cannot see this one; the refresh asked for now must.
      await addProject('during');
      void Promise.all([feed.refresh(), feed.refresh(), feed.refresh()]).then(() => seen.resolve(reads));
    }
  };
  const seen = Promise.withResolvers<number>();
  await addProject('first');
  await feed.refresh();
  expect(await seen.promise).toBe(2);
  expect(projects.names.has('during')).toBe(true);
});

test('all parts stand on one snapshot and are applied in one turn', async () => {
  const other = new ProjectNames();
  const feed = makeFeed({ parts: [projects, other] });
  await feed.start();
  projects.beforeRead = async () => {
    projects.beforeRead = () => Promise.resolve();
    // Between the two loads: the second part must not see what the first did not.
    await addProject('between');
  };
  const snapshots: string[] = [];
  feed.onApplied(() => snapshots.push(`${[...projects.names.keys()].join()}|${[...other.names.keys()].join()}`));
  await addProject('one');
  await expect.poll(() => feed.version, { timeout: 5_000 }).toBe(3n);
  expect(snapshots).toEqual(['one|one', 'one,between|one,between']);
});

test('reach returns at once when the version is known, and otherwise after reading it', async () => {
  const feed = makeFeed();
  await feed.start();
  await feed.reach(1n, 1);
  const { version } = await addProject('mine');
  await feed.reach(version, 5_000);
  expect(projects.names.has('mine')).toBe(true);
});

test('reach gives up on a version that does not come', async () => {
  const feed = makeFeed();
  await feed.start();
  await expect(feed.reach(99n, 200)).rejects.toMatchObject({ code: 'unavailable' });
});

test('versions follow commit order: whatever order writers begin in, no change is passed over', async () => {
  const feed = makeFeed();
  await feed.start();
  const names = Array.from({ length: 40 }, (_, i) => `p${i}`);
  const writes = await Promise.all(names.map(addProject));
  await feed.reach(
    writes.map(({ version }) => version).reduce((a, b) => (a > b ? a : b)),
    5_000,
  );
  expect([...projects.names.keys()].sort()).toEqual([...names].sort());
});

test('an ended connection is replaced and what was missed is read', async () => {
  const feed = makeFeed();
  await feed.start();
  await cutOff(false);
  await addProject('missed');
  await expect.poll(() => projects.names.has('missed'), { timeout: 5_000 }).toBe(true);
  const applied = new Promise<void>((resolve) => feed.onApplied(resolve));
  await addProject('notified');
  await applied;
  expect(projects.names.has('notified')).toBe(true);
});

test('while the database is away the state grows old, is said to be stale once, and recovers; and again', async () => {
  const feed = makeFeed();
  let stale = 0;
  feed.onStale(() => (stale += 1));
  expect(() => feed.assertFresh()).toThrow(expect.objectContaining({ code: 'unavailable' }));
  await feed.start();
  feed.assertFresh();
  for (const round of [1, 2]) {
    await cutOff(true);
    await expect(feed.refresh()).rejects.toMatchObject({ code: 'unavailable' });
    feed.assertFresh();
    clock.aheadMs += 10_001;
    expect(() => feed.assertFresh()).toThrow(expect.objectContaining({ code: 'unavailable' }));
    await expect.poll(() => stale, { timeout: 5_000 }).toBe(round);
    await letIn();
    await expect.poll(() => feed.ageMs() < 10_000, { timeout: 10_000 }).toBe(true);
    feed.assertFresh();
    expect(stale).toBe(round);
  }
});

test('age counts from the start of a read, not its end', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval'] });
  const feed = makeFeed();
  await feed.start();
  await addProjectSilently('slow');
  projects.beforeRead = () => {
    clock.aheadMs += 4_000;
    return Promise.resolve();
  };
  await feed.refresh();
  expect(feed.ageMs()).toBeGreaterThanOrEqual(4_000);
});

test('a part that fails to load leaves memory and version as they were, and is tried again', async () => {
  const feed = makeFeed();
  await feed.start();
  const broken = new Error('bad row');
  projects.beforeRead = () => Promise.reject(broken);
  await addProject('later');
  await expect(feed.refresh()).rejects.toMatchObject({ code: 'unavailable' });
  expect(feed.version).toBe(1n);
  expect(projects.names.size).toBe(0);
  projects.beforeRead = () => Promise.resolve();
  await expect.poll(() => projects.names.has('later'), { timeout: 5_000 }).toBe(true);
});

test('a listener that throws stops neither the others nor the feed', async () => {
  const feed = makeFeed();
  await feed.start();
  let told = 0;
  feed.onApplied(() => {
    throw new Error('mine');
  });
  feed.onApplied(() => (told += 1));
  const { version } = await addProject('one');
  await feed.reach(version, 5_000);
  expect(told).toBe(1);
});

test('a database that went back in time makes the state stale rather than wrong', async () => {
  await addProject('one');
  const feed = makeFeed();
  await feed.start();
  await owner.query('UPDATE control_version SET version = 1');
  await expect(feed.refresh()).rejects.toMatchObject({ code: 'unavailable' });
  expect(feed.version).toBe(2n);
});

test('a start without a database fails, and leaves nothing running', async () => {
  const connection = { ...testBounds, connectionString: 'postgres://a:b@127.0.0.1:1/x', applicationName: 'feed' };
  const feed = makeFeed({ connection });
  await expect(feed.start()).rejects.toMatchObject({ code: 'unavailable' });
  expect(feed.ageMs()).toBe(Infinity);
});

test('after the stop nothing is read and no connection is left', async () => {
  const feed = makeFeed();
  await feed.start();
  await feed.stop();
  await expect(feed.refresh()).rejects.toMatchObject({ code: 'unavailable' });
  const { rows } = await owner.query(
    `SELECT count(*)::int AS open FROM pg_stat_activity WHERE application_name = 'feed' AND datname = current_database()`,
  );
  expect(rows[0]).toEqual({ open: 0 });
});
