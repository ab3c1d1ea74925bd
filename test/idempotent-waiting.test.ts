import { Client } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { queryAsOwner } from './support/database.ts';
import type { TestGate } from './support/gate.ts';
import { ask, doors, post, startGateWithMock } from './support/models.ts';

/** Whoever waits for the first write under a key takes nothing from others. */

let gate: TestGate;
let stop: () => Promise<void>;
let blocker: Client;

beforeAll(async () => {
  // Whoever waits longer than these tests is not being saved by a timeout of the database.
  const bounds = { DATABASE_POOL_MAX: '4', DATABASE_LOCK_MS: '120000', DATABASE_STATEMENT_MS: '120000' };
  const env = { ...bounds, RATE_LIMIT_ADMIN_PER_MINUTE: '100000', RATE_LIMIT_API_PER_MINUTE: '100000' };
  ({ gate, stop } = await startGateWithMock({ env }));
});
afterAll(() => stop());

/** Keeps every write between its effect and its commit while `work` runs: it must write into the audit log before. */
async function whileNothingCommits(work: () => Promise<void>): Promise<void> {
  blocker = new Client({ connectionString: gate.database.ownerUrl });
  await blocker.connect();
  try {
    await blocker.query('BEGIN; LOCK TABLE audit_entries IN SHARE MODE');
    await work();
  } finally {
    await blocker.end();
  }
}

/** How many connections of the gate wait for a lock, to write into a table. */
async function waitingFor(table: 'audit_entries' | 'idempotency_keys'): Promise<number> {
  const rows = await queryAsOwner(
    gate.database,
    `SELECT FROM pg_stat_activity
     WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%INTO ${table}%'`,
  );
  return rows.length;
}

async function effectIsDone(): Promise<void> {
  await expect.poll(() => waitingFor('audit_entries'), soon).toBeGreaterThan(0);
}

async function write(key: string, signal?: AbortSignal) {
  const answer = await fetch(`${gate.url}/portcullis.v1.AgentService/CreateAgent`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${gate.adminKey}`,
      'idempotency-key': key,
    },
    body: JSON.stringify({ name: `made-under-${key}` }),
    ...(signal && { signal }),
  });
  const body = (await answer.json()) as { agent?: { id: string }; code?: string };
  return { status: answer.status, isReplay: answer.headers.get('idempotency-replayed') === 'true', body };
}

function self(key: string): Promise<Response> {
  return fetch(`${gate.url}/portcullis.v1.SystemService/GetSelf`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    body: '{}',
  });
}

const soon = { timeout: 20_000, interval: 20 };

test('eight writes under one key take one connection, and calls go on meanwhile', async () => {
  const { secret } = await gate.agent('caller');
  let answers: ReturnType<typeof write>[] = [];
  await whileNothingCommits(async () => {
    answers = Array.from({ length: 8 }, () => write('eight'));
    await effectIsDone();
    // The other seven are here when what was sent after them is answered.
    await fetch(`${gate.url}/healthz`);
    const headers = { authorization: `Bearer ${secret}`, 'idempotency-key': 'a-call' };
    expect(await post(gate, doors.chat.path, ask('gpt-1'), headers)).toMatchObject({ status: 200 });
    expect(await waitingFor('idempotency_keys')).toBe(0);
  });
  const written = await Promise.all(answers);
  expect(written.map(({ status }) => status)).toEqual(Array(8).fill(200));
  expect(written.filter(({ isReplay }) => !isReplay)).toHaveLength(1);
  expect(new Set(written.map(({ body }) => body.agent?.id)).size).toBe(1);
});

test('who leaves while waiting holds nobody up, nor does a first one that fails', async () => {
  const [first, leaving] = [new AbortController(), new AbortController()];
  let left: Promise<unknown>[] = [];
  let last: ReturnType<typeof write> | undefined;
  await whileNothingCommits(async () => {
    left = [write('left', first.signal).catch((error: Error) => error.name)];
    await effectIsDone();
    left.push(write('left', leaving.signal).catch((error: Error) => error.name));
    last = write('left');
    await fetch(`${gate.url}/healthz`);
    leaving.abort();
    first.abort();
    // The first one's statement is cancelled, and the last one is the next to try.
    await expect.poll(async () => (await gate.settledLog()).match(/client_closed/g)?.length, soon).toBe(2);
    await effectIsDone();
  });
  expect(await Promise.all(left)).toEqual(['AbortError', 'AbortError']);
  expect(await last).toMatchObject({ status: 200, isReplay: false });
});

test('more requests at once than one caller may have are told to come back', async () => {
  const { secret: other } = await gate.agent('other');
  const leaving = new AbortController();
  await whileNothingCommits(async () => {
    const held = Array.from({ length: 100 }, () => write('many', leaving.signal).catch(() => null));
    await effectIsDone();
    await expect
      .poll(async () => {
        const answer = await self(gate.adminKey);
        const told = await answer.text();
        return [answer.status, answer.headers.get('retry-after'), told.includes('100 requests in flight')];
      }, soon)
      .toEqual([429, '1', true]);
    expect((await self(other)).status).toBe(200);
    leaving.abort();
    await Promise.all(held);
  });
  await expect.poll(async () => (await write('after')).status, soon).toBe(200);
});
