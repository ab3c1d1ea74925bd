import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { AgentService } from '../server/src/gen/portcullis/v1/agent_pb.ts';
import { queryAsOwner } from './support/database.ts';
import { type TestGate, startGate } from './support/gate.ts';

/** What a client of the control API no longer waits for ends in the database too, and leaves the gate whole. */

let gate: TestGate;
let agentId: string;
let blocker: Client;

beforeAll(async () => {
  // Whoever waits longer than these tests is not being saved by a timeout of the database.
  gate = await startGate({
    env: { DATABASE_POOL_MAX: '3', DATABASE_LOCK_MS: '120000', DATABASE_STATEMENT_MS: '120000' },
  });
  ({ agentId } = await gate.agent('locked'));
});
afterAll(() => gate.stop());

beforeEach(async () => {
  blocker = new Client({ connectionString: gate.database.ownerUrl });
  await blocker.connect();
  await blocker.query('BEGIN; LOCK TABLE agents IN ACCESS EXCLUSIVE MODE');
});
afterEach(() => blocker.end());

/** How many statements of the gate wait for a lock. */
async function waiting(): Promise<number> {
  const rows = await queryAsOwner(
    gate.database,
    `SELECT FROM pg_stat_activity
     WHERE datname = current_database() AND application_name = 'portcullis' AND wait_event_type = 'Lock'`,
  );
  return rows.length;
}

const soon = { timeout: 20_000, interval: 20 };

function send(method: string, headers: Record<string, string>, signal?: AbortSignal): Promise<Response> {
  return fetch(`${gate.url}/portcullis.v1.AgentService/${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${gate.adminKey}`, ...headers },
    body: JSON.stringify(method === 'ListAgents' ? {} : { agentId }),
    ...(signal && { signal }),
  });
}

/** Lets go of what all waited for: the gate must then work as ever. */
async function expectWhole(): Promise<void> {
  await expect.poll(waiting, soon).toBe(0);
  await blocker.query('ROLLBACK');
  const { agents } = await gate.api<{ agents: { state: string }[] }>('AgentService/ListAgents');
  expect(agents.map(({ state }) => state)).toEqual(['AGENT_STATE_ACTIVE']);
  const many = await Promise.all(Array.from({ length: 12 }, () => gate.api('AgentService/ListAgents')));
  expect(many).toHaveLength(12);
  expect((await fetch(`${gate.url}/readyz`)).status).toBe(200);
}

describe.each([
  ['a read', 'ListAgents', {}],
  ['a write', 'DisableAgent', {}],
  ['a write with a key', 'DisableAgent', { 'idempotency-key': 'late' }],
])('%s', (_name, method, headers) => {
  test('ends with the deadline of its client', async () => {
    const answer = await send(method, { ...headers, 'connect-timeout-ms': '300' });
    expect(answer.status).toBe(504);
    expect(await answer.json()).toMatchObject({ code: 'deadline_exceeded' });
    await expectWhole();
  });

  test('ends when its client leaves', async () => {
    const leaving = new AbortController();
    const left = send(method, headers, leaving.signal).catch((error: Error) => error.name);
    await expect.poll(waiting, soon).toBe(1);
    leaving.abort();
    expect(await left).toBe('AbortError');
    await expectWhole();
    expect(await gate.settledLog()).toContain('client_closed');
  });
});

test('a deadline holds for gRPC as well', async () => {
  const transport = createGrpcTransport({
    baseUrl: gate.grpcUrl,
    interceptors: [
      (next) => (request) => {
        request.header.set('authorization', `Bearer ${gate.adminKey}`);
        return next(request);
      },
    ],
  });
  const late = createClient(AgentService, transport).disableAgent({ agentId }, { timeoutMs: 300 });
  await expect(late).rejects.toThrow('deadline_exceeded');
  await expectWhole();
});

test('more requests than connections end with their deadlines too', async () => {
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      send(index % 2 === 0 ? 'ListAgents' : 'DisableAgent', { 'connect-timeout-ms': String(200 + 20 * index) }),
    ),
  );
  expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(504));
  await expectWhole();
});

// Timers of 32 bits: what is longer would fire at once.
test.each([
  ['connect-timeout-ms', '2147483648'],
  ['connect-timeout-ms', '9999999999'],
  ['grpc-timeout', '720H'],
  ['grpc-timeout', '99999999H'],
])('a deadline that no timer can hold is the longest, not the shortest (%s: %s)', async (name, value) => {
  // In gRPC-Web the frame of an empty message, and its status at the end of the body.
  const isWeb = name === 'grpc-timeout';
  const answer = fetch(`${gate.url}/portcullis.v1.AgentService/ListAgents`, {
    method: 'POST',
    headers: {
      'content-type': isWeb ? 'application/grpc-web+proto' : 'application/json',
      authorization: `Bearer ${gate.adminKey}`,
      [name]: value,
    },
    body: isWeb ? new Uint8Array(5) : '{}',
  }).then(async (response) => `${response.status} ${await response.text()}`);
  const waits = async () => {
    await expect.poll(waiting, soon).toBe(1);
  };
  await Promise.race([waits(), answer]);
  await blocker.query('ROLLBACK');
  expect(await answer).toMatch(isWeb ? /grpc-status: 0/ : /^200 /);
});

test('a deadline that has passed already lets nothing begin', async () => {
  expect((await send('DisableAgent', { 'connect-timeout-ms': '0' })).status).toBe(504);
  await expectWhole();
});
