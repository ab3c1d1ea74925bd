import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { modelBodyBytesMax } from '../server/src/base/limits.ts';
import {
  bearer,
  chat,
  control,
  type Door,
  eventually,
  everyScope,
  knock,
  messages,
  metrics,
  send,
  talk,
} from './support/doors.ts';
import { startGate, type TestGate } from './support/gate.ts';

let gate: TestGate;
let secret: string;
let key: Record<string, string>;
beforeAll(async () => {
  gate = await startGate();
  ({ secret } = await gate.agent('builder', { scopes: everyScope }));
  key = bearer(secret);
});
afterAll(() => gate?.stop());

/** The head of a request as text, for {@link talk}. */
function head(door: Door, headers: Record<string, string> = {}): string {
  const lines = Object.entries({ host: 'localhost', ...door.headers, ...key, ...headers });
  return [`${door.method} ${door.path} HTTP/1.1`, ...lines.map(([name, value]) => `${name}: ${value}`), '', ''].join(
    '\r\n',
  );
}

async function memoryMb(): Promise<number> {
  return (await send(gate.url, { path: '/v1/metrics', headers: bearer(gate.adminKey) })).json.memory.current_mb;
}

/** Sends chunks until the gate answers. @returns status and how many bytes had gone out by then */
function pour(door: Door): Promise<{ status: number; sent: number }> {
  const chunk = Buffer.alloc(1024 * 1024, 'x');
  return new Promise((resolve, reject) => {
    let sent = 0;
    let answered = false;
    const pouring = request(new URL(door.path, gate.url), {
      method: door.method,
      headers: { ...door.headers, ...key, 'transfer-encoding': 'chunked' },
    });
    pouring.once('response', (response) => {
      answered = true;
      response.resume();
      resolve({ status: response.statusCode ?? 0, sent });
      pouring.destroy();
    });
    pouring.on('error', (error) => (answered ? undefined : reject(error)));
    const more = () => {
      if (answered) return;
      sent += chunk.length;
      pouring.write(chunk, more);
    };
    more();
  });
}

describe('a body that is too large', () => {
  it.each([
    [messages.name, messages],
    [chat.name, chat],
  ])('%s: is answered 413 by its declared length, before it is sent', async (_name, door) => {
    const heard = await talk(gate.url, head(door, { 'content-length': String(modelBodyBytesMax + 1) }));
    expect(heard).toMatch(/^HTTP\/1\.1 413 /);
    expect(heard).toContain('payload_too_large');
  });

  it('is answered 413 by the bytes that came, where it is chunked, and leaves memory flat', async () => {
    const before = await memoryMb();
    for (let i = 0; i < 3; i++) {
      const { status, sent } = await pour(messages);
      expect(status).toBe(413);
      expect(sent).toBeGreaterThan(modelBodyBytesMax);
      expect(sent).toBeLessThan(modelBodyBytesMax * 2);
    }
    expect(await memoryMb()).toBeLessThan(before + 400);
  });

  it('is resource_exhausted on the control API, whose protocol has no 413', async () => {
    const { json } = await knock(gate.url, { ...control, body: `{"x":"${'x'.repeat(1024 * 1024)}"}` }, key);
    expect(json.code).toBe('resource_exhausted');
    expect((await pour(control)).status).toBe(429);
  });

  it('is not waited for from somebody who is refused', async () => {
    for (const door of [messages, control, { ...messages, path: '/v1/embeddings' }]) {
      const heard = await talk(gate.url, head(door, { 'content-length': '1000000', authorization: 'Bearer x' }), '{');
      expect(heard).toMatch(/^HTTP\/1\.1 (401|404|429) /);
    }
  });

  it('does not take the answer away from somebody who is refused while sending it', async () => {
    const body = JSON.stringify({ padding: 'x'.repeat(8 * 1024 * 1024) });
    for (const door of [messages, control, { ...messages, path: '/v1/embeddings' }]) {
      const answer = await knock(gate.url, { ...door, body }, bearer('nobody'));
      expect([401, 404, 429]).toContain(answer.status);
      expect(answer.json).not.toBeNull();
    }
  });
});

describe('what is no request, or no proper one, is answered in 4xx with an id, and has its access line', () => {
  it.each([
    ['headers of 20 KiB', () => head(messages, { 'x-padding': 'x'.repeat(20 * 1024) }), 431],
    ['an URL of 10 KiB', () => head({ ...metrics, path: `/metrics?${'x'.repeat(10 * 1024)}` }), 400],
    ['a path that cannot be decoded', () => head({ ...metrics, path: '/%zz' }), 400],
    ['an expectation that nobody knows', () => head({ ...metrics, path: '/nowhere' }, { expect: 'miracles' }), 404],
    ['a TLS greeting', () => Buffer.from('160301020001000001fc0303', 'hex'), 400],
    ['a folded header', () => `GET /healthz HTTP/1.1\r\nhost: localhost\r\n folded: x\r\n\r\n`, 400],
    ['two lengths', () => head(messages, { 'content-length': '5\r\ncontent-length: 6' }), 400],
    ['length and chunks at once', () => head(messages, { 'content-length': '5', 'transfer-encoding': 'chunked' }), 400],
    ['no Host', () => 'GET /metrics HTTP/1.1\r\n\r\n', 421],
    ['no Host in HTTP/1.0', () => 'GET /metrics HTTP/1.0\r\n\r\n', 421],
  ])('%s', async (_what, bytes, status) => {
    const heard = await talk(
      gate.url,
      bytes()
        .toString('latin1')
        .replace(/\r\n\r\n$/, '\r\nconnection: close\r\n\r\n'),
    );
    expect(heard).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    const id = /x-request-id: (\S+)/i.exec(heard)?.[1];
    expect(id).toMatch(/^req_/);
    expect(heard).toContain(`"request_id":"${id}"`);
    await eventually(() => expect(gate.log).toContain(`"request_id":"${id}"`));
  });

  it('headers that trickle in are not waited for', async () => {
    const slow = talk(gate.url, 'POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-slow:');
    const silent = talk(gate.url);
    expect(await slow).toMatch(/^HTTP\/1\.1 408 /);
    expect(await silent).toMatch(/^(HTTP\/1\.1 408 |$)/);
  }, 20_000);
});

describe('a body that is not what it must be', () => {
  const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;

  it.each([
    ['no JSON', 'hello'],
    ['nothing', ''],
    ['an array', '[]'],
    ['cut short', messages.body?.slice(0, -2) ?? ''],
    ['a member twice', '{"model":"sim","model":"other","max_tokens":1,"messages":[]}'],
    ['nested 65 deep', `{"model":"sim","max_tokens":1,"messages":${nested(65)}}`],
    ['nested 100,000 deep', `{"model":"sim","max_tokens":1,"messages":${nested(100_000)}}`],
    ['more after the end', `${messages.body}{}`],
  ])('%s: 400 at the doors of models', async (_what, body) => {
    for (const door of [messages, chat]) {
      const answer = await knock(gate.url, { ...door, body }, key);
      expect(answer.status).toBe(400);
      expect(door.code(answer.json)).toBe('invalid_argument');
    }
  });

  it.each([
    ['no JSON', 'hello'],
    ['an unknown field', '{"pageSiez":1}'],
    ['a wrong type', '{"pageSize":"many"}'],
    ['nested 1,000 deep', `{"pageSize":${nested(1_000)}}`],
    ['nested 100,000 deep', `{"pageSize":${nested(100_000)}}`],
  ])('%s: invalid_argument on the control API', async (_what, body) => {
    const { status, json } = await knock(gate.url, { ...control, body }, key);
    expect([status, json.code]).toEqual([400, 'invalid_argument']);
  });

  it('has the wrong type: 4xx, and nothing is guessed', async () => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'nonsense', undefined]) {
      expect((await knock(gate.url, messages, { ...key, 'content-type': type })).status).toBe(400);
      expect([400, 415]).toContain((await knock(gate.url, control, { ...key, 'content-type': type })).status);
    }
  });
});

describe('rates', () => {
  it('are told in headers, and refused with 429 and Retry-After, per principal: two keys never share a bucket', async () => {
    const own = await startGate({
      env: { RATE_LIMIT_API_PER_MINUTE: '30', RATE_LIMIT_MODELS_PER_MINUTE: '10', RATE_LIMIT_ADMIN_PER_MINUTE: '3' },
    });
    try {
      const first = await own.agent('first', { scopes: everyScope });
      const made = await own.api<{ secret: string }>('AgentService/CreateKey', {
        kind: 'PRINCIPAL_KIND_AGENT',
        agentId: first.agentId,
        name: 'second',
        scopes: everyScope,
      });
      for (const [door, limit, burst] of [
        [control, 30, 30],
        [messages, 10, 2],
        [metrics, 3, 3],
      ] as const) {
        for (const secret of [first.secret, made.secret]) {
          for (let n = 1; n <= burst; n++) {
            const { status, headers } = await knock(own.url, door, bearer(secret));
            expect(status, `${door.name} ${n}`).toBe(200);
            expect(headers['ratelimit-policy']).toMatch(new RegExp(`q=${limit};w=60`));
            expect(headers['ratelimit']).toMatch(new RegExp(`;r=${burst - n};t=\\d+`));
          }
          const refused = await knock(own.url, door, bearer(secret));
          expect(refused.status, door.name).toBe(429);
          expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
          expect(refused.headers['ratelimit']).toMatch(/;r=0;/);
          expect(refused.headers['x-should-retry']).toBeUndefined();
          expect(door.code(refused.json)).toBe('rate_limited');
          expect(door.sentence(refused.json)).toContain(`${limit} `);
        }
      }
      expect((await knock(own.url, chat, bearer(first.secret))).status).toBe(429);
      expect((await knock(own.url, messages, bearer(own.adminKey))).status).toBe(200);
    } finally {
      await own.stop();
    }
  });
});

it('an X-Forwarded-For that no proxy of ours wrote changes nothing: strangers are counted by their socket', async () => {
  const statuses: number[] = [];
  for (let i = 0; i < 30; i++) {
    const headers = { authorization: `Bearer wrong-${i}`, 'x-forwarded-for': `203.0.113.${i}` };
    statuses.push((await knock(gate.url, messages, headers)).status);
  }
  expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(15);
  expect((await knock(gate.url, messages, key)).status).toBe(200);
  expect(await gate.settledLog()).not.toContain('203.0.113.');
});
