import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type FaultyLink, openFaultyLink } from './support/faulty-link.ts';
import { type TestGate, startGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { ask, doors, mockConfiguration, post, startGateWithMock } from './support/models.ts';
import { newCaller, openStream, type Pair } from './support/stops.ts';

/** What a replica does that control state does not reach, and one whose clock is wrong. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
const printed: { what: string; limit_ms: number; stream_ended_after_ms: number; then_refused_in_ms: number }[] = [];

const ageMaxMs = 2_000;
/** For a busy machine. */
const slackMs = 1_500;

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock());
  await mock.script({ model: 'claude-endless', tokens: 1_000_000, tokensPerSecond: 100 });
});
afterAll(async () => {
  console.table(printed);
  await stop();
});

const engage = (body: object) =>
  gate.api<{ killSwitch: { id: string } }>('PolicyService/EngageKillSwitch', { reason: 'It ran amok.', ...body });
const callAt = (replica: TestGate, secret: string) =>
  post(replica, doors.anthropic.path, ask('claude-1'), { authorization: `Bearer ${secret}` });

describe('a replica that is cut off from the database', () => {
  let link: FaultyLink;
  let replica: TestGate;
  beforeAll(async () => {
    link = await openFaultyLink(gate.database.appUrl);
    replica = await startGate({
      yaml: mockConfiguration(mock),
      database: gate.database,
      env: {
        DATABASE_URL: link.url,
        CONTROL_AGE_MAX_MS: String(ageMaxMs),
        // However patient it is otherwise.
        DATABASE_CONNECT_MS: '60000',
        DATABASE_STATEMENT_MS: '60000',
        DATABASE_LOCK_MS: '60000',
        MODEL_IDLE_MS: '600000',
        MODEL_TOTAL_MS: '600000',
        STREAM_PING_MS: '60000',
      },
    });
  });
  afterAll(async () => {
    link.mend();
    await replica.stop();
    await link.close();
  });

  test.each(['cut', 'freeze'] as const)(
    '(%s) refuses new calls and ends its streams at the age limit, and comes back',
    async (how) => {
      const pair: Pair = { told: gate, other: replica, model: 'claude-endless', provider: 'claude' };
      const caller = await newCaller(pair);
      const stream = await openStream(pair, caller);
      const cutAt = performance.now();
      link[how]();
      // Whom the other replica stops now, this one does not hear of.
      const { killSwitch } = await engage({ scope: 'KILL_SCOPE_AGENT', value: caller.agentId });
      const endedAt = await stream.ended;
      stream.requireError('unavailable');
      const askedAt = performance.now();
      const { status, body } = await callAt(replica, caller.secret);
      const refusedMs = performance.now() - askedAt;
      expect(status).toBe(503);
      expect(body.toString()).toContain('cannot read its control state');
      expect(endedAt - cutAt).toBeLessThan(ageMaxMs + slackMs);
      printed.push({
        what: `database ${how}`,
        limit_ms: ageMaxMs,
        stream_ended_after_ms: Math.round(endedAt - cutAt),
        then_refused_in_ms: Math.round(refusedMs),
      });
      link.mend();
      // It comes back to what holds now, not to what it knew.
      await expect
        .poll(async () => (await callAt(replica, caller.secret)).body.toString(), { timeout: 30_000 })
        .toContain('It ran amok.');
      await gate.api('PolicyService/ReleaseKillSwitch', { killSwitchId: killSwitch.id });
      await expect.poll(async () => (await callAt(replica, caller.secret)).status, { timeout: 30_000 }).toBe(200);
    },
  );
});

const preload = pathToFileURL(join(import.meta.dirname, 'chaos/money/clock-preload.ts')).href;

describe('a replica whose clock jumps', () => {
  let replica: TestGate;
  let setClock: (offsetMs: number) => void;
  beforeAll(async () => {
    const file = join(gate.folder, 'clock');
    setClock = (offsetMs) => writeFileSync(file, String(offsetMs));
    setClock(0);
    replica = await startGate({
      yaml: mockConfiguration(mock),
      database: gate.database,
      env: {
        CONTROL_AGE_MAX_MS: String(ageMaxMs),
        NODE_OPTIONS: `--import=${preload}`,
        CHAOS_CLOCK_FILE: file,
      },
    });
  });
  afterAll(() => replica.stop());

  test.each([7_200_000, -7_200_000])(
    '(%s ms) obeys a switch for exactly as long as the database says, and stays fresh',
    async (offset) => {
      const [stopped, free] = [await gate.agent(`stopped ${offset}`), await gate.agent(`free ${offset}`)];
      const { killSwitch } = await engage({ scope: 'KILL_SCOPE_AGENT', value: stopped.agentId, ttl: '3600s' });
      setClock(offset);
      // The log tells the time as the replica sees it.
      const jumped = async () =>
        Math.abs(Date.parse(/"ts":"([^"]+)"[^\n]*\n$/.exec(await replica.settledLog())?.[1] ?? '') - Date.now());
      await expect.poll(jumped, { timeout: 10_000 }).toBeGreaterThan(3_600_000);
      expect((await callAt(replica, stopped.secret)).status).toBe(503);
      expect((await callAt(replica, free.secret)).status).toBe(200);
      await gate.api('PolicyService/ReleaseKillSwitch', { killSwitchId: killSwitch.id });
      await expect.poll(async () => (await callAt(replica, stopped.secret)).status, { timeout: 10_000 }).toBe(200);

      const { killSwitch: short } = await engage({ scope: 'KILL_SCOPE_AGENT', value: stopped.agentId, ttl: '3s' });
      await expect.poll(async () => (await callAt(replica, stopped.secret)).status, { timeout: 2_000 }).toBe(503);
      await expect.poll(async () => (await callAt(replica, stopped.secret)).status, { timeout: 30_000 }).toBe(200);
      const { rows } = await gate.database.pool.query(
        'SELECT FROM kill_switches WHERE id = $1 AND expires_at <= now()',
        [short.id],
      );
      expect(rows).toHaveLength(1);
      setClock(0);
    },
  );
});
