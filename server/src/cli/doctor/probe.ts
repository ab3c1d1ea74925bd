import { type IncomingHttpHeaders, type IncomingMessage, request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { once } from 'node:events';
import { text as readText } from 'node:stream/consumers';
import { TLSSocket } from 'node:tls';

/** A request as an attacker or a clumsy client would send it. */
export interface ProbeRequest {
  readonly method?: string;
  /** Path and query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface ProbeAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** When the server's certificate ends; null without TLS. */
  readonly certificateEnds: Date | null;
}

const answerMs = 15_000;

/**
 * Sends one request on a connection of its own. Node's own client, since it sends what a proper one refuses to: a
 * foreign Host, or a Content-Length that the body does not keep.
 */
export async function probe(baseUrl: string, request: ProbeRequest): Promise<ProbeAnswer> {
  const message = await open(baseUrl, request);
  const { socket } = message;
  const ends = socket instanceof TLSSocket ? new Date(socket.getPeerCertificate().valid_to) : null;
  const text = await readText(message);
  return { status: message.statusCode ?? 0, headers: message.headers, text, certificateEnds: ends };
}

/** An answer that streams. */
export interface Stream {
  readonly status: number;
  /** What came first. */
  readonly first: string;
  /** Resolves with what came after it, however the stream ended. */
  readonly rest: Promise<string>;
  close(): void;
}

/** Opens a stream and waits for its first bytes. */
export async function openStream(baseUrl: string, request: ProbeRequest): Promise<Stream> {
  const message = await open(baseUrl, request);
  message.setEncoding('utf8');
  const chunks: string[] = [];
  message.on('data', (chunk: string) => chunks.push(chunk));
  const ended = new Promise<void>((resolve) => {
    message.once('close', resolve);
    message.once('error', () => resolve());
  });
  await Promise.race([once(message, 'data'), ended]);
  const first = chunks.splice(0).join('');
  const rest = ended.then(() => chunks.join(''));
  return { status: message.statusCode ?? 0, first, rest, close: () => message.destroy() };
}

function open(baseUrl: string, { method = 'GET', path, headers = {}, body }: ProbeRequest): Promise<IncomingMessage> {
  const url = new URL(baseUrl + path);
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
  return new Promise((resolve, reject) => {
    const request = send(url, {
      method,
      agent: false,
      headers: { ...length, ...headers },
      signal: AbortSignal.timeout(answerMs),
    });
    request.once('response', resolve).once('error', reject);
    request.end(body);
  });
}
