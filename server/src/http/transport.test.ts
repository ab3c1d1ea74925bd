import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from 'node:http2';
import { type AddressInfo, type Server, type Socket, connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Authority } from '../../../test/support/certificates.ts';
import { type ListenerBounds, listenerBounds } from './listener-bounds.ts';
import { Http2Listener, createTlsTerminator } from './transport.ts';

// What a listener of HTTP/2 or TLS bears with, with bounds that a test can wait for. `long` is beyond every test.

const long = 600_000;
const bounds: ListenerBounds = {
  ...listenerBounds,
  handshakeMs: long,
  idleMs: long,
  requestMs: long,
  unreadBodyMs: long,
  unreadAnswerMs: long,
};
const short = 100;

let listener: Http2Listener;
const ends: (() => void)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) end();
  listener.closeAllConnections();
  listener.close();
  await once(listener, 'close');
});

async function listen(made: Http2Listener): Promise<number> {
  listener = made.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  return portOf(listener);
}

const portOf = (server: Server) => (server.address() as AddressInfo).port;

async function open(
  handler: RequestListener,
  some: Partial<ListenerBounds>,
  options = {},
): Promise<ClientHttp2Session> {
  const port = await listen(new Http2Listener({ kind: 'h2c' }, handler, { ...bounds, ...some }));
  const session = connectHttp2(`http://127.0.0.1:${port}`, options);
  session.on('error', () => undefined);
  ends.push(() => session.destroy());
  return session;
}

function ask(session: ClientHttp2Session, path = '/'): ClientHttp2Stream {
  const stream = session.request({ ':path': path });
  stream.on('error', () => undefined);
  return stream;
}

describe('a stream of HTTP/2', () => {
  const takesNothing = { settings: { initialWindowSize: 0 } };

  it('ends when its client does not take the answer', async () => {
    const session = await open(
      (_request, response) => response.end('an answer'),
      { unreadAnswerMs: short },
      takesNothing,
    );
    const stream = ask(session);
    await once(stream, 'close');
    expect(stream.rstCode).not.toBe(0);
    expect(session.destroyed).toBe(false);
  });

  it('goes on while its handler has not said everything, whatever the client takes', async () => {
    const handler: RequestListener = ({ url }, response) => {
      if (url === '/watches') response.write('the first of many');
      if (url === '/ends') response.end('all');
    };
    const session = await open(handler, { unreadAnswerMs: short }, takesNothing);
    const [waits, watches] = [ask(session, '/waits'), ask(session, '/watches')];
    // Whoever begins later is struck later: by the second of these, those above would have been.
    for (let n = 0; n < 2; n++) await once(ask(session, '/ends'), 'close');
    expect([waits.closed, watches.closed]).toEqual([false, false]);
  });

  it('that nobody takes does not keep a listener that closes, and one that is still written does', async () => {
    const handler: RequestListener = ({ url }, response) => url === '/ends' && response.end('all');
    const session = await open(handler, { unreadBodyMs: short }, takesNothing);
    const [waits, answered] = [ask(session, '/waits'), ask(session, '/ends')];
    const closing = setInterval(() => listener.closeIdleConnections(), 10);
    await once(answered, 'close');
    clearInterval(closing);
    expect(waits.closed).toBe(false);
  });

  it('has longer for a long answer, and is left alone when it was taken', async () => {
    const size = 50_000;
    const some = { unreadAnswerMs: short, answerBytesPerSMin: 10_000 };
    const session = await open((_request, response) => response.end(Buffer.alloc(size)), some, takesNothing);
    const stream = ask(session);
    let taken = 0;
    stream.on('data', (chunk: Buffer) => (taken += chunk.length));
    // Longer than for a short one.
    const slow = setTimeout(() => session.settings({ initialWindowSize: size }), 5 * short);
    await once(stream, 'close');
    clearTimeout(slow);
    expect([taken, stream.rstCode]).toEqual([size, 0]);
  });

  it.each<[string, RequestListener, Partial<ListenerBounds>]>([
    ['does not come in time', () => undefined, { requestMs: short }],
    ['does not end after its answer', (_request, response) => response.end(), { unreadBodyMs: short }],
  ])('ends when the request %s', async (_title, handler, some) => {
    const session = await open(handler, some);
    const stream = session.request({ ':method': 'POST' }, { endStream: false });
    stream.on('error', () => undefined);
    await once(stream.resume(), 'close');
    expect(session.destroyed).toBe(false);
  });
});

describe('a connection', () => {
  it('ends when nothing is under way on it', async () => {
    const session = await open((_request, response) => response.end(), { idleMs: short });
    const stream = ask(session);
    await once(stream.resume(), 'close');
    await once(session, 'close');
    expect(stream.rstCode).toBe(0);
  });

  it('stays while something is', async () => {
    let finish = () => {};
    const session = await open((_request, response) => (finish = () => response.end('late')), { idleMs: short });
    const stream = ask(session);
    // Begins later, and has ended when it has.
    const idle = connectHttp2(`http://127.0.0.1:${portOf(listener)}`);
    await once(idle, 'close');
    expect(session.destroyed).toBe(false);
    finish();
    await once(stream.resume(), 'close');
    expect(stream.rstCode).toBe(0);
  });
});

describe('a TLS handshake that does not come to its end', () => {
  const { cert, key } = new Authority('Servers').server();

  const reasons: unknown[] = [];
  const refused = {
    add: (_socket: Socket, error: Error | null) => reasons.push(error && 'code' in error && error.code),
  };

  async function openTls(): Promise<number> {
    const terminator = createTlsTerminator({ cert, key }, refused, { ...bounds, handshakeMs: 5 * short });
    return listen(new Http2Listener({ kind: 'tls', terminator }, (_request, response) => response.end(), bounds));
  }

  // The head of a record and of a ClientHello (RFC 8446, 5.1 and 4) whose end never comes.
  const greeting = Buffer.concat([Buffer.from('1603013ffc01003ff80303', 'hex'), Buffer.alloc(1_000)]);

  it.each([
    ['who says nothing', () => undefined],
    [
      'who says it byte by byte',
      (socket: Socket) => {
        let at = 0;
        const drip = setInterval(() => socket.writable && socket.write(greeting.subarray(at, ++at)), 50);
        ends.push(() => clearInterval(drip));
      },
    ],
  ])('ends the connection of a client %s', async (_who, speak) => {
    const port = await openTls();
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    ends.push(() => socket.destroy());
    speak(socket);
    await new Promise((resolve) => socket.resume().once('close', resolve));
    expect(reasons.splice(0)).toEqual(['ERR_TLS_HANDSHAKE_TIMEOUT']);
  });
});
