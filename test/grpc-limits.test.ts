import { once } from 'node:events';
import { type ClientHttp2Session, type IncomingHttpHeaders, connect as connectHttp2 } from 'node:http2';
import { text } from 'node:stream/consumers';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { controlRequestBytesMax, http2StreamsMax } from '../server/src/base/limits.ts';
import { QuotaFailureSchema, RetryInfoSchema } from '../server/src/gen/google/rpc/error_details_pb.ts';
import { AgentService } from '../server/src/gen/portcullis/v1/agent_pb.ts';
import { SystemService } from '../server/src/gen/portcullis/v1/system_pb.ts';
import { bearer, eventually, talk } from './support/doors.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { FrameClient, endHeaders, fields, frame, frameTypes } from './support/http2-frames.ts';

let gate: TestGate;
beforeAll(async () => {
  gate = await startGate();
});
afterAll(() => gate?.stop());

async function refusal(call: Promise<unknown>): Promise<ConnectError> {
  return call.then(
    () => Promise.reject(new Error('it was not refused')),
    (error: unknown) => ConnectError.from(error),
  );
}

/** Whom the gate takes its operator for: it serves gRPC, whatever was done to it. */
async function self(): Promise<string | undefined> {
  const client = createClient(SystemService, createGrpcTransport({ baseUrl: gate.grpcUrl }));
  return (await client.getSelf({}, { headers: bearer(gate.adminKey) })).principal?.id;
}
const admin = 'static:ADMIN_API_KEY';

async function withSession<T>(work: (session: ClientHttp2Session) => Promise<T>): Promise<T> {
  const session = connectHttp2(gate.grpcUrl);
  session.on('error', () => undefined);
  try {
    return await work(session);
  } finally {
    session.destroy();
  }
}

async function ask(
  session: ClientHttp2Session,
  headers: IncomingHttpHeaders,
  body = '',
): Promise<{ status: number; body: string; headers: IncomingHttpHeaders }> {
  const stream = session.request(headers);
  if (headers[':method'] !== 'GET') stream.end(body);
  const [answer] = (await once(stream, 'response')) as [IncomingHttpHeaders & { ':status': number }];
  return { status: answer[':status'], body: await text(stream), headers: answer };
}

const call = {
  ':method': 'POST',
  ':path': '/portcullis.v1.SystemService/GetSelf',
  ':scheme': 'http',
  ':authority': 'localhost',
};
const grpcHeaders = () => ({ ...call, 'content-type': 'application/grpc', te: 'trailers', ...bearer(gate.adminKey) });

describe('what is no gRPC', () => {
  it.each([
    ['GET', '/'],
    ['GET', '/healthz'],
    ['GET', '/metrics'],
    ['POST', '/v1/messages'],
    ['POST', '/portcullis.v1.SystemService/Nothing'],
  ])('%s %s is not there, which a gRPC client reads as unimplemented', async (method, path) => {
    const answer = await withSession((session) => ask(session, { ':method': method, ':path': path }));
    expect(answer.status).toBe(404);
    expect(answer.body).toContain('"not_found"');
  });

  it.each([
    ['HTTP/1.1', Buffer.from('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n')],
    ['a TLS greeting', Buffer.from('160301020001000001fc0303', 'hex')],
    ['nonsense', Buffer.from('hello\n'.repeat(10))],
  ])('%s ends the connection', async (_what, bytes) => {
    await talk(gate.grpcUrl, bytes);
    expect(await self()).toBe(admin);
  });
});

describe('a name', () => {
  it('that is not ours is refused, and so are two that differ', async () => {
    const [foreign, two] = await withSession((session) =>
      Promise.all([
        ask(session, { ...grpcHeaders(), ':authority': 'evil.example' }),
        ask(session, { ...grpcHeaders(), ':authority': 'localhost', host: 'evil.example' }),
      ]),
    );
    expect([foreign.status, JSON.parse(foreign.body).code]).toEqual([421, 'misdirected']);
    expect([two.status, JSON.parse(two.body).code]).toEqual([400, 'invalid_argument']);
  });
});

describe('a message', () => {
  const client = () => createClient(AgentService, createGrpcTransport({ baseUrl: gate.grpcUrl }));

  it('that is too large is RESOURCE_EXHAUSTED', async () => {
    const description = 'x'.repeat(controlRequestBytesMax);
    const headers = bearer(gate.adminKey);
    const refused = await refusal(client().createAgent({ name: 'large', description }, { headers }));
    expect(refused.code).toBe(Code.ResourceExhausted);
    expect(await self()).toBe(admin);
  });

  it('that begins and never ends does not keep its stream after the caller was refused', async () => {
    await withSession(async (session) => {
      const stream = session.request({ ...grpcHeaders(), authorization: 'Bearer nobody' });
      stream.write(Buffer.from([0, 0, 0, 0, 9]));
      const [trailers] = (await Promise.race([once(stream, 'trailers'), once(stream, 'response')])) as [
        IncomingHttpHeaders,
      ];
      expect(trailers).toBeDefined();
      stream.resume();
      await once(stream, 'close');
    });
  });

  it('is refused with when to come back where there are too many', async () => {
    const own = await startGate({ env: { RATE_LIMIT_API_PER_MINUTE: '3' } });
    try {
      const transport = createGrpcTransport({ baseUrl: own.grpcUrl });
      const mine = () => createClient(SystemService, transport).getSelf({}, { headers: bearer(own.adminKey) });
      for (let n = 0; n < 3; n++) await mine();
      const refused = await refusal(mine());
      expect(refused.code).toBe(Code.ResourceExhausted);
      const [retry] = refused.findDetails(RetryInfoSchema);
      expect(retry?.retryDelay?.seconds).toBeGreaterThan(0n);
      const [quota] = refused.findDetails(QuotaFailureSchema);
      expect(quota?.violations).toMatchObject([{ subject: 'api' }]);
    } finally {
      await own.stop();
    }
  });
});

describe('a connection', () => {
  const open = (stream: number) => frame(frameTypes.headers, endHeaders, stream, fields(grpcHeaders()));
  const streamIds = (count: number) => Array.from({ length: count }, (_, n) => 2 * n + 1);

  it('has 256 streams at once: the next is refused', async () => {
    const client = new FrameClient(gate.grpcUrl);
    const ids = streamIds(http2StreamsMax + 1);
    client.send(...ids.map(open));
    const refusedStream = 7;
    await eventually(() => expect(client.errors(frameTypes.rstStream)).toEqual(new Map([[ids.at(-1), refusedStream]])));
    client.end();
    expect(await self()).toBe(admin);
  });

  it('takes no headers beyond their bound, however they come', async () => {
    await withSession(async (session) => {
      const large = session.request({ ...grpcHeaders(), 'x-large': 'x'.repeat(17 * 1024) });
      await expect(once(large, 'response')).rejects.toThrow('ENHANCE_YOUR_CALM');
      const many = Object.fromEntries(Array.from({ length: 120 }, (_, n) => [`x-${n}`, 'x']));
      const flood = session.request({ ...grpcHeaders(), ...many });
      await expect(once(flood, 'response')).rejects.toThrow('ENHANCE_YOUR_CALM');
    });
    // CVE-2024-27316: a block of headers that never ends.
    const client = new FrameClient(gate.grpcUrl);
    client.send(frame(frameTypes.headers, 0, 1, fields(grpcHeaders())));
    const more = frame(frameTypes.continuation, 0, 1, fields({ 'x-more': 'x'.repeat(100) }));
    for (let n = 0; n < 1_000; n++) client.send(more);
    await client.closed;
    expect(await self()).toBe(admin);
  });

  it('that resets streams as fast as it opens them is ended', async () => {
    const client = new FrameClient(gate.grpcUrl);
    const cancel = (stream: number) => frame(frameTypes.rstStream, 0, stream, Buffer.from([0, 0, 0, 8]));
    for (const stream of streamIds(2_000)) client.send(open(stream), cancel(stream));
    await client.closed;
    expect([...client.errors(frameTypes.goaway).values()]).not.toContain(0);
    expect(await self()).toBe(admin);
  });

  it.each([
    ['settings', frame(frameTypes.settings, 0, 0, Buffer.from([0, 4, 0, 0, 255, 255]))],
    ['pings', frame(frameTypes.ping, 0, 0, Buffer.alloc(8))],
  ])('that floods us with %s does not take the service from others', async (_what, flood) => {
    const client = new FrameClient(gate.grpcUrl);
    const burst = Buffer.concat(Array.from({ length: 1_000 }, () => flood));
    for (let n = 0; n < 20; n++) client.send(burst);
    expect(await self()).toBe(admin);
    client.end();
  });

  it('is told that the gate stops, and what is under way on it ends', async () => {
    const stopping = await startGate();
    try {
      const session = connectHttp2(stopping.grpcUrl);
      session.on('error', () => undefined);
      await once(session, 'connect');
      const goaway = once(session, 'goaway');
      const ended = stopping.end();
      expect((await goaway)[0]).toBe(0);
      expect(await ended).toBe(0);
    } finally {
      await stopping.stop();
    }
  });
});
