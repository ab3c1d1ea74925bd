import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from './support/database.ts';
import { bearer, eventually, messages, send } from './support/doors.ts';
import { startGate, type TestGate } from './support/gate.ts';

let database: TestDatabase;
let gate: TestGate;
let secret: string;
let agents = 0;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterEach(() => gate.stop());
afterAll(() => database?.drop());

const body = (model: string) =>
  JSON.stringify({ ...JSON.parse(messages.body ?? ''), model, max_tokens: 5_000, stream: true });

/** Calls a model and waits for the first bytes. */
async function openStream(model: string, agent: Agent): Promise<IncomingMessage> {
  const headers = { ...messages.headers, ...bearer(secret) };
  const sent = request(new URL('/v1/messages', gate.url), { method: 'POST', headers, agent });
  sent.end(body(model));
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  await once(response, 'readable');
  return response;
}

async function start(drainMs: string): Promise<void> {
  gate = await startGate({ database, env: { DRAIN_MS: drainMs } });
  ({ secret } = await gate.agent(`streamer ${++agents}`));
}

describe('SIGTERM', () => {
  const agent = new Agent({ keepAlive: true });
  it('ends what takes too long with an error of its own, settles it, and exits with 0', async () => {
    await start('700');
    const response = await openStream('sim-rate-20-tokens-4000', agent);
    const whole = text(response);
    expect(await gate.end()).toBe(0);
    expect(await whole).toMatch(/event: error\ndata: .*being stopped.*\n\n$/);
    expect((await database.pool.query('SELECT state FROM holds')).rows).toEqual([]);
    const { rows } = await database.pool.query('SELECT provenance FROM attempts');
    expect(rows).toEqual([{ provenance: 'estimated' }]);
  });

  it('refuses new work on a connection that is open, in the shape of its door', async () => {
    await start('30000');
    const one = new Agent({ keepAlive: true, maxSockets: 1 });
    const response = await openStream('sim-rate-100-tokens-40', one);
    const next = request(new URL('/v1/messages', gate.url), {
      method: 'POST',
      headers: { ...messages.headers, ...bearer(secret) },
      agent: one,
    });
    // Sent when the stream has ended, which is after the drain began.
    next.end(body('sim'));
    const answer = once(next, 'response').then(
      async ([refusal]) => [refusal.statusCode, JSON.parse(await text(refusal)).error.type] as const,
      () => 'closed' as const,
    );
    const ended = gate.end();
    expect(await text(response)).toContain('message_stop');
    expect([[503, 'overloaded_error'], 'closed']).toContainEqual(await answer);
    expect(await ended).toBe(0);
  });

  it('waits for nobody who is idle, half done or silent', async () => {
    await start('700');
    const { hostname, port } = new URL(gate.url);
    const [idle, half, silent] = [
      connect(Number(port), hostname),
      connect(Number(port), hostname),
      connect(Number(port), hostname),
    ];
    for (const socket of [idle, half, silent]) socket.on('error', () => undefined).resume();
    idle.write('GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n');
    half.write(
      `POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key: ${secret}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{`,
    );
    await send(gate.url, { path: '/healthz' });
    await eventually(() => expect(gate.log).toContain('/healthz'));
    expect(await gate.end()).toBe(0);
  });

  it('is audited, and so are the start and the configuration', async () => {
    await start('700');
    expect(await gate.end()).toBe(0);
    const { rows } = await database.pool.query<{ action: string; target: string; payload: object }>(
      `SELECT action, target, payload FROM audit_entries WHERE actor_id = 'server' ORDER BY at DESC, id DESC LIMIT 3`,
    );
    expect(rows).toMatchObject([
      { action: 'server.stopped', target: expect.stringMatching(/^ins_/) },
      { action: 'server.started', target: rows[0]?.target },
      {
        action: 'config.loaded',
        target: 'portcullis.yaml',
        payload: { sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
      },
    ]);
  });
});

it('a second signal ends the process at once', async () => {
  await start('30000');
  const response = await openStream('sim-rate-5-tokens-4000', new Agent());
  response.on('error', () => undefined).resume();
  process.kill(gate.pid, 'SIGINT');
  await eventually(() => expect(gate.output).toContain('Draining'));
  expect(await gate.end('SIGINT')).toBe(130);
});
