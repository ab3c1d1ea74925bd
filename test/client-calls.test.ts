import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { create, toBinary } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, afterEach, beforeAll, describe, expect, it, test } from 'vitest';
import {
  createPortcullis,
  type ErrorCode,
  ErrorInfoSchema,
  PortcullisError,
  type PortcullisOptions,
  PrincipalKind,
  UsageGroup,
} from '../client/src/index.ts';
import type { errorCodes } from '../server/src/base/errors.ts';
import { openFaultyLink, type FaultyLink } from './support/faulty-link.ts';
import { startGate, type TestGate } from './support/gate.ts';

// Each code of the gate is one that the client's type knows.
type Known<Code extends string> = Code extends unknown ? (string extends Code ? never : Code) : never;
const unknownCodes: Exclude<keyof typeof errorCodes, Known<ErrorCode>>[] = [] satisfies never[];

let gate: TestGate;
beforeAll(async () => {
  gate = await startGate();
});
afterAll(() => gate?.stop());

const open: { close(): unknown }[] = [];
afterEach(() => Promise.all(open.splice(0).map((each) => each.close())));

/** What a call failed with. */
async function failureOf(call: Promise<unknown>): Promise<PortcullisError> {
  const failure = await call.then(
    () => null,
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(PortcullisError);
  return failure as PortcullisError;
}

async function agentsNamed(name: string): Promise<number> {
  const { rows } = await gate.database.pool.query('SELECT FROM agents WHERE name = $1', [name]);
  return rows.length;
}

describe('against a gate', () => {
  const client = (more: Partial<PortcullisOptions> = {}) =>
    createPortcullis({ url: gate.url, key: gate.adminKey, ...more });

  it('calls all services by their methods', async () => {
    const { agents, system, budgets, policy, projects, analytics, reconciliation } = client();
    const { agent } = await agents.createAgent({ name: 'by the client' });
    expect(agent).toMatchObject({ id: expect.stringMatching(/^agt_/), name: 'by the client' });
    expect((await system.getSelf({})).principal?.kind).toBe(PrincipalKind.OPERATOR);
    await Promise.all([
      budgets.listBudgets({}),
      policy.listKillSwitches({}),
      projects.listPeople({}),
      analytics.getUsage({ groupBy: UsageGroup.AGENT }),
      reconciliation.listReconciledDays({}),
    ]);
    expect(unknownCodes).toEqual([]);
  });

  it('reads answers that came compressed', async () => {
    for (let i = 0; i < 20; i++) await client().agents.createAgent({ name: `agent ${i} of many whose list is long` });
    const encodings: (string | null)[] = [];
    const { agents } = client({
      fetch: async (...given) => {
        const answer = await fetch(...given);
        encodings.push(answer.headers.get('content-encoding'));
        return answer;
      },
    });
    expect((await agents.listAgents({ pageSize: 100 })).agents.length).toBeGreaterThanOrEqual(20);
    expect(encodings).toEqual(['gzip']);
  });

  it('tells what was refused: code, sentence, fields and the request', async () => {
    const failure = await failureOf(client().agents.createAgent({ name: '' }));
    expect(failure).toMatchObject({
      name: 'PortcullisError',
      code: 'invalid_argument',
      final: true,
      requestId: expect.stringMatching(/^req_/),
      details: { violations: [{ field: 'name', description: expect.any(String) }] },
    });
    expect(failure.message).not.toMatch(/^\[/);
    const unknown = await failureOf(client().runs.getRun({ runId: 'run_none' }));
    expect(unknown).toMatchObject({ code: 'not_found', final: true });
  });

  it('says that a key does not hold, and does not repeat the key', async () => {
    const failure = await failureOf(client({ key: 'pcl_canary_of_a_key' }).system.getSelf({}));
    expect(failure.code).toBe('unauthenticated');
    for (const each of [failure, client({ key: 'pcl_canary' })]) {
      expect(inspect(each, { depth: 10, showHidden: true })).not.toContain('canary');
    }
  });

  it('asks a key that is a function before each request', async () => {
    const keys = [gate.adminKey, 'pcl_wrong', gate.adminKey];
    const { system } = client({ key: () => Promise.resolve(keys.shift() ?? '') });
    await system.getSelf({});
    expect((await failureOf(system.getSelf({}))).code).toBe('unauthenticated');
    await system.getSelf({});
    expect((await failureOf(system.getSelf({}))).message).toMatch(/^The key is empty/);
  });

  it('repeats under the key of a caller across clients: it happens once', async () => {
    const replayed: (string | null)[] = [];
    const options = {
      idempotencyKey: 'made by another process',
      onHeader: (headers: Headers) => void replayed.push(headers.get('idempotency-replayed')),
    };
    const first = await client().agents.createAgent({ name: 'once' }, options);
    const second = await client().agents.createAgent({ name: 'once' }, options);
    expect(second.agent?.id).toBe(first.agent?.id);
    expect(replayed).toEqual([null, 'true']);
    expect(await agentsNamed('once')).toBe(1);
    const other = await failureOf(client().agents.createAgent({ name: 'other' }, options));
    expect(other).toMatchObject({ code: 'idempotency_mismatch', final: true });
  });

  describe('over a link that breaks', () => {
    let link: FaultyLink;
    beforeAll(async () => {
      link = await openFaultyLink(gate.url);
    });
    afterAll(() => link?.close());
    const linked = (more: Partial<PortcullisOptions> = {}) => client({ url: link.url, ...more });

    it('does a write once whose answer got lost', async () => {
      const lost = link.cutAfter('CreateAgent');
      const { agents } = linked();
      const [{ agent }] = await Promise.all([agents.createAgent({ name: 'lost answer' }), lost]);
      const { rows } = await gate.database.pool.query('SELECT id FROM agents WHERE name = $1', ['lost answer']);
      expect(rows).toEqual([{ id: agent?.id }]);
    });

    it('does each of many writes once while the link is cut again and again', async () => {
      const { agents } = linked({ repeatsMax: 20 });
      const names = Array.from({ length: 40 }, (_, i) => `stormy ${i}`);
      const storm = (async () => {
        for (let i = 0; i < 15; i++) {
          link.cut();
          link.mend();
          await new Promise((resolve) => setTimeout(resolve, 30));
        }
      })();
      await Promise.all([storm, ...names.map((name) => agents.createAgent({ name }))]);
      const { rows } = await gate.database.pool.query(
        `SELECT count(*)::int AS agents, count(DISTINCT name)::int AS names FROM agents WHERE name LIKE 'stormy %'`,
      );
      expect(rows).toEqual([{ agents: 40, names: 40 }]);
    });

    it('says that nothing answers when it stays cut, and goes on when it is mended', async () => {
      link.cut();
      const failure = await failureOf(linked({ repeatsMax: 1 }).system.getSelf({}));
      expect(failure).toMatchObject({ code: 'unreachable', requestId: undefined, final: false });
      expect(failure.message).toBe(`No whole answer came from ${new URL(link.url).origin}.`);
      const waiting = linked().system.getSelf({});
      link.mend();
      expect((await waiting).principal?.kind).toBe(PrincipalKind.OPERATOR);
    });

    it('keeps the deadline while nothing passes, and ends when the caller says so', async () => {
      link.freeze();
      const { system } = linked();
      expect((await failureOf(system.getSelf({}, { timeoutMs: 300 }))).code).toBe('deadline_exceeded');
      const controller = new AbortController();
      const call = system.getSelf({}, { signal: controller.signal });
      const reason = new Error('enough');
      setTimeout(() => controller.abort(reason), 50);
      expect(await failureOf(call)).toMatchObject({ code: 'cancelled', cause: reason });
      link.mend();
    });
  });
});

type Answer = (response: ServerResponse) => unknown;
const json = { 'content-type': 'application/json', 'x-request-id': 'req_1' };

interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly info?: { code: string; final?: boolean; retryAfterMs?: number };
  readonly headers?: Record<string, string>;
}

function refused({ status, code, info, headers }: Refusal): Answer {
  const details: object[] = [];
  if (info) {
    const { retryAfterMs, ...more } = info;
    const detail = create(ErrorInfoSchema, {
      ...more,
      ...(retryAfterMs !== undefined && { retryAfter: durationFromMs(retryAfterMs) }),
    });
    const value = Buffer.from(toBinary(ErrorInfoSchema, detail)).toString('base64').replace(/=+$/, '');
    details.push({ type: 'portcullis.v1.ErrorInfo', value });
  }
  return (response) =>
    response.writeHead(status, { ...json, ...headers }).end(JSON.stringify({ code, message: 'No.', details }));
}

const made: Answer = (response) => response.writeHead(200, { 'content-type': 'application/proto' }).end();
const unavailable = refused({ status: 503, code: 'unavailable', info: { code: 'unavailable' } });

/** What stands at the address of a gate: each request gets the next answer, all further ones the last. */
async function serve(...answers: [Answer, ...Answer[]]) {
  const requests: { readonly headers: IncomingMessage['headers']; readonly at: number }[] = [];
  const server = createServer((request, response) => {
    const answer = answers[Math.min(requests.length, answers.length - 1)];
    requests.push({ headers: request.headers, at: performance.now() });
    request.resume().on('end', () => answer?.(response));
  }).listen(0, '127.0.0.1');
  open.push(server);
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, requests };
}

describe('what is repeated', () => {
  const create = (url: string, more: Partial<PortcullisOptions> = {}) =>
    createPortcullis({ url, key: 'pcl_k', ...more }).agents.createAgent({ name: 'bob' });

  it('is a write without an answer, under one key', async () => {
    const inProgress = refused({ status: 409, code: 'aborted', info: { code: 'in_progress' } });
    const half: Answer = (response) => {
      response.writeHead(200, { 'content-type': 'application/proto', 'content-length': '100' });
      response.write('half', () => response.destroy());
    };
    const { url, requests } = await serve((response) => response.destroy(), half, unavailable, inProgress, made);
    await create(url);
    const keys = requests.map(({ headers }) => headers['idempotency-key']);
    expect(keys).toHaveLength(5);
    expect(new Set(keys)).toEqual(new Set([expect.stringMatching(/^[0-9a-f]{32}$/)]));
    // Less of the deadline is left for each try.
    const left = requests.map(({ headers }) => Number(headers['connect-timeout-ms']));
    expect(left).toEqual(left.toSorted((a, b) => b - a));
    expect(left[0]).toBeLessThanOrEqual(30_000);
    await create(url);
    expect(requests.at(-1)?.headers['idempotency-key']).not.toBe(keys[0]);
  });

  it('is a read, which has no key', async () => {
    const { url, requests } = await serve(unavailable, made);
    await createPortcullis({ url, key: 'pcl_k' }).agents.listAgents({});
    expect(requests.map(({ headers }) => headers['idempotency-key'])).toEqual([undefined, undefined]);
  });

  it('is what a proxy says is away, in whatever words', async () => {
    const proxy: Answer = (response) => response.writeHead(502, { 'content-type': 'text/html' }).end('<h1>Bad</h1>');
    const { url, requests } = await serve(proxy, made);
    await create(url);
    expect(requests).toHaveLength(2);
  });

  test.each<[string, Refusal]>([
    ['the gate', { status: 429, code: 'resource_exhausted', info: { code: 'rate_limited', retryAfterMs: 1_000 } }],
    ['a proxy', { status: 429, code: 'resource_exhausted', headers: { 'retry-after': '1' } }],
  ])('is too much, when %s says how long to wait, and not before', async (_who, refusal) => {
    const { url, requests } = await serve(refused(refusal), made);
    await create(url);
    const [first, second] = requests.map(({ at }) => at);
    expect(second! - first!).toBeGreaterThanOrEqual(1_000);
  });

  it('is too much as often as it takes: only the deadline ends it', async () => {
    const tooMuch: Refusal = {
      status: 429,
      code: 'resource_exhausted',
      info: { code: 'rate_limited', retryAfterMs: 50 },
    };
    const often = Array.from({ length: 5 }, () => refused(tooMuch));
    const { url, requests } = await serve(refused(tooMuch), ...often, made);
    await create(url, { repeatsMax: 1 });
    expect(requests).toHaveLength(7);
    const never = await serve(refused(tooMuch));
    expect((await failureOf(create(never.url, { timeoutMs: 1_000 }))).code).toBe('rate_limited');
    // Without a deadline it is counted, and where nothing may be repeated it is not either.
    expect((await failureOf(create(never.url, { timeoutMs: Infinity, repeatsMax: 1 }))).code).toBe('rate_limited');
    const before = never.requests.length;
    await failureOf(create(never.url, { repeatsMax: 0 }));
    expect(never.requests).toHaveLength(before + 1);
  });

  test.each<[string, Refusal]>([
    ['validation', { status: 400, code: 'invalid_argument', info: { code: 'invalid_argument', final: true } }],
    ['policy', { status: 403, code: 'permission_denied', info: { code: 'policy_denied', final: true } }],
    [
      'a budget',
      {
        status: 429,
        code: 'resource_exhausted',
        info: { code: 'budget_exceeded', final: true, retryAfterMs: 1 },
      },
    ],
    ['the kill switch', { status: 503, code: 'unavailable', info: { code: 'killed', final: true, retryAfterMs: 1 } }],
    ['a rate that names no time', { status: 429, code: 'resource_exhausted', info: { code: 'rate_limited' } }],
    ['a fault', { status: 500, code: 'internal', info: { code: 'internal' } }],
    ['a credential', { status: 401, code: 'unauthenticated', info: { code: 'unauthenticated', final: true } }],
  ])('is not what was refused by %s', async (_what, refusal) => {
    const { url, requests } = await serve(refused(refusal), made);
    expect((await failureOf(create(url))).code).toBe(refusal.info?.code);
    expect(requests).toHaveLength(1);
  });

  it('is not what would come after the deadline, nor after an abort, nor more often than allowed', async () => {
    const later = refused({ status: 503, code: 'unavailable', info: { code: 'unavailable', retryAfterMs: 60_000 } });
    const { url, requests } = await serve(later);
    const failure = await failureOf(create(url, { timeoutMs: 20_000 }));
    expect(failure).toMatchObject({ code: 'unavailable', retryAfterMs: 60_000 });
    expect(requests).toHaveLength(1);

    const controller = new AbortController();
    const call = createPortcullis({ url, key: 'pcl_k' }).agents.listAgents(
      {},
      { signal: controller.signal, timeoutMs: 3_600_000 },
    );
    await expect.poll(() => requests.length, { timeout: 10_000 }).toBe(2);
    controller.abort();
    expect((await failureOf(call)).code).toBe('cancelled');

    const busy = await serve(unavailable);
    await failureOf(create(busy.url, { repeatsMax: 1 }));
    await failureOf(create(busy.url, { repeatsMax: 0 }));
    expect(busy.requests).toHaveLength(3);
  });

  it('waits for no key longer than for the rest', async () => {
    const { url, requests } = await serve(made);
    const call = create(url, { key: () => new Promise<string>(() => undefined), timeoutMs: 100 });
    expect((await failureOf(call)).code).toBe('deadline_exceeded');
    expect(requests).toEqual([]);
  });

  it('has the key that the caller set, as an option or as a header', async () => {
    const { url, requests } = await serve(made);
    const { agents } = createPortcullis({ url, key: 'pcl_k' });
    const headers = { 'Idempotency-Key': 'of the header' };
    await agents.createAgent({ name: 'bob' }, { headers });
    await agents.createAgent({ name: 'bob' }, { headers, idempotencyKey: 'of the option' });
    expect(requests.map((request) => request.headers['idempotency-key'])).toEqual(['of the header', 'of the option']);
    for (const idempotencyKey of ['', 'é', 'two\nlines', '\0', '日本', 'x'.repeat(256)]) {
      const failure = await failureOf(agents.createAgent({ name: 'bob' }, { idempotencyKey }));
      expect(failure).toMatchObject({
        code: 'invalid_argument',
        message: expect.stringMatching(/^idempotencyKey must/),
      });
    }
    const failure = await failureOf(agents.createAgent({ name: 'bob' }, { headers: { 'x-note': 'canary\né日' } }));
    expect(failure).toMatchObject({ code: 'invalid_argument' });
    expect(inspect(failure)).not.toContain('canary');
    expect(requests).toHaveLength(2);
  });

  it.each([Infinity, 2 ** 40])('may take %d ms', async (timeoutMs) => {
    const { url, requests } = await serve(unavailable, (response) => setTimeout(() => made(response), 50));
    await create(url, { timeoutMs });
    expect(requests).toHaveLength(2);
  });

  it('is told as an error of ours whatever fetch throws', async () => {
    const fetch = () => {
      throw Object.create(null);
    };
    expect((await failureOf(create('https://gate.example.com', { fetch, repeatsMax: 0 }))).code).toBe('unreachable');
    const key = () => {
      throw Object.create(null);
    };
    await failureOf(create('https://gate.example.com', { key, repeatsMax: 0 }));
  });

  it('is nothing that is sent elsewhere: the key is for one gate', async () => {
    const thief = await serve(made);
    const { url } = await serve((response) => response.writeHead(307, { location: `${thief.url}/x` }).end());
    await failureOf(create(url));
    expect(thief.requests).toEqual([]);
  });
});

describe('a client is not made', () => {
  const attempt = (options: Partial<PortcullisOptions>) => () =>
    createPortcullis({ url: 'https://gate.example.com', key: 'pcl_canary', ...options });

  test.each([
    'http://gate.example.com',
    'http://127.0.0.1.example.com',
    'http://10.0.0.1',
    'http://localhost.evil.com',
  ])('that would send its key in the clear: %s', (url) => {
    expect(attempt({ url })).toThrow(/use https/);
    expect(attempt({ url, allowPlainHttp: true })().url).toBe(url);
  });

  it.each(['http://localhost:1', 'http://[::1]:1', 'http://127.0.0.2:1', 'https://gate.example.com/behind/'])(
    'unless it may: %s',
    (url) => {
      expect(attempt({ url })().url).toBe(url.replace(/\/$/, ''));
    },
  );

  it.each(['https://user:canary@gate.example.com', 'https://gate.example.com/?key=canary', 'canary', 'ftp://x'])(
    'of what is no address: %s',
    (url) => {
      expect(attempt({ url })).toThrow(/The URL of the gate/);
      expect(attempt({ url })).not.toThrow(/canary/);
    },
  );

  it.each(['', 'two canaries', 'canary\r\nx: y', 'ca\u0000nary'])('of what is no key', (key) => {
    expect(attempt({ key })).toThrow(/The key is empty or has characters/);
    expect(attempt({ key })).not.toThrow(/canar/);
  });
});
