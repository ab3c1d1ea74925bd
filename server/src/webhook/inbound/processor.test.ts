import { createSecretKey, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.ts';
import { newId } from '../../base/ids.ts';
import { createLogger } from '../../base/log.ts';
import { createMetrics } from '../../base/metrics.ts';
import { inTransaction } from '../../pg/tx.ts';
import { Bodies } from './bodies.ts';
import { type Effect, type Handler, Refused } from './handlers.ts';
import { eventKeys } from './keys.ts';
import { WebhookProcessor } from './processor.ts';
import { pauseAfter } from './rules.ts';
import { Sources } from './sources.ts';
import { findEvent, insertEvent, takeKeys } from './store.ts';

let db: TestDatabase;
const bodies = new Bodies({ id: randomBytes(8), key: createSecretKey(randomBytes(32)) });
const metrics = createMetrics();
const lines: string[] = [];
const log = createLogger('warn', { write: (line) => void lines.push(line) });
const sources = new Sources();

beforeAll(async () => {
  db = await createTestDatabase();
  sources.replace({
    s: {
      scheme: 'github',
      secrets: ['a secret that is long enough'],
      project: 'default',
      headers: [],
      seal: false,
      body_bytes_max: 1000,
      tolerance_s: 300,
      signature_prefix: '',
      encoding: 'hex',
      algorithm: 'sha256',
      signed: '{body}',
    },
  });
});
afterAll(() => db.drop());

const done: string[] = [];
beforeEach(() => {
  done.length = 0;
});

const kept: Effect = { state: 'kept', runId: null, note: '' };

function processor(handler: Handler, baseMs = 1): WebhookProcessor {
  const handlers = { keep: handler, tell_run: handler, tell_run_of_job: handler };
  return new WebhookProcessor({
    pool: db.pool,
    sources,
    bodies,
    handlers,
    log,
    metrics,
    asks: false,
    retries: { triesMax: 3, baseMs },
  });
}

async function accept(source = 's'): Promise<string> {
  const id = newId('inb');
  const event = {
    id,
    projectId: 'prj_x',
    source,
    providerEventId: '',
    type: '',
    runId: null,
    callbackId: null,
    contentType: '',
    headers: {},
    body: Buffer.from('{}'),
    bodyBytes: 2,
    sealed: false,
    receivedAt: Date.now(),
  };
  await inTransaction(db.pool, async (tx) => {
    await takeKeys(tx, event, eventKeys({ id, known: [] }, ''));
    await insertEvent(tx, event);
  });
  return id;
}

const stateOf = async (id: string) => findEvent(db.pool, id);

async function until(work: () => Promise<void>, id: string, state: string): Promise<void> {
  await expect
    .poll(
      async () => {
        await work();
        return (await stateOf(id))?.state;
      },
      { timeout: 10_000, interval: 10 },
    )
    .toBe(state);
}

test('any number of processes do each event once', async () => {
  const ids = await Promise.all(Array.from({ length: 120 }, () => accept()));
  const handler: Handler = {
    apply: async (_tx, { event }) => {
      done.push(event.id);
      return kept;
    },
  };
  const all = Array.from({ length: 4 }, () => processor(handler));
  await Promise.all(all.map((one) => one.work()));
  expect([...done].sort()).toEqual([...ids].sort());
  expect((await db.pool.query('SELECT FROM webhook_event_jobs')).rowCount).toBe(0);
});

test('what fails is tried again, undone what it did, and is dead after the last try', async () => {
  const id = await accept();
  let tries = 0;
  const failing = processor({
    apply: async (tx) => {
      tries++;
      await tx.query(`UPDATE webhook_events SET type = 'touched' WHERE id = $1`, [id]);
      throw new Error(`it failed\n${tries}`);
    },
  });
  await until(() => failing.work(), id, 'dead');
  expect(tries).toBe(3);
  expect(await stateOf(id)).toMatchObject({ attempts: 3, note: 'it failed 3', type: '' });
  expect(lines.join('')).toContain('could not be processed');
});

test('what no try can change is dead at once', async () => {
  const id = await accept();
  const refusing = processor({
    apply: async () => {
      throw new Refused('Nobody can.');
    },
  });
  await refusing.work();
  expect(await stateOf(id)).toMatchObject({ state: 'dead', attempts: 1, note: 'Nobody can.' });
});

test('a failure in between is forgotten when a later try succeeds', async () => {
  const id = await accept();
  let tries = 0;
  const work = processor({
    prepare: async () => {
      if (++tries < 3) throw new Error('not yet');
      return 'prepared';
    },
    apply: async (_tx, _work, prepared) => ({ ...kept, note: String(prepared) }),
  });
  await until(() => work.work(), id, 'kept');
  expect(await stateOf(id)).toMatchObject({ attempts: 3, note: 'prepared' });
});

test('a claim that ended while it was prepared does nothing: another has it by then', async () => {
  const id = await accept();
  let release = () => undefined as void;
  const asked = new Promise<void>((resolve) => {
    release = resolve;
  });
  const slow = processor({
    prepare: () => asked,
    apply: async () => {
      done.push('slow');
      return kept;
    },
  });
  const working = slow.work();
  await expect
    .poll(async () => (await db.pool.query('SELECT FROM webhook_event_jobs WHERE claim IS NOT NULL')).rowCount)
    .toBe(1);
  await db.pool.query('UPDATE webhook_event_jobs SET due_at = now() WHERE event_id = $1', [id]);
  const quick = processor({
    apply: async () => {
      done.push('quick');
      return kept;
    },
  });
  await quick.work();
  release();
  await working;
  expect(done).toEqual(['quick']);
});

test('an event whose every try ended with its process is given up', async () => {
  const id = await accept();
  await db.pool.query('UPDATE webhook_event_jobs SET attempts = 3 WHERE event_id = $1', [id]);
  await processor({ apply: async () => kept }).work();
  expect(await stateOf(id)).toMatchObject({ state: 'dead', note: 'Each try ended with its process.' });
});

test('what a stop breaks off is no try, and waits for the next process', async () => {
  const id = await accept();
  const stopped = processor({
    prepare: (_work, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new Error('broken off')));
      }),
    apply: async () => kept,
  });
  const working = stopped.work();
  await expect
    .poll(async () => (await db.pool.query('SELECT FROM webhook_event_jobs WHERE claim IS NOT NULL')).rowCount)
    .toBe(1);
  await stopped.stop();
  await working;
  const { rows } = await db.pool.query('SELECT attempts, claim FROM webhook_event_jobs WHERE event_id = $1', [id]);
  expect(rows).toEqual([{ attempts: 0, claim: null }]);
  await processor({ apply: async () => kept }).work();
  expect(await stateOf(id)).toMatchObject({ state: 'kept', attempts: 1 });
});

test('a source that this process does not know leaves its event to another that does', async () => {
  const id = await accept('unknown');
  await processor({ apply: async () => kept }, 60_000).work();
  expect(await stateOf(id)).toMatchObject({
    state: 'pending',
    note: 'Its source is not in the configuration of this gate.',
  });
});

test('pauses grow fourfold, to a quarter of an hour, and end', () => {
  const pauses = Array.from({ length: 8 }, (_, at) => pauseAfter(at + 1, { triesMax: 8, baseMs: 1000 }));
  expect(pauses).toEqual([1000, 4000, 16_000, 64_000, 256_000, 900_000, 900_000, null]);
});
