import { type RequestListener, Server, type ServerOptions } from 'node:http';
import {
  type Http2ServerRequest,
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
  timeoutCheckMs,
} from '../base/limits.ts';
import {
  Http2Request,
  Http2Response,
  type UntakenAnswers,
  closeWhenIdle,
  endStream,
  endWhenSlow,
  endWithPeer,
} from './http2-streams.ts';
import { type ListenerBounds, listenerBounds } from './listener-bounds.ts';
import type { RefusedHandshakes } from './refused-handshakes.ts';

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
 * @param refused is told of handshakes that fail
 */
export function createTlsTerminator(
  options: TlsOptions,
  refused: Pick<RefusedHandshakes, 'add'>,
  { handshakeMs }: ListenerBounds = listenerBounds,
): TlsServer {
  const terminator = createTlsServer({
    minVersion: 'TLSv1.3',
    handshakeTimeout: handshakeMs,
    ...options,
    ALPNProtocols: ['h2', 'http/1.1'],
  });
  terminator.on('tlsClientError', (error, socket) => {
    refused.add(socket, error);
    // After a timeout Node leaves that to us.
    socket.destroy();
  });
  return terminator;
}

/** How HTTP/1.1 is read, on whatever listener. */
export const http1Options: ServerOptions = {
  maxHeaderSize: headerBytesMax,
  headersTimeout: headerTimeoutMs,
  connectionsCheckingInterval: timeoutCheckMs,
  // Ours says more, and in our shape.
  requireHostHeader: false,
};

const http2Options: Http2ServerOptions = {
  Http2ServerRequest: Http2Request,
  Http2ServerResponse: Http2Response,
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
  readonly #untaken: UntakenAnswers = new Map();
  readonly #bounds: ListenerBounds;

  constructor(
    transport: Exclude<Transport, { kind: 'http1' }>,
    listener: RequestListener,
    bounds: ListenerBounds = listenerBounds,
  ) {
    const { requestMs: requestTimeout, idleMs: keepAliveTimeout } = bounds;
    const headersTimeout = Math.min(headerTimeoutMs, requestTimeout);
    super({ ...http1Options, headersTimeout, requestTimeout, keepAliveTimeout }, listener);
    this.#bounds = bounds;
    const speakHttp1 = this.listeners('connection');
    this.removeAllListeners('connection');
    this.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    const speakHttp2 = (socket: Socket) => {
      endWithPeer(socket, bounds);
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
      endWhenSlow(request, response, bounds, this.#untaken);
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

  /**
   * Ends who is idle. Sessions of HTTP/2 take no new streams (GOAWAY) and end after those that are under way; whoever
   * does not take an answer, and may be a stranger, does not keep us.
   */
  override closeIdleConnections(): void {
    super.closeIdleConnections();
    for (const session of this.#sessions) session.close();
    for (const [stream, lateFrom] of this.#untaken)
      if (performance.now() > lateFrom) endStream(stream, constants.NGHTTP2_CANCEL);
  }

  override closeAllConnections(): void {
    for (const session of this.#sessions) session.destroy();
    for (const socket of this.#sockets) socket.destroy();
  }

  #keep(session: ServerHttp2Session): void {
    this.#sessions.add(session);
    session.once('close', () => this.#sessions.delete(session));
    closeWhenIdle(session, this.#bounds);
  }
}

function headerBytes({ rawHeaders }: Http2ServerRequest): number {
  return rawHeaders.reduce((sum, text) => sum + text.length, 0);
}
