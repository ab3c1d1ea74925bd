import type { Socket } from 'node:net';
import {
  Http2ServerRequest,
  Http2ServerResponse,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  constants,
} from 'node:http2';
import type { ListenerBounds } from './listener-bounds.ts';

/** A request of HTTP/2, with what `node:http` has and `node:http2` has not. */
export class Http2Request extends Http2ServerRequest {
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

/** An answer of HTTP/2 that says when it is written to its end; `finish` waits until the client took it. */
export class Http2Response<
  Request extends Http2ServerRequest = Http2ServerRequest,
> extends Http2ServerResponse<Request> {
  override end(...given: []): this {
    super.end(...given);
    this.emit('written');
    return this;
  }
}

/** Ends a session on which nothing is under way. One that waits for a slow answer, or for a watch, is not idle. */
export function closeWhenIdle(session: ServerHttp2Session, { idleMs }: ListenerBounds): void {
  let streams = 0;
  session.on('stream', (stream) => {
    streams += 1;
    stream.once('close', () => (streams -= 1));
  });
  session.setTimeout(idleMs, () => {
    if (streams === 0) session.destroy();
  });
}

/**
 * A client that ended its side of the connection has left, with all that was under way: it could confirm nothing any
 * more. Where we ended ours, it has a short time to end its own.
 */
export function endWithPeer(socket: Socket, { unreadBodyMs }: ListenerBounds): void {
  socket.once('end', () => socket.destroy());
  socket.once('finish', () => {
    const late = setTimeout(() => socket.destroy(), unreadBodyMs);
    socket.once('close', () => clearTimeout(late));
  });
}

/** Streams whose answer is written to its end and not taken, with the moment from which a listener that closes ends them. */
export type UntakenAnswers = Map<ServerHttp2Stream, number>;

/**
 * What `requestTimeout` is for HTTP/1.1: the whole request must be there in time. How long its handler takes is the
 * handler's affair; but when the answer is written to its end the client must take it in time, and has a short time
 * for what of the request still comes. Else the stream would be under way for ever.
 */
export function endWhenSlow(
  { stream }: Http2ServerRequest,
  response: Http2ServerResponse,
  bounds: ListenerBounds,
  untaken: UntakenAnswers,
): void {
  const end = (code: number) => endStream(stream, code);
  let slow = setTimeout(end, bounds.requestMs, constants.NGHTTP2_CANCEL);
  stream.once('end', () => clearTimeout(slow));
  response.once('written', () => {
    if (stream.destroyed) return;
    const takesMs = (stream.writableLength / bounds.answerBytesPerSMin) * 1000;
    const late = setTimeout(end, bounds.unreadAnswerMs + takesMs, constants.NGHTTP2_CANCEL);
    untaken.set(stream, performance.now() + bounds.unreadBodyMs + takesMs);
    const forget = () => {
      clearTimeout(late);
      untaken.delete(stream);
    };
    stream.once('finish', forget).once('close', forget);
  });
  stream.once('finish', () => {
    clearTimeout(slow);
    // RFC 9113, 8.1: the rest of the request is not needed.
    slow = setTimeout(end, bounds.unreadBodyMs, constants.NGHTTP2_NO_ERROR);
    stream.resume();
  });
  stream.once('close', () => clearTimeout(slow));
}

export function endStream(stream: ServerHttp2Stream, code: number): void {
  stream.close(code);
  // By itself it would wait for somebody to read what came.
  stream.destroy();
}
