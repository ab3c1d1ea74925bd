import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { bearer, control, eventually, knock, messages, send } from './support/doors.ts';
import { Workplace } from './support/embedded-gate.ts';
import type { Program } from './support/program.ts';

const place = new Workplace();
let gate: Program;
/** The request ids of calls that were answered. */
const answered: string[] = [];

beforeAll(async () => {
  gate = await place.up();
});
afterAll(() => place.remove());

async function callOnce(): Promise<number> {
  const { url, agent_key: key } = place.credentials;
  const { status, headers } = await knock(url, messages, bearer(key));
  if (status === 200) answered.push(String(headers['x-request-id']));
  return status;
}

/** What was answered stands in the ledger, each call once. */
async function expectLedger(): Promise<void> {
  const { url, admin_key: key } = place.credentials;
  const path = '/portcullis.v1.AnalyticsService/ListAttempts';
  const { json } = await knock(url, { ...control, path, body: '{"pageSize":500}' }, bearer(key));
  const succeeded = json.attempts.filter(({ outcome }: { outcome: string }) => outcome === 'ATTEMPT_OUTCOME_SUCCESS');
  const ids: string[] = succeeded.map(({ requestId }: { requestId: string }) => requestId);
  // More may stand there: a call whose end could not be written in time was told 503, and written later.
  expect(ids.filter((id) => answered.includes(id)).toSorted()).toEqual(answered.toSorted());
}

describe('kill -9', () => {
  beforeEach(callOnce);

  it('of PostgreSQL: calls are refused with 503 while it is away, then it serves again by itself', async () => {
    const { pid } = gate.process;
    const before = place.postmaster;
    process.kill(before, 'SIGKILL');
    const seen = new Set<number>();
    await eventually(async () => {
      const status = await callOnce();
      seen.add(status);
      expect(place.postmaster).not.toBe(before);
      expect(status).toBe(200);
    }, 60_000);
    expect([...seen].filter((status) => status !== 200 && status !== 503)).toEqual([]);
    await eventually(async () => {
      expect((await send(place.credentials.url, { path: '/readyz' })).status).toBe(200);
    });
    expect(gate.process.pid).toBe(pid);
    expect(gate.process.exitCode).toBeNull();
    await expectLedger();
  });

  it('of the gate: the next start stops the PostgreSQL that was left, and has everything', async () => {
    const left = place.postmaster;
    const { admin_key: key } = place.credentials;
    await gate.end('SIGKILL');
    gate = await place.up();
    expect(place.postmaster).not.toBe(left);
    expect(place.credentials.admin_key).toBe(key);
    await expectLedger();
    expect(place.processes().filter((line) => /bin\/postgres\b.* -D /.test(line))).toHaveLength(1);
  });

  it('of both: the next start recovers', async () => {
    process.kill(place.postmaster, 'SIGKILL');
    await gate.end('SIGKILL');
    gate = await place.up();
    expect(await callOnce()).toBe(200);
    await expectLedger();
  });

  it('is never needed: after all of it a Ctrl-C ends everything with code 0', async () => {
    expect(await gate.end('SIGINT')).toBe(0);
    await eventually(() => expect(place.processes()).toEqual([]));
  });
});

it('a signal while it starts is obeyed as soon as it is up', async () => {
  gate = place.run(['up']);
  await eventually(() => expect(gate.stderr).toContain('Configuration validation: ok'));
  expect(await gate.end('SIGTERM')).toBe(0);
  expect(place.processes()).toEqual([]);
  gate = await place.up();
});
