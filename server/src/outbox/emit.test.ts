import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, queryAsOwner, type TestDatabase } from '../../../test/support/database.ts';
import {
  addEndpoint,
  emitExample,
  makeProjects,
  otherProjectId,
  projectId,
} from '../../../test/support/webhook-endpoints.ts';
import { eventBytesMax } from '../base/webhook-limits.ts';
import { inTransaction } from '../pg/tx.ts';
import { boundedData } from './bounded-data.ts';
import { catalogue, eventSchema, eventTypes, exampleData, isEventType } from './catalogue.ts';
import { emitEvent, outboxChannel } from './emit.ts';
import { messageBody } from './message.ts';

/** For a busy machine. */
const soon = { timeout: 30_000 };
let db: TestDatabase;

beforeAll(async () => {
  db = await createTestDatabase();
  await makeProjects(db);
});
afterAll(() => db.drop());
beforeEach(async () => {
  await queryAsOwner(db, 'DELETE FROM webhook_secrets');
  await queryAsOwner(db, 'DELETE FROM webhook_endpoints');
  await queryAsOwner(db, 'DELETE FROM outbox_events');
});

const events = () =>
  queryAsOwner<{ type: string; project_id: string | null; seq: string }>(
    db,
    'SELECT type, project_id, seq FROM outbox_events ORDER BY seq',
  );
const url = 'https://receiver.example/';

describe('an event', () => {
  test('is written where an active endpoint of its project wants its type, and else nowhere', async () => {
    await emitExample(db, 'run.started');
    expect(await events()).toEqual([]);
    const { id } = await addEndpoint(db, { url, eventTypes: ['run.started'] });
    await emitExample(db, 'run.failed');
    await emitExample(db, 'run.started', { projectId: otherProjectId });
    expect(await events()).toEqual([]);
    await emitExample(db, 'run.started');
    expect(await events()).toMatchObject([{ type: 'run.started', project_id: projectId }]);
    for (const state of ['unverified', 'deleted']) {
      await queryAsOwner(db, 'UPDATE webhook_endpoints SET state = $2 WHERE id = $1', [id, state]);
      await emitExample(db, 'run.started');
    }
    expect(await events()).toHaveLength(1);
  });

  test('that concerns all projects is written where any endpoint wants it', async () => {
    await addEndpoint(db, { url, projectId: otherProjectId });
    await emitExample(db, 'kill.engaged', { projectId: null });
    expect(await events()).toMatchObject([{ project_id: null }]);
  });

  test('of a transaction that is undone is not written, and listeners hear of those that are', async () => {
    await addEndpoint(db, { url });
    const heard: string[] = [];
    const client = await db.pool.connect();
    client.on('notification', ({ channel }) => heard.push(channel));
    await client.query(`LISTEN ${outboxChannel}`);
    const undone = inTransaction(db.pool, async (tx) => {
      await emitEvent(tx, {
        type: 'approval.expired',
        projectId,
        data: { approval_id: 'a', kind: 'run_gate', run_id: null },
      });
      throw new Error('undone');
    });
    await expect(undone).rejects.toThrow('undone');
    expect(await events()).toEqual([]);
    await client.query('SELECT 1');
    expect(heard).toEqual([]);
    await emitExample(db, 'run.started');
    await expect.poll(() => heard, soon).toEqual([outboxChannel]);
    await client.query('UNLISTEN *');
    client.release();
  });

  test('takes one statement', async () => {
    const statements: string[] = [];
    const query = ({ text }: { text: string }) => Promise.resolve(void statements.push(text));
    await emitEvent({ query } as never, {
      type: 'approval.expired',
      projectId,
      data: exampleData('approval.expired') as never,
    });
    expect(statements).toHaveLength(1);
  });
});

describe('the catalogue', () => {
  const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, allErrors: true });
  formats.default(ajv);

  test.each(eventTypes)('%s: its example is what its schema says, and no member may be missing or more', (type) => {
    const validate = ajv.compile(eventSchema(type));
    const data = exampleData(type);
    const bodyOf = (told: object) =>
      JSON.parse(
        messageBody({
          type,
          version: catalogue[type].version,
          projectId,
          occurredAt: 1_795_432_462_345,
          data: boundedData({ ...told }),
        }),
      ) as Record<string, unknown>;
    expect(validate(bodyOf(data)), JSON.stringify(validate.errors)).toBe(true);
    expect(bodyOf(data)).toMatchObject({ timestamp: '2026-11-23T11:14:22.345Z', data });
    expect(validate(bodyOf({ ...data, more: 1 }))).toBe(false);
    for (const name of Object.keys(data)) {
      const { [name]: _left, ...rest } = data;
      expect(validate(bodyOf(rest)), name).toBe(false);
    }
  });

  test('knows its types and no others', () => {
    expect(isEventType('run.started')).toBe(true);
    for (const name of ['session.started', 'toString', '__proto__', '']) expect(isEventType(name)).toBe(false);
  });
});

describe('the data of an event', () => {
  test('fits into a message, however long its texts and lists are, and stays JSON that PostgreSQL takes', async () => {
    const names = Array.from({ length: 20 }, (_, at) => `member_${at}`);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: 'binary', maxLength: 50 }), { minLength: 20, maxLength: 20 }),
        fc.integer({ min: 1, max: 2_000 }),
        async (texts, times) => {
          const data = Object.fromEntries(names.map((name, at) => [name, (texts[at] ?? '').repeat(times)]));
          const json = boundedData({ ...data, list: Array.from({ length: times }, () => 'x') });
          expect(Buffer.byteLength(json)).toBeLessThanOrEqual(eventBytesMax);
          expect(JSON.parse(json)).toHaveProperty('member_0');
          await db.pool.query('SELECT $1::text', [json]);
        },
      ),
      { numRuns: 50 },
    );
  });

  test('is told whole where it fits', () => {
    const data = { summary: 'é'.repeat(2_000), list: ['a', 'b'], none: null, count: 3 };
    expect(JSON.parse(boundedData(data))).toEqual(data);
  });
});
