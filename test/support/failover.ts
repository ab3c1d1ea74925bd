import { expect } from 'vitest';
import type { LedgerRow, TestGate } from './gate.ts';
import type { MockUpstream, SeenRequest } from './mock-upstream/client.ts';
import { type RawAnswer, ask, doors, post } from './models.ts';

export type Client = keyof typeof doors;

/** How the answer of a call came about. */
export interface Course {
  readonly answer: RawAnswer;
  readonly text: string;
  /** The ledger's rows of the call, in the order of its attempts. */
  readonly rows: readonly LedgerRow[];
  /** What the provider saw of it, in its order. */
  readonly seen: readonly SeenRequest[];
}

let calls = 0;

/** Makes a call, waits until its books are closed, and checks what holds for each call whatever becomes of it. */
export async function follow(
  { gate, mock }: { readonly gate: TestGate; readonly mock: MockUpstream },
  secret: string,
  client: Client,
  model: string,
  rest: object = {},
): Promise<Course> {
  const requestId = `failover-${calls++}`;
  const before = (await mock.requests()).length;
  const headers = { authorization: `Bearer ${secret}`, 'x-request-id': requestId };
  const answer = await post(gate, doors[client].path, ask(model, rest), headers);
  await expect.poll(async () => (await gate.holds()).held, { timeout: 10_000 }).toBeUndefined();
  const seen = (await mock.requests()).slice(before);
  const rows = (await gate.ledger()).filter((row) => row.requestId === requestId).toReversed();
  // One row for each request that reached the provider, and none twice: its id went upstream.
  const ids = seen.map((request) => request.headers.find(([name]) => name === 'x-request-id')?.[1]);
  expect(new Set(ids).size).toBe(ids.length);
  expect(rows.map(({ id }) => id)).toEqual(expect.arrayContaining(ids));
  expect(new Set(rows.map(({ id }) => id)).size).toBe(rows.length);
  return { answer, text: answer.body.toString(), rows, seen };
}
