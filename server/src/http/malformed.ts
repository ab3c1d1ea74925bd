import { STATUS_CODES, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { newAccessRecord } from '../base/access-record.ts';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { headerBytesMax, headerTimeoutMs, requestTimeoutMs } from '../base/limits.ts';
import { writeAccessLine } from './access-log.ts';
import type { ObserveOptions } from './observe.ts';
import { noteRefusal, problemBody } from './refusal.ts';

/**
 * Answers what never became a request, because Node refused it while it was read: too large, too slow, not HTTP. It gets
 * a request id, an access line and a count like any other.
 */
export class MalformedRequests {
  readonly #options: ObserveOptions;
  /** The answers under way, by connection: nothing else may be written into one that has begun. */
  readonly #answers = new WeakMap<Socket, ServerResponse>();

  constructor(options: ObserveOptions) {
    this.#options = options;
  }

  /** To be told of each request that was understood. */
  noteAnswer(socket: Socket, response: ServerResponse): void {
    this.#answers.set(socket, response);
    response.once('close', () => this.#answers.delete(socket));
  }

  /** The listener to `clientError`. */
  refuse(failure: NodeJS.ErrnoException, socket: Socket): void {
    const answer = this.#answers.get(socket);
    if (failure.code === 'ECONNRESET' || !socket.writable || answer?.headersSent) {
      socket.destroy();
      return;
    }
    const { status, message } = reasonOf(failure.code ?? '');
    const error = new PortcullisError('invalid_argument', message, { internal: failure.code ?? failure.message });
    const requestId = String(answer?.getHeader('x-request-id') ?? newId('req'));
    const body = JSON.stringify(problemBody(error, requestId, status));
    socket.end(
      [
        `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
        'content-type: application/problem+json',
        `content-length: ${Buffer.byteLength(body)}`,
        `x-request-id: ${requestId}`,
        'x-should-retry: false',
        'connection: close',
        '',
        body,
      ].join('\r\n'),
      () => socket.destroy(),
    );
    // A request whose body is at fault was begun, and has its line.
    if (!answer) this.#write(socket, requestId, status, error);
  }

  #write(socket: Socket, requestId: string, status: number, error: PortcullisError): void {
    const { log, metrics, clientAddress } = this.#options;
    const route = 'malformed';
    const method = 'unknown';
    const record = newAccessRecord(requestId);
    noteRefusal(record, error);
    metrics.httpRequests.inc({ method, route, status });
    const address = clientAddress(socket.remoteAddress ?? '', undefined);
    writeAccessLine(log, { record, method, route, status, latencyMs: 0, address, userAgent: '' });
  }
}

function reasonOf(code: string): { status: number; message: string } {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return { status: 431, message: `The headers are larger than ${headerBytesMax} bytes.` };
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return {
        status: 408,
        message: `The request was not there in time: headers have ${headerTimeoutMs / 1000} s, a body ${requestTimeoutMs / 1000} s.`,
      };
    default:
      return { status: 400, message: 'This is not an HTTP request.' };
  }
}
