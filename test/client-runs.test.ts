import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  type ActiveRun,
  createPortcullis,
  type Portcullis,
  type PortcullisError,
  RunState,
  withRun,
} from '../client/src/index.ts';
import { type FaultyLink, openFaultyLink } from './support/faulty-link.ts';
import { startGate, type TestGate } from './support/gate.ts';

// Runs of the client at a gate: what the gate then has of them, while the link between breaks.

const scopes = ['models:invoke', 'runs:write', 'runs:read', 'telemetry:write'];
const price = { input: 1, output: 2 };

let gate: TestGate;
let link: FaultyLink;
let secret: string;
let direct: Portcullis;
let linked: Portcullis;
beforeAll(async () => {
  const models = { sim: { targets: [{ provider: 'sim', price }] } };
  gate = await startGate({ yaml: JSON.stringify({ providers: {}, models }) });
  link = await openFaultyLink(gate.url);
  ({ secret } = await gate.agent('orchestrator', { scopes }));
  direct = createPortcullis({ url: gate.url, key: secret });
  linked = createPortcullis({ url: link.url, key: secret });
});
afterAll(async () => {
  await link?.close();
  await gate?.stop();
});

async function ask(url: string, headers: Record<string, string>): Promise<void> {
  const answer = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { ...headers, authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'sim', messages: [{ role: 'user', content: 'Hello.' }] }),
  });
  expect(answer.status).toBe(200);
  await answer.arrayBuffer();
}

/** Types of the events that the gate has of a run, in the order in which they occurred. */
async function eventsOf(runId: string): Promise<string[]> {
  const types: string[] = [];
  let pageToken = '';
  do {
    const page = await direct.runs.listRunEvents({ runId, pageSize: 500, pageToken });
    types.push(...page.events.map(({ type }) => type));
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return types.toReversed();
}

describe('a run', () => {
  it('has its model calls, its events and its end', async () => {
    const { value, run, totals } = await withRun(direct, { workflow: 'chat', taskId: 'task-1' }, async (active) => {
      active.event({ type: 'asked', message: '<b>hostile</b> \u202e\u001b[31m', data: { n: 1 } });
      await ask(gate.url, active.headers);
      active.event({ type: 'answered', level: 'warn' });
      active.summary = 'It said\nhello.\0';
      return active.id;
    });
    expect(run).toMatchObject({ id: value, state: RunState.SUCCEEDED, summary: 'It said hello.', taskId: 'task-1' });
    expect(totals?.attempts).toBe(1n);
    expect(totals?.costNanousd).toBeGreaterThan(0n);
    expect(await eventsOf(run.id)).toEqual(['asked', 'answered']);
  });

  it('that failed says why, and one that was stopped is cancelled', async () => {
    const ids: string[] = [];
    const controller = new AbortController();
    const options = { workflow: 'chat', signal: controller.signal };
    const failed = withRun(direct, { workflow: 'chat' }, ({ id }) => {
      ids.push(id);
      throw new Error('The model was of no help.');
    });
    await expect(failed).rejects.toThrow('The model was of no help.');
    const stopped = withRun(direct, { ...options, stopMs: 10 }, async ({ id }) => {
      ids.push(id);
      controller.abort(new Error('SIGTERM'));
      await new Promise(() => undefined);
    });
    await expect(stopped).rejects.toMatchObject({ code: 'cancelled' });
    const runs = await Promise.all(ids.map((runId) => direct.runs.getRun({ runId })));
    expect(runs.map(({ run }) => [run?.state, run?.error])).toEqual([
      [RunState.FAILED, 'Error: The model was of no help.'],
      [RunState.CANCELLED, 'PortcullisError: The run was told to stop: Error: SIGTERM'],
    ]);
  });

  it('is started once, and tells each event once, in order, over a link that breaks', async () => {
    const started = link.cutAfter('StartRun');
    const types = Array.from({ length: 300 }, (_, i) => `step.${String(i).padStart(3, '0')}`);
    const { run } = await withRun(linked, { workflow: 'stormy', flushMs: 30 }, async (active) => {
      await started;
      const epoch = Date.now();
      for (const [i, type] of types.entries()) {
        // Events of one millisecond have no order at the gate.
        active.event({ type, occurredAt: new Date(epoch - types.length + i) });
        if (i % 60 === 59) {
          link.cut();
          link.mend();
          await new Promise((resolve) => setTimeout(resolve, 40));
        }
      }
      void link.cutAfter('RecordRunEvents');
      active.event({ type: 'last', occurredAt: new Date(epoch) });
      await active.flush();
      void link.cutAfter('FinishRun');
    });
    expect(run.state).toBe(RunState.SUCCEEDED);
    expect(await eventsOf(run.id)).toEqual([...types, 'last']);
    const { rows } = await gate.database.pool.query(`SELECT state FROM runs WHERE workflow = 'stormy'`);
    expect(rows).toEqual([{ state: 'succeeded' }]);
  });

  it('takes no event that the gate refuses, and says so; the others are there', async () => {
    const lost: PortcullisError[] = [];
    const options = { workflow: 'refused', onEventsLost: (error: PortcullisError) => void lost.push(error) };
    const { run } = await withRun(direct, options, ({ event }) => {
      event({ type: 'good.1' });
      // Before the run by more than a day: the gate alone knows.
      event({ type: 'early', occurredAt: new Date(Date.now() - 3 * 86_400_000) });
      event({ type: 'too.big', data: { text: 'x'.repeat(100_000) } });
      event({ type: 'good.2' });
    });
    expect(lost).toMatchObject([
      { code: 'invalid_argument', message: expect.stringMatching(/^2 events were lost: The data of an event/) },
    ]);
    expect(new Set(await eventsOf(run.id))).toEqual(new Set(['good.1', 'good.2']));
  });
});

it('as many runs at once as pass the rate limit all end, with their events', { timeout: 240_000 }, async () => {
  const slow = await startGate({ env: { RATE_LIMIT_API_PER_MINUTE: '80' } });
  try {
    const key = (await slow.agent('crowd', { scopes })).secret;
    const portcullis = createPortcullis({ url: slow.url, key });
    const work = ({ event }: ActiveRun) => event({ type: 'done' });
    const runs = Array.from({ length: 40 }, () => withRun(portcullis, { workflow: 'crowd' }, work));
    const outcomes = await Promise.allSettled(runs);
    expect(outcomes.filter(({ status }) => status === 'rejected')).toEqual([]);
    const { rows } = await slow.database.pool.query(
      `SELECT (SELECT count(*)::int FROM runs WHERE state = 'succeeded') AS ended,
              (SELECT count(*)::int FROM run_events) AS events`,
    );
    expect(rows).toEqual([{ ended: 40, events: 40 }]);
  } finally {
    await slow.stop();
  }
});

it(
  'a watch tells each event once while its connections break, and ends with the run',
  { timeout: 120_000 },
  async () => {
    const total = 60;
    const told: string[] = [];
    const { run } = await withRun(direct, { workflow: 'watched', flushMs: 5 }, async (active) => {
      const watching = (async () => {
        for await (const { told: message } of linked.runs.watchRun({ runId: active.id })) {
          if (message.case === 'event') told.push(message.value.type);
          if (told.length === total) return;
        }
      })();
      for (let i = 0; i < total; i++) {
        active.event({ type: `step.${i}` });
        if (i % 20 === 10) {
          await active.flush();
          await vi.waitUntil(() => told.length > i - 5, { timeout: 30_000 });
          link.cut();
          link.mend();
        }
      }
      await active.flush();
      await watching;
    });
    expect(told.toSorted()).toEqual(Array.from({ length: total }, (_, i) => `step.${i}`).toSorted());
    const cases: (string | undefined)[] = [];
    for await (const { told: message } of linked.runs.watchRun({ runId: run.id })) cases.push(message.case);
    expect([cases[0], cases.at(-1), cases.filter((name) => name === 'event').length]).toEqual(['run', 'ended', total]);
  },
);

it('an export over a link that breaks has everything once', { timeout: 120_000 }, async () => {
  const admin = createPortcullis({ url: link.url, key: gate.adminKey });
  const ids: string[] = [];
  let cuts = 3;
  for await (const { records, summary } of admin.exports.exportState({})) {
    for (const { record } of records) if (record.case === 'run') ids.push(record.value.id);
    if (summary === undefined && cuts-- > 0) {
      link.cut();
      link.mend();
    }
  }
  const { rows } = await gate.database.pool.query<{ id: string }>('SELECT id FROM runs');
  expect(ids.toSorted()).toEqual(rows.map(({ id }) => id).toSorted());
});
