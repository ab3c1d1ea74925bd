import { type RequestListener, Server, type ServerOptions } from 'node:http';
import {
  Http2ServerRequest,
  type ServerOptions as Http2ServerOptions,
  type ServerHttp2Session,
  constants,
  createServer as createHttp2Server,
} from 'node:http2';
import type { Socket } from 'node:net';
import { type Server as TlsServer, type TlsOptions, createServer as createTlsServer } from 'node:tls';
import {
  headerBytesMax,
  headerTimeoutMs,
  http2HeadersMax,
  http2InvalidFramesMax,
  http2RefusedStreamsMax,
  http2ResetsBurst,
  http2ResetsPerS,
  http2SessionMemoryMb,
  http2SettingsMax,
  http2StreamsMax,
  keepAliveIdleMs,
  requestTimeoutMs,
  timeoutCheckMs,
  tlsHandshakeMs,
  unreadBodyMs,
} from '../base/limits.ts';

/** What a listener speaks. */
export type Transport =
  | { readonly kind: 'http1' }
  /** HTTP/2 without TLS, with prior knowledge (RFC 9113, 3.3): what gRPC clients speak on loopback. */
  | { readonly kind: 'h2c' }
  /** HTTP/1.1 or HTTP/2, as the client asks for (ALPN). The terminator is {@link createTlsTerminator}'s. */
  | { readonly kind: 'tls'; readonly terminator: TlsServer };

/**
 * The TLS end of a listener. It never listens by itself: it is given connections. Who makes it keeps it, to put new
 * certificates into force (`setSecureContext`) and to watch connections (`secureConnection`).
 */
export function createTlsTerminator(options: TlsOptions): TlsServer {
  return createTlsServer({
    minVersion: 'TLSv1.3',
    handshakeTimeout: tlsHandshakeMs,
    ...options,
    ALPNProtocols: ['h2', 'http/1.1'],
  });
}

/** How HTTP/1.1 is read, on whatever listener. */
export const http1Options: ServerOptions = {
  maxHeaderSize: headerBytesMax,
  headersTimeout: headerTimeoutMs,
  connectionsCheckingInterval: timeoutCheckMs,
  // Ours says more, and in our shape.
  requireHostHeader: false,
};

/** A request of HTTP/2, with what `node:http` has and `node:http2` has not. */
class Http2Request extends Http2ServerRequest {
  /** Each header's values as they came. */
  get headersDistinct(): NodeJS.Dict<string[]> {
    const distinct = new Map<string, string[]>();
    for (let i = 0; i < this.rawHeaders.length; i += 2) {
      const [name = '', value = ''] = this.rawHeaders.slice(i, i + 2);
      distinct.set(name, [...(distinct.get(name) ?? []), value]);
    }
    return Object.fromEntries(distinct);
  }
}

const http2Options: Http2ServerOptions = {
  Http2ServerRequest: Http2Request,
  maxHeaderListPairs: http2HeadersMax,
  maxSessionInvalidFrames: http2InvalidFramesMax,
  maxSessionMemory: http2SessionMemoryMb,
  maxSessionRejectedStreams: http2RefusedStreamsMax,
  maxSettings: http2SettingsMax,
  streamResetBurst: http2ResetsBurst,
  streamResetRate: http2ResetsPerS,
  settings: { maxConcurrentStreams: http2StreamsMax, maxHeaderListSize: headerBytesMax, enablePush: false },
};

/**
 * A TCP listener that speaks HTTP/2, or TLS and then what the client chose. Requests of either version are emitted as
 * `request` with the interface of `node:http`, so that one application serves all listeners.
 */
export class Http2Listener extends Server {
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Set<ServerHttp2Session>();

  constructor(transport: Exclude<Transport, { kind: 'http1' }>, listener: RequestListener) {
    super({ ...http1Options, requestTimeout: requestTimeoutMs, keepAliveTimeout: keepAliveIdleMs }, listener);
    const speakHttp1 = this.listeners('connection');
    this.removeAllListeners('connection');
    this.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    const speakHttp2 = (socket: Socket) => {
      endWithPeer(socket);
      http2.emit('connection', socket);
    };
    const http2 = createHttp2Server(http2Options);
    http2.on('session', (session) => this.#keep(session));
    http2.on('request', (request, response) => {
      // Node holds a client to our settings when it has confirmed them; who never does would be bound by nothing.
      if (headerBytes(request) > headerBytesMax) {
        request.stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
        return;
      }
      endWhenSlow(request);
      this.emit('request', request, response);
    });
    if (transport.kind === 'h2c') {
      this.on('connection', speakHttp2);
      return;
    }
    const { terminator } = transport;
    this.on('connection', (socket) => terminator.emit('connection', socket));
    terminator.on('secureConnection', (socket) => {
      if (socket.alpnProtocol === 'h2') speakHttp2(socket);
      else for (const speak of speakHttp1) speak.call(this, socket);
    });
  }

  /** Ends who is idle. Sessions of HTTP/2 take no new streams (GOAWAY) and end after those that are under way. */
  override closeIdleConnections(): void {
    super.closeIdleConnections();
    for (const session of this.#sessions) session.close();
  }

  override closeAllConnections(): void {
    for (const session of this.#sessions) session.destroy();
    for (const socket of this.#sockets) socket.destroy();
  }

  #keep(session: ServerHttp2Session): void {
    this.#sessions.add(session);
    session.once('close', () => this.#sessions.delete(session));
    closeWhenIdle(session);
  }
}

function headerBytes({ rawHeaders }: Http2ServerRequest): number {
  return rawHeaders.reduce((sum, text) => sum + text.length, 0);
}

/** Ends a session on which nothing is under way. One that waits for a slow answer, or for a watch, is not idle. */
function closeWhenIdle(session: ServerHttp2Session): void {
  let streams = 0;
  session.on('stream', (stream) => {
    streams += 1;
    stream.once('close', () => (streams -= 1));
  });
  session.setTimeout(keepAliveIdleMs, () => {
    if (streams === 0) session.destroy();
  });
}

/**
 * A client that ended its side of the connection has left, with all that was under way: it could confirm nothing any
 * more. Where we ended ours, it has a short time to end its own.
 */
function endWithPeer(socket: Socket): void {
  socket.once('end', () => socket.destroy());
  socket.once('finish', () => {
    const late = setTimeout(() => socket.destroy(), unreadBodyMs);
    socket.once('close', () => clearTimeout(late));
  });
}

/**
 * What `requestTimeout` is for HTTP/1.1: the whole request must be there in time. After its answer only a short time is
 * left for what still comes: an answered stream that the client never ends would be under way for ever.
 */
function endWhenSlow({ stream }: Http2ServerRequest): void {
  const end = (code: number) => {
    stream.close(code);
    // By itself it would wait for somebody to read what came.
    stream.destroy();
  };
  let slow = setTimeout(end, requestTimeoutMs, constants.NGHTTP2_CANCEL);
  stream.once('end', () => clearTimeout(slow));
  stream.once('close', () => clearTimeout(slow));
  stream.once('finish', () => {
    clearTimeout(slow);
    // RFC 9113, 8.1: the rest of the request is not needed.
    slow = setTimeout(end, unreadBodyMs, constants.NGHTTP2_NO_ERROR);
    stream.resume();
  });
}
