import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  bearer,
  chat,
  control,
  doors,
  eventually,
  everyScope,
  knock,
  messages,
  metrics,
  send,
} from './support/doors.ts';
import { startGate, type TestGate } from './support/gate.ts';

const metricsKey = 'scraper-1a2b3c4d5e6f7g8h9i0j1k2l3m4n5';

let gate: TestGate;
let key: Record<string, string>;
beforeAll(async () => {
  gate = await startGate({
    env: {
      PUBLIC_URL: 'https://gate.example.com',
      ALLOWED_HOSTS: 'inner.example.com, 10.1.2.3',
      ALLOWED_ORIGINS: 'https://app.example.com',
      METRICS_API_KEY: metricsKey,
      TRUSTED_PROXIES: '127.0.0.1',
    },
  });
  key = bearer((await gate.agent('builder', { scopes: everyScope })).secret);
});
afterAll(() => gate?.stop());

const get = (path: string, headers: Record<string, string | undefined> = {}) => send(gate.url, { path, headers });

describe('X-Request-ID', () => {
  const stream = { ...messages, body: messages.body?.replace('{', '{"stream":true,') ?? '' };

  it('is kept where it is legal, in answers, errors, streams and on unknown paths', async () => {
    const id = 'My-id_1.2'.padEnd(64, 'x');
    for (const door of [...doors, stream, { ...metrics, path: '/nowhere' }, { ...metrics, path: '/healthz' }]) {
      expect((await knock(gate.url, door, { ...key, 'x-request-id': id })).headers['x-request-id']).toBe(id);
      expect((await knock(gate.url, door, { 'x-request-id': id })).headers['x-request-id']).toBe(id);
    }
  });

  it('is made where there is none, or one that could be anything', async () => {
    const seen = new Set<unknown>();
    for (const given of [undefined, '', 'x'.repeat(65), 'with space', 'spät', '<script>', 'a;b']) {
      const { headers } = await knock(gate.url, messages, { ...key, 'x-request-id': given });
      expect(headers['x-request-id']).toMatch(/^req_[0-9a-z]{26}$/);
      seen.add(headers['x-request-id']);
    }
    expect(seen.size).toBe(7);
  });

  it('is what the body of an error names too', async () => {
    const sent = { 'x-request-id': 'mine' };
    expect((await knock(gate.url, messages, sent)).json.request_id).toBe('mine');
    expect((await knock(gate.url, chat, sent)).json.request_id).toBe('mine');
    expect((await knock(gate.url, metrics, sent)).json.request_id).toBe('mine');
    expect((await knock(gate.url, control, sent)).json.details[0].debug.requestId).toBe('mine');
  });
});

describe('Host and Origin', () => {
  it.each(['evil.example.com', 'gate.example.com.evil.example', '10.1.2.4', 'localhost.evil.example', '[::2]'])(
    'an unknown Host (%s) is answered 421 at every door, whatever the credential',
    async (host) => {
      for (const door of doors) {
        const answer = await knock(gate.url, door, { ...key, host });
        expect([answer.status, door.code(answer.json)], answer.text).toEqual([421, 'misdirected']);
      }
    },
  );

  it.each([
    'gate.example.com',
    'GATE.example.com:443',
    'inner.example.com:8080',
    '10.1.2.3',
    'localhost:1',
    '127.0.0.1',
    '[::1]:80',
  ])('a name of ours (%s) is served', async (host) =>
    expect((await knock(gate.url, messages, { ...key, host })).status).toBe(200),
  );

  it('health checks come under any name', async () => {
    for (const path of ['/healthz', '/readyz']) {
      expect((await get(path, { host: '172.17.0.9:8080', origin: 'https://evil.example.com' })).status).toBe(200);
    }
    expect((await get('/healthzz', { host: '172.17.0.9:8080' })).status).toBe(421);
  });

  it.each([
    'https://evil.example.com',
    'null',
    'http://localhost:9',
    'https://app.example.com.evil.example',
    'http://app.example.com',
  ])('a foreign Origin (%s) is answered 403 without CORS headers', async (origin) => {
    for (const door of doors) {
      const answer = await knock(gate.url, door, { ...key, origin });
      expect([answer.status, door.code(answer.json)]).toEqual([403, 'origin_denied']);
      expect(answer.headers['access-control-allow-origin']).toBeUndefined();
    }
  });

  it('an origin of ALLOWED_ORIGINS may call and read, at every door, errors too', async () => {
    const origin = 'https://app.example.com';
    for (const door of doors) {
      for (const headers of [key, {}]) {
        const answer = await knock(gate.url, door, { ...headers, origin });
        expect(answer.headers['access-control-allow-origin'], door.name).toBe(origin);
        expect(answer.headers['access-control-expose-headers']).toContain('x-request-id');
        expect(answer.headers['access-control-expose-headers']).toContain('idempotency-replayed');
      }
      const preflight = await send(gate.url, {
        method: 'OPTIONS',
        path: door.path,
        headers: {
          origin,
          'access-control-request-method': door.method,
          'access-control-request-headers': 'x-api-key',
        },
      });
      expect([preflight.status, preflight.headers['access-control-allow-origin']]).toEqual([204, origin]);
    }
    expect((await knock(gate.url, messages, { ...key, origin: 'https://gate.example.com' })).status).toBe(200);
  });
});

it('security headers are on every page and error, and nothing names the software', async () => {
  for (const answer of [
    await get('/readyz'),
    await get('/nowhere'),
    await get('/metrics', key),
    await knock(gate.url, control, key),
    await knock(gate.url, control),
  ]) {
    expect(answer.headers).toMatchObject({
      'content-security-policy': "default-src 'none';frame-ancestors 'none';base-uri 'none';form-action 'none'",
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'SAMEORIGIN',
      'referrer-policy': 'no-referrer',
      'cross-origin-resource-policy': 'same-origin',
      'strict-transport-security': 'max-age=63072000',
    });
  }
  for (const door of doors) {
    const { headers } = await knock(gate.url, door);
    expect(headers['x-content-type-options']).toBe('nosniff');
    expect(headers['x-powered-by'] ?? headers['server']).toBeUndefined();
  }
});

describe('a path that does not exist', () => {
  it('below a door of a dialect is answered in that dialect, and never forwarded', async () => {
    for (const path of ['/v1/messages/batches', '/v1/messages/', '/v1/messages/../complete?x=1']) {
      const { status, json } = await send(gate.url, { method: 'POST', path, headers: { ...messages.headers, ...key } });
      expect([status, json.type, json.error.type]).toEqual([404, 'error', 'not_found_error']);
    }
    for (const path of ['/v1/chat/complete', '/v1/chat', '/v1/models/gpt-x']) {
      const { status, json } = await get(path, key);
      expect([status, json.error.type, json.error.code]).toEqual([404, 'not_found_error', 'not_found']);
    }
    expect((await get('/v1/models/x', { 'anthropic-version': '2023-06-01' })).json.type).toBe('error');
    expect((await get('/v1/messages', key)).json.error.type).toBe('not_found_error');
  });

  it('elsewhere is a problem of RFC 9457, whose text holds no more than the path', async () => {
    for (const path of [
      '/',
      '/v1/audio/speech',
      '/v1/messagesx',
      '/portcullis.v1.AgentService/NoSuchMethod',
      '/%2e%2e/etc',
    ]) {
      const answer = await send(gate.url, { method: 'POST', path: `${path}?token=x`, body: '{}' });
      expect(answer.status).toBe(404);
      expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/);
      expect(answer.json).toMatchObject({
        type: 'urn:portcullis:error:not_found',
        title: 'Not found',
        status: 404,
        code: 'not_found',
        request_id: answer.headers['x-request-id'],
        detail: `There is nothing at POST ${path}.`,
      });
    }
  });
});

describe('health', () => {
  it('/healthz is plain ok', async () => {
    const { status, text, headers } = await get('/healthz');
    expect([status, text, headers['content-type']]).toEqual([200, 'ok', 'text/plain']);
  });

  it('/readyz names each dependency', async () => {
    const { status, json } = await get('/readyz');
    expect(status).toBe(200);
    expect(json).toEqual({
      server: 'ok',
      configuration: 'ok',
      database: 'ok',
      migrations: 'ok',
      control_state: 'ok',
      jwks: 'not_configured',
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
    });
  });
});

describe('metrics', () => {
  it('/metrics is Prometheus text, to a scope of its own', async () => {
    expect((await get('/metrics')).status).toBe(401);
    expect((await get('/metrics', bearer((await gate.agent('no metrics')).secret))).status).toBe(403);
    const { status, text, headers } = await get('/metrics', key);
    expect([status, headers['content-type']]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
    expect(text).toContain('# TYPE http_requests_total counter');
  });

  it('/v1/metrics is JSON, and 403 Forbidden whatever is wrong with the credential', async () => {
    const wrong = [{}, bearer('nonsense'), bearer((await gate.agent('none')).secret)];
    for (const headers of wrong) {
      const { status, json } = await get('/v1/metrics', headers);
      expect([status, json.detail]).toEqual([403, 'Forbidden']);
    }
    const { status, json } = await get('/v1/metrics', bearer(metricsKey));
    expect(status).toBe(200);
    expect(json).toMatchObject({
      timestamp: expect.any(String),
      uptime_seconds: expect.any(Number),
      latency: { p50: expect.any(Number), p95: expect.any(Number), p99: expect.any(Number), count: expect.any(Number) },
      memory: { current_mb: expect.any(Number), peak_mb: expect.any(Number) },
      throughput: { total_requests: expect.any(Number), requests_per_second: expect.any(Number) },
    });
    expect(json.memory.peak_mb).toBeGreaterThanOrEqual(json.memory.current_mb - 1);
    const calls = json.throughput.total_requests;
    await knock(gate.url, messages, key);
    expect((await get('/v1/metrics', bearer(metricsKey))).json.throughput.total_requests).toBe(calls + 1);
  });

  it('who read them is in the audit log, and who tried without the scope', async () => {
    await eventually(async () => {
      const { rows } = await gate.database.pool.query<{ action: string; target: string }>(
        `SELECT action, target FROM audit_entries WHERE target = 'metrics:read'`,
      );
      expect(new Set(rows.map(({ action }) => action))).toEqual(new Set(['metrics.read', 'scope.denied']));
    });
  });
});

it('the database going away makes it not ready, and what stands in the configuration still reads the metrics', async () => {
  const own = await startGate({ env: { METRICS_API_KEY: metricsKey, CONTROL_AGE_MAX_MS: '2000' } });
  try {
    const { secret } = await own.agent('waiting', { scopes: everyScope });
    await own.database.drop();
    await eventually(async () => {
      const { status, json } = await send(own.url, { path: '/readyz' });
      expect([status, json.server, json.database, json.control_state]).toEqual([503, 'ok', 'failed', 'stale']);
    });
    expect((await send(own.url, { path: '/healthz' })).status).toBe(200);
    for (const door of doors) {
      const answer = await knock(own.url, door, bearer(secret));
      expect([answer.status, door.code(answer.json)], door.name).toEqual([503, 'unavailable']);
    }
    const { status, text } = await knock(own.url, metrics, bearer(metricsKey));
    expect(status).toBe(200);
    expect(Number(/^control_state_age_seconds (\S+)/m.exec(text)?.[1])).toBeGreaterThan(2);
  } finally {
    await own.stop();
  }
});
