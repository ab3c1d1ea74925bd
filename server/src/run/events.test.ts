import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, queryAsOwner, type TestDatabase } from '../../../test/support/database.ts';
import { agentCaller, makeAgents, operatorCaller, projectId, writeRun } from '../../../test/support/runs.ts';
import { idTime } from '../base/ids.ts';
import { eventMessageBytesMax, eventsPerBatchMax, eventsPerRunMax } from '../base/telemetry-limits.ts';
import { type EventQuestion, RunEvents } from './events.ts';
import type { RunEvent, ToldEvent } from './model.ts';

const minuteMs = 60_000;
const dayMs = 86_400_000;
const one = agentCaller('agt_1');
const everything: EventQuestion = { type: null, level: null, from: null, to: null };
let db: TestDatabase;
let events: RunEvents;

beforeAll(async () => {
  db = await createTestDatabase();
  await makeAgents(db);
  events = new RunEvents(db.pool, Date.now);
});
afterAll(() => db?.drop());

const told = (more: Partial<ToldEvent> = {}): ToldEvent => ({
  type: 'step',
  level: 'info',
  message: 'did it',
  data: null,
  occurredAt: null,
  clientId: null,
  ...more,
});

const runOf = (id: string) => ({ id, projectId });

/** All pages of a run. */
async function listed(id: string, pageSize = 500, question: Partial<EventQuestion> = {}): Promise<RunEvent[]> {
  const all: RunEvent[] = [];
  for (let cursor: string | null = null; ;) {
    const page = await events.list(one, runOf(id), { ...everything, ...question }, { pageSize, cursor });
    all.push(...page.items);
    if (page.nextCursor === null) return all;
    cursor = page.nextCursor;
  }
}

describe('an event', () => {
  test('is kept as it was told, with the time at which it occurred in its id', async () => {
    const id = await writeRun(db);
    const occurredAt = Date.now() - minuteMs;
    const data = '{ "tool": "search", "n": 12345678901234567890, "n": 1 }';
    const made = await events.record(one, runOf(id), told({ level: 'warn', data, occurredAt }));
    expect(made.duplicate).toBe(false);
    expect(idTime(made.id)).toBe(occurredAt);
    expect(await listed(id)).toEqual([
      {
        id: made.id,
        runId: id,
        agentId: 'agt_1',
        type: 'step',
        level: 'warn',
        message: 'did it',
        data,
        occurredAt,
        recordedAt: expect.any(Number) as unknown,
      },
    ]);
  });

  test('that its agent named is one, however often and by however many it is told, and stays as it was first', async () => {
    const [id, another] = [await writeRun(db), await writeRun(db)];
    const named = told({ clientId: 'c1', occurredAt: Date.now() });
    const made = await Promise.all(Array.from({ length: 20 }, () => events.record(one, runOf(id), named)));
    expect(new Set(made.map((event) => event.id)).size).toBe(1);
    expect(made.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
    const again = told({ clientId: 'c1', occurredAt: named.occurredAt, message: 'something else' });
    expect(await events.record(one, runOf(id), again)).toEqual({ id: made[0]!.id, duplicate: true });
    expect(await events.recordAll(one, runOf(id), [named, told(), again, told({ ...named, clientId: 'c2' })])).toBe(2);
    expect((await listed(id)).map(({ message }) => message)).toEqual(['did it', 'did it', 'did it']);
    // Another run, and another time, have names of their own.
    expect((await events.record(one, runOf(another), named)).id).not.toBe(made[0]!.id);
    const later = told({ ...named, occurredAt: named.occurredAt! + 1 });
    expect((await events.record(one, runOf(id), later)).duplicate).toBe(false);
  });

  test('is of the agent’s own run: another one does not exist', async () => {
    const id = await writeRun(db, { agentId: 'agt_1' });
    const strangers = [agentCaller('agt_2'), agentCaller('agt_b'), agentCaller('agt_1', { runId: 'run_other' })];
    for (const by of strangers) {
      const run = { id, projectId: by.projectId };
      const missing = { code: 'not_found', message: `There is no run "${id}" that you may see.` };
      await expect(events.record(by, run, told())).rejects.toMatchObject(missing);
      await expect(events.recordAll(by, run, [told()])).rejects.toMatchObject(missing);
      await expect(events.list(by, run, everything, { pageSize: 10, cursor: null })).rejects.toMatchObject(missing);
    }
    expect(await listed(id)).toEqual([]);
    await events.record(operatorCaller, runOf(id), told());
    expect((await listed(id))[0]?.agentId).toBe('agt_1');
  });

  test('is taken for an hour after its run ended', async () => {
    const ended = (agoMs: number) =>
      writeRun(db, { state: 'failed', startedAt: Date.now() - dayMs, finishedAt: Date.now() - agoMs });
    const lately = await ended(59 * minuteMs);
    await events.record(one, runOf(lately), told({ clientId: 'last words', occurredAt: Date.now() }));
    expect(await listed(lately)).toHaveLength(1);
    await expect(events.record(one, runOf(await ended(61 * minuteMs)), told())).rejects.toMatchObject({
      code: 'conflict',
    });
  });

  test('is one of so many of its run', async () => {
    const id = await writeRun(db);
    const counted = (n: number) =>
      queryAsOwner(
        db,
        `INSERT INTO run_totals (run_id, project_id, events) VALUES ($1, 'prj_a', $2)
         ON CONFLICT (run_id) DO UPDATE SET events = excluded.events`,
        [id, n],
      );
    await counted(eventsPerRunMax - 1);
    await events.record(one, runOf(id), told());
    await counted(eventsPerRunMax);
    await expect(events.record(one, runOf(id), told())).rejects.toMatchObject({ code: 'conflict' });
  });

  test('is one of so many also while nothing counts them', async () => {
    const bounded = new RunEvents(db.pool, Date.now, 10);
    const id = await writeRun(db);
    const batch = (size: number, from: number) =>
      Array.from({ length: size }, (_, n) => told({ clientId: String(from + n), occurredAt: now }));
    const now = Date.now();
    const counting = (since: string) =>
      queryAsOwner(db, `UPDATE rollup_watermarks SET read_at = now() - $1::interval`, [since]);
    await counting('10 minutes');
    try {
      expect(await bounded.recordAll(one, runOf(id), batch(9, 0))).toBe(9);
      // Told again they are the same, and take no place.
      expect(await bounded.recordAll(one, runOf(id), batch(9, 0))).toBe(0);
      expect(await bounded.recordAll(one, runOf(id), batch(3, 9))).toBe(3);
      await expect(bounded.recordAll(one, runOf(id), batch(1, 12))).rejects.toMatchObject({ code: 'conflict' });
    } finally {
      await counting('0');
    }
    // By its totals it has room: they are seconds behind.
    expect(await bounded.recordAll(one, runOf(id), batch(1, 12))).toBe(1);
  });

  const deep = (levels: number) => `{"a":${'['.repeat(levels - 1)}${']'.repeat(levels - 1)}}`;
  test.each<[string, Partial<ToldEvent>]>([
    ['type', { type: '' }],
    ['type', { type: 'a b' }],
    ['type', { type: 'x'.repeat(101) }],
    ['type', { type: 'step\n' }],
    ['message', { message: 'x'.repeat(eventMessageBytesMax + 1) }],
    ['message', { message: 'é'.repeat(eventMessageBytesMax / 2 + 1) }],
    ['data', { data: '' }],
    ['data', { data: '[]' }],
    ['data', { data: 'null' }],
    ['data', { data: '{"a":1' }],
    ['data', { data: '{"a":1}}' }],
    ['data', { data: `{"a":"${'x'.repeat(16 * 1024)}"}` }],
    ['data', { data: deep(33) }],
    ['data', { data: `{"a":${'['.repeat(8000)}${']'.repeat(8000)}}` }],
    ['occur_time', { occurredAt: Date.now() + 6 * minuteMs }],
    ['occur_time', { occurredAt: Date.now() - 31 * dayMs }],
    ['occur_time', { occurredAt: 0 }],
    ['occur_time', { clientId: 'c' }],
    ['client_id', { clientId: '', occurredAt: Date.now() }],
    ['client_id', { clientId: 'x'.repeat(201), occurredAt: Date.now() }],
  ])('with a wrong %s is refused by its place, and a batch with it is not written', async (field, wrong) => {
    const id = await writeRun(db, { startedAt: Date.now() - 40 * dayMs });
    await expect(events.record(one, runOf(id), told(wrong))).rejects.toMatchObject({
      code: 'invalid_argument',
      members: { param: `event.${field}` },
    });
    await expect(events.recordAll(one, runOf(id), [told(), told(), told(wrong)])).rejects.toMatchObject({
      code: 'invalid_argument',
      members: { param: `events[2].${field}` },
    });
    expect(await listed(id)).toEqual([]);
  });

  test.each<[string, Partial<ToldEvent>]>([
    ['the most bytes', { message: 'x'.repeat(eventMessageBytesMax) }],
    ['the most levels', { data: deep(32) }],
    ['braces in a string', { data: `{"a":"${'{['.repeat(100)}\\\\\\"${'{'.repeat(100)}"}` }],
    ['escapes that no database keeps as text', { data: '{"a":"\\u0000\\ud800","n":1e999999}' }],
    ['a time of late', { occurredAt: Date.now() - 29 * dayMs }],
    ['a clock that is ahead', { occurredAt: Date.now() + 4 * minuteMs }],
  ])('may have %s', async (_, more) => {
    const id = await writeRun(db, { startedAt: Date.now() - 40 * dayMs });
    await events.record(one, runOf(id), told(more));
    const { clientId: _none, ...kept } = told(more);
    expect(await listed(id)).toMatchObject([{ ...kept, occurredAt: expect.any(Number) as unknown }]);
  });

  test('is no earlier than a day before its run', async () => {
    const id = await writeRun(db);
    await events.record(one, runOf(id), told({ occurredAt: Date.now() - dayMs + minuteMs }));
    await expect(
      events.record(one, runOf(id), told({ occurredAt: Date.now() - dayMs - minuteMs })),
    ).rejects.toMatchObject({ members: { param: 'event.occur_time' } });
  });

  test('of any text is kept, with a sign in the place of what no text can have', async () => {
    const id = await writeRun(db);
    const units = fc.array(fc.integer({ min: 0, max: 0xffff })).map((all) => String.fromCharCode(...all));
    const text = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }), units);
    await fc.assert(
      fc.asyncProperty(text, text, async (message, name) => {
        const data = JSON.stringify({ [name]: message });
        const { id: eventId } = await events.record(one, runOf(id), told({ message, data }));
        const {
          rows: [kept],
        } = await db.pool.query<{ message: string; data: string }>(
          'SELECT message, data FROM run_events WHERE id = $1',
          [eventId],
        );
        expect(kept?.message).toBe(message.replaceAll('\0', '\uFFFD').toWellFormed());
        expect(kept?.data).toBe(data);
      }),
      { numRuns: 100 },
    );
  });
});

describe('a list of events', () => {
  test('has those that match, by when they occurred and not by when they were told, on any pages', async () => {
    const id = await writeRun(db, { startedAt: Date.now() - 10 * dayMs });
    const now = Date.now();
    const made = Array.from({ length: 200 }, (_, n) =>
      told({
        type: ['a', 'b'][n % 2]!,
        level: (['info', 'warn', 'error'] as const)[n % 3]!,
        message: String(n),
        // Out of order, and over days that have partitions and days that have none.
        occurredAt: now - ((n * 7919) % 200) * 60 * minuteMs,
        clientId: String(n),
      }),
    );
    for (let n = 0; n < made.length; n += 50) await events.recordAll(one, runOf(id), made.slice(n, n + 50));
    const question = fc.record({
      type: fc.constantFrom(null, 'a', 'b', 'c'),
      level: fc.constantFrom(null, 'info', 'warn', 'error'),
      from: fc.option(fc.integer({ min: now - 9 * dayMs, max: now })),
      to: fc.option(fc.integer({ min: now - 9 * dayMs, max: now })),
    });
    await fc.assert(
      fc.asyncProperty(question, fc.integer({ min: 1, max: 60 }), async (asked, pageSize) => {
        const expected = made.filter(
          ({ type, level, occurredAt }) =>
            (asked.type === null || type === asked.type) &&
            (asked.level === null || level === asked.level) &&
            (asked.from === null || occurredAt! >= asked.from) &&
            (asked.to === null || occurredAt! < asked.to),
        );
        const wanted = expected.toSorted((a, b) => b.occurredAt! - a.occurredAt!).map(({ message }) => message);
        expect((await listed(id, pageSize, asked)).map(({ message }) => message)).toEqual(wanted);
      }),
      { numRuns: 40 },
    );
  });

  test('has pages of so many bytes, and all of them together have all events', async () => {
    const id = await writeRun(db);
    const huge = told({ message: 'm'.repeat(eventMessageBytesMax), data: `{"a":"${'x'.repeat(16_000)}"}` });
    for (let n = 0; n < 3; n++)
      await events.recordAll(
        one,
        runOf(id),
        Array.from({ length: 30 }, () => huge),
      );
    const first = await events.list(one, runOf(id), everything, { pageSize: 500, cursor: null });
    expect(first.items.length).toBeLessThan(15);
    expect(await listed(id)).toHaveLength(90);
    expect(await listed(id, 1)).toHaveLength(90);
  });

  test('is walked on where a page found nothing in all that it looked at', async () => {
    const id = await writeRun(db);
    await events.record(one, runOf(id), told({ type: 'rare', occurredAt: Date.now() - minuteMs }));
    for (let n = 0; n < 5; n++)
      await events.recordAll(
        one,
        runOf(id),
        Array.from({ length: eventsPerBatchMax }, () => told()),
      );
    const page = await events.list(one, runOf(id), { ...everything, type: 'rare' }, { pageSize: 10, cursor: null });
    expect(page.items).toEqual([]);
    expect(page.nextCursor).not.toBeNull();
    expect(await listed(id, 10, { type: 'rare' })).toHaveLength(1);
  });
});

test('a batch has 1 to 1,000 events', async () => {
  const id = await writeRun(db);
  for (const count of [0, eventsPerBatchMax + 1]) {
    const batch = Array.from({ length: count }, () => told());
    await expect(events.recordAll(one, runOf(id), batch)).rejects.toMatchObject({ members: { param: 'events' } });
  }
  expect(
    await events.recordAll(
      one,
      runOf(id),
      Array.from({ length: eventsPerBatchMax }, () => told()),
    ),
  ).toBe(1000);
});
