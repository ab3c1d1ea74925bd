import { once } from 'node:events';
import { type ClientHttp2Session, type IncomingHttpHeaders, connect } from 'node:http2';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { modelBodyBytesMax } from '../server/src/base/limits.ts';
import { eventually, messages } from './support/doors.ts';
import { type MtlsGate, serverAuthority, startMtlsGate } from './support/mtls.ts';

// Models over HTTP/2: what the doors do on a connection of HTTP/1.1, on a stream.

let mtls: MtlsGate;
let session: ClientHttp2Session;

beforeAll(async () => {
  mtls = await startMtlsGate({ env: { DRAIN_MS: '700' } });
  await mtls.gate.api('AgentService/CreateAgent', { name: 'builder', certificateScopes: ['models:invoke'] });
  session = connect(mtls.url, { ca: serverAuthority.cert, ...mtls.authority.agent('builder') });
  session.on('error', () => undefined);
});
afterAll(async () => {
  session?.destroy();
  await mtls?.stop();
});

function open(body: object) {
  const { method, path, headers: own } = messages;
  const stream = session.request({ ...own, ':method': method, ':path': path });
  stream.on('error', () => undefined);
  stream.end(JSON.stringify({ max_tokens: 5_000, messages: [{ role: 'user', content: 'Hello' }], ...body }));
  return stream;
}

async function answer(stream: ReturnType<typeof open>): Promise<{ status: unknown; body: string }> {
  const [head] = (await once(stream, 'response')) as [IncomingHttpHeaders];
  return { status: head[':status'], body: await text(stream) };
}

describe('over HTTP/2', () => {
  it('a model answers whole, in a stream, and in many streams at once', async () => {
    const whole = await answer(open({ model: 'sim' }));
    expect([whole.status, JSON.parse(whole.body).role]).toEqual([200, 'assistant']);
    const streams = await Promise.all(
      Array.from({ length: 20 }, () => answer(open({ model: 'sim-rate-200-tokens-40', stream: true }))),
    );
    for (const { status, body } of streams) {
      expect(status).toBe(200);
      expect(body).toMatch(/^event: message_start\n/);
      expect(body).toMatch(/event: message_stop\ndata: .*\n\n$/);
    }
  });

  it('a refusal has the shape of its door, also of a body that is too large', async () => {
    const none = await answer(open({ model: 'nothing' }));
    expect([none.status, JSON.parse(none.body).type]).toEqual([404, 'error']);
    const large = await answer(open({ model: 'sim', padding: 'x'.repeat(modelBodyBytesMax) }));
    expect(large.status).toBe(413);
  });

  it('a client that takes back its call ends it', async () => {
    const stream = open({ model: 'sim-rate-20-tokens-4000', stream: true });
    await once(stream, 'data');
    stream.close();
    await eventually(async () => {
      const [row] = await mtls.gate.ledger();
      expect(row).toMatchObject({ outcome: 'ATTEMPT_OUTCOME_CLIENT_CLOSED' });
    });
  });

  it('a stream that takes too long ends with an error of its own when the gate stops', async () => {
    const stream = open({ model: 'sim-rate-20-tokens-4000', stream: true });
    await once(stream, 'readable');
    const whole = text(stream);
    const goaway = once(session, 'goaway');
    expect(await mtls.gate.end()).toBe(0);
    expect((await goaway)[0]).toBe(0);
    expect(await whole).toMatch(/event: error\ndata: .*being stopped.*\n\n$/);
  });
});
