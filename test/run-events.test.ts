import { createClient, Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RunService, type WatchRunResponse } from '../server/src/gen/portcullis/v1/run_pb.ts';
import { openFaultyLink } from './support/faulty-link.ts';
import { startGate, type TestGate } from './support/gate.ts';

/** What agents tell of their runs, through gates as they are run: whose it is, what it may hold, and who hears of it. */

let gate: TestGate;
let replica: TestGate;
let teller: { agentId: string; secret: string };
let other: { agentId: string; secret: string };
const scopes = ['runs:write', 'telemetry:write'];

beforeAll(async () => {
  gate = await startGate();
  replica = await startGate({ database: gate.database, env: { DRAIN_MS: '20000' } });
  teller = await gate.agent('teller', { scopes });
  other = await gate.agent('other', { scopes });
});
afterAll(async () => {
  await replica?.stop();
  await gate?.stop();
});

interface Event {
  readonly id: string;
  readonly message: string;
  readonly data?: string;
}

const startRun = async (secret = teller.secret) =>
  (await gate.api<{ run: { id: string } }>('RunService/StartRun', { workflow: 'w' }, secret)).run.id;

const finishRun = (runId: string) =>
  gate.api('RunService/FinishRun', { runId, outcome: 'RUN_STATE_SUCCEEDED' }, teller.secret);

const tell = (runId: string, events: object[], at = gate) =>
  at.api<{ recorded?: number; duplicates?: number }>(
    'RunService/RecordRunEvents',
    { runId, events: events.map((event) => ({ type: 'step', ...event })) },
    teller.secret,
  );

async function events(runId: string): Promise<Event[]> {
  const all: Event[] = [];
  for (let pageToken = ''; ;) {
    const page = await gate.api<{ events: Event[]; nextPageToken: string }>(
      'RunService/ListRunEvents',
      { runId, pageSize: 500, pageToken },
      teller.secret,
    );
    all.push(...page.events);
    if (page.nextPageToken === '') return all;
    pageToken = page.nextPageToken;
  }
}

function watcher(at: TestGate, protocol: 'connect' | 'grpc', secret = teller.secret) {
  const authorize: Interceptor = (next) => (request) => {
    request.header.set('authorization', `Bearer ${secret}`);
    return next(request);
  };
  const transport =
    protocol === 'grpc'
      ? createGrpcTransport({ baseUrl: at.grpcUrl, interceptors: [authorize] })
      : createConnectTransport({ baseUrl: at.url, httpVersion: '1.1', interceptors: [authorize] });
  return createClient(RunService, transport);
}

const messagesOf = (heard: readonly WatchRunResponse[]) =>
  heard.flatMap(({ told }) => (told.case === 'event' ? [told.value.message] : []));

describe('another agent’s run', () => {
  test('does not exist, in any method, and nothing of it is changed', async () => {
    const runId = await startRun();
    await tell(runId, [{ message: 'mine' }]);
    const startTime = new Date().toISOString();
    const told = { clientId: 'c', provider: 'p', model: 'm', outcome: 'ATTEMPT_OUTCOME_FAILED', startTime };
    const tries: [string, object][] = [
      ['GetRun', {}],
      ['FinishRun', { outcome: 'RUN_STATE_FAILED' }],
      ['RecordRunEvent', { event: { type: 'step' } }],
      ['RecordRunEvents', { events: [{ type: 'step' }] }],
      ['ListRunEvents', {}],
      ['RecordPromptAttempt', told],
    ];
    for (const [method, body] of tries) {
      for (const id of [runId, 'run_none'])
        await expect(gate.api(`RunService/${method}`, { runId: id, ...body }, other.secret)).rejects.toThrow(
          new RegExp(`^RunService/${method}: 404 .*There is no run \\\\"${id}\\\\" `),
        );
    }
    for (const protocol of ['connect', 'grpc'] as const) {
      const stream = watcher(gate, protocol, other.secret).watchRun({ runId });
      const thrown: unknown = await (async () => {
        for await (const _ of stream);
      })().catch((error: unknown) => error);
      expect(ConnectError.from(thrown).code).toBe(Code.NotFound);
    }
    const list = { pageSize: 500, agentId: teller.agentId };
    const listed = await gate.api<{ runs: object[] }>('RunService/ListRuns', list, other.secret);
    expect(listed.runs).toEqual([]);
    const attempts = await gate.api<{ attempts: object[] }>('RunService/ListPromptAttempts', { runId }, other.secret);
    expect(attempts.attempts).toEqual([]);
    expect((await gate.api('RunService/GetRun', { runId }, teller.secret))['run']).toMatchObject({
      state: 'RUN_STATE_RUNNING',
    });
    expect(await events(runId)).toHaveLength(1);
  });
});

describe('what is told', () => {
  const hostile = {
    html: '<script>alert(1)</script><img src=x onerror=alert(1)>',
    ansi: '\u001b[2J\u001b]0;owned\u0007\u001b[31mred',
    bidi: '\u202egnp.exe\u2066\u2069\u200f',
    sql: `'; DROP TABLE run_events; --`,
    lines: 'one\ntwo\r\nthree\u2028four',
    emoji: '👩‍👩‍👧‍👦\u{1F3F4}\u{E0067}',
  };

  test.each(Object.entries(hostile))('stays the text that it is: %s', async (_, message) => {
    const runId = await startRun();
    const data = JSON.stringify({ [message]: message });
    await tell(runId, [{ message, data }]);
    expect(await events(runId)).toMatchObject([{ message, data }]);
  });

  test('may not be a megabyte, and nothing of it is kept', async () => {
    const runId = await startRun();
    const megabyte = 'x'.repeat(1024 * 1024);
    await expect(tell(runId, [{ message: 'small' }, { message: megabyte }])).rejects.toThrow('429');
    await expect(tell(runId, [{ message: 'small' }, { message: megabyte.slice(1000) }])).rejects.toThrow(
      'events[1].message must be at most 8192 bytes',
    );
    const data = JSON.stringify({ a: megabyte.slice(1000) });
    await expect(tell(runId, [{ data }])).rejects.toThrow('events[0].data must be at most 16384 bytes');
    await expect(tell(runId, [{ message: 'no type', type: '' }])).rejects.toThrow('events[0].type');
    await expect(tell(runId, [{ level: 9 }])).rejects.toThrow('400');
    expect(await events(runId)).toEqual([]);
  });

  test('is not silenced by a kill switch', async () => {
    const runId = await startRun();
    const engaged = { scope: 'KILL_SCOPE_AGENT', value: teller.agentId, reason: 'It loops.' };
    const { killSwitch } = await gate.api<{ killSwitch: { id: string } }>('PolicyService/EngageKillSwitch', engaged);
    await expect(startRun()).rejects.toThrow('killed');
    await tell(runId, [{ message: 'I was stopped' }]);
    await gate.api('RunService/RecordRunEvent', { runId, event: { type: 'step' } }, teller.secret);
    await finishRun(runId);
    await tell(runId, [{ message: 'last words' }]);
    expect(await events(runId)).toHaveLength(3);
    await gate.api('PolicyService/ReleaseKillSwitch', { killSwitchId: killSwitch.id });
  });

  test('twice at two replicas is told once', async () => {
    const runId = await startRun();
    const occurTime = new Date().toISOString();
    const batch = Array.from({ length: 100 }, (_, n) => ({ message: `${n}`, clientId: `c${n}`, occurTime }));
    const answers = await Promise.all([0, 1, 2, 3].map((n) => tell(runId, batch.toReversed(), n % 2 ? gate : replica)));
    expect(answers.reduce((sum, { recorded = 0 }) => sum + recorded, 0)).toBe(100);
    expect(await events(runId)).toHaveLength(100);
  });
});

describe('a batch', () => {
  test('whose connection is cut is written whole or not at all, and told again it is whole', async () => {
    const link = await openFaultyLink(gate.database.appUrl);
    const behind = await startGate({ database: gate.database, env: { DATABASE_URL: link.url } });
    try {
      const runId = await startRun();
      const occurTime = new Date().toISOString();
      const batch = (n: number) =>
        Array.from({ length: 500 }, (_, at) => ({ message: `${n}`, clientId: `${n}.${at}`, occurTime }));
      for (let n = 0; n < 4; n++) {
        const cut = link.cutAfter('INSERT INTO run_events');
        const telling = tell(runId, batch(n), behind).catch(() => null);
        if (n % 2 === 0) await cut;
        else link.cut();
        await telling;
        link.mend();
        expect((await events(runId)).length % 500).toBe(0);
      }
      const again = (n: number) =>
        tell(runId, batch(n), behind).then(
          () => true,
          () => false,
        );
      for (let n = 0; n < 4; n++) await expect.poll(() => again(n), { timeout: 30_000 }).toBe(true);
      expect(await events(runId)).toHaveLength(2000);
    } finally {
      await behind.stop();
      await link.close();
    }
  });

  test('is written whole or not at all when the gate is killed', async () => {
    const killed = await startGate({ database: gate.database });
    try {
      const runId = await startRun();
      const batch = Array.from({ length: 1000 }, (_, n) => ({ message: 'x'.repeat(200), data: `{"n":${n}}` }));
      const telling = Array.from({ length: 8 }, () => tell(runId, batch, killed).catch(() => null));
      await expect.poll(() => events(runId), { timeout: 30_000 }).not.toEqual([]);
      await killed.end('SIGKILL');
      await Promise.all(telling);
      expect((await events(runId)).length % 1000).toBe(0);
    } finally {
      await killed.stop();
    }
  });
});

describe('a watch', () => {
  test.each(['connect', 'grpc'] as const)('over %s hears what is told at another replica', async (protocol) => {
    const runId = await startRun();
    await tell(runId, [{ message: 'before' }]);
    const heard: WatchRunResponse[] = [];
    for await (const message of watcher(replica, protocol).watchRun({ runId })) {
      heard.push(message);
      if (heard.length === 2) {
        await tell(runId, [{ message: 'first' }, { message: '\u001b[2J<b>\u202e' }]);
        await finishRun(runId);
      }
    }
    expect(heard[0]?.told.case).toBe('run');
    expect(messagesOf(heard)[0]).toBe('before');
    expect(messagesOf(heard).toSorted()).toEqual(['\u001b[2J<b>\u202e', 'before', 'first'].toSorted());
    expect(heard.at(-1)?.told).toMatchObject({ case: 'ended', value: { id: runId } });
  });

  test('that a killed replica broke goes on at another one, and nothing is lost or told twice', async () => {
    const killed = await startGate({ database: gate.database });
    const runId = await startRun();
    const heard: WatchRunResponse[] = [];
    const names = Array.from({ length: 60 }, (_, n) => `${n}`);
    const telling = (async () => {
      for (const message of names) await tell(runId, [{ message }]);
      await finishRun(runId);
    })();
    try {
      for await (const message of watcher(killed, 'grpc').watchRun({ runId })) {
        heard.push(message);
        if (messagesOf(heard).length === 10) await killed.end('SIGKILL');
      }
    } catch {
      // The stream broke.
    } finally {
      await killed.stop();
    }
    const { position = '' } = heard.at(-1) ?? {};
    for await (const message of watcher(gate, 'connect').watchRun({ runId, position })) heard.push(message);
    await telling;
    expect(messagesOf(heard).toSorted()).toEqual(names.toSorted());
    expect(heard.at(-1)?.told.case).toBe('ended');
  }, 60_000);

  test('does not keep the gate from stopping, and says that it passes', async () => {
    const stopped = await startGate({ database: gate.database, env: { DRAIN_MS: '20000' } });
    const runId = await startRun();
    let ended: Promise<number | null> | undefined;
    const thrown: unknown = await (async () => {
      for await (const _ of watcher(stopped, 'grpc').watchRun({ runId })) ended ??= stopped.end();
    })().catch((error: unknown) => error);
    expect(ConnectError.from(thrown).code).toBe(Code.Unavailable);
    expect(ConnectError.from(thrown).rawMessage).toContain('go on from the last position');
    expect(await ended).toBe(0);
    await stopped.stop();
  });

  test('ends with the key that it was begun with, and at its client’s deadline', async () => {
    const watching = async (secret: string, more: object = {}) => {
      const runId = await startRun();
      const stream = watcher(gate, 'grpc', secret).watchRun({ runId }, more);
      return (async () => {
        for await (const _ of stream);
      })().catch((error: unknown) => ConnectError.from(error).code);
    };
    const { keyId, secret } = await gate.agent('short', { scopes, agentId: teller.agentId });
    const byRevoked = watching(secret);
    await new Promise((resolve) => setTimeout(resolve, 500));
    await gate.api('AgentService/RevokeKey', { keyId });
    expect(await byRevoked).toBe(Code.Unauthenticated);
    expect(await watching(teller.secret, { timeoutMs: 1500 })).toBe(Code.DeadlineExceeded);
  });
});
