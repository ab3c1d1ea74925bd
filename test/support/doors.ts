import { type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { vi } from 'vitest';

/** A place where the gate asks who is there. */
export interface Door {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** What a refusal says, in the shape of this door. */
  readonly sentence: (body: Body) => unknown;
  readonly code: (body: Body) => unknown;
}

/** As loose as JSON is. */
// oxlint-disable-next-line typescript/no-explicit-any
export type Body = any;

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly json: Body;
}

const json = { 'content-type': 'application/json' };
const hello = { model: 'sim', max_tokens: 20, messages: [{ role: 'user', content: 'Hello' }] };

export const messages: Door = {
  name: 'POST /v1/messages',
  method: 'POST',
  path: '/v1/messages',
  headers: { ...json, 'anthropic-version': '2023-06-01' },
  body: JSON.stringify(hello),
  sentence: (body) => body.error.message,
  code: (body) => body.error.details.error_code,
};

export const chat: Door = {
  name: 'POST /v1/chat/completions',
  method: 'POST',
  path: '/v1/chat/completions',
  headers: json,
  body: JSON.stringify(hello),
  sentence: (body) => body.error.message,
  code: (body) => body.error.code,
};

/** Needs keys:read. */
export const control: Door = {
  name: 'a control method',
  method: 'POST',
  path: '/portcullis.v1.AgentService/ListAgents',
  headers: json,
  body: '{}',
  sentence: (body) => body.message,
  // What was refused before the door was found is a problem.
  code: (body) => body.details?.[0].debug.code ?? body.code,
};

export const metrics: Door = {
  name: 'GET /metrics',
  method: 'GET',
  path: '/metrics',
  headers: {},
  sentence: (body) => body.detail,
  code: (body) => body.code,
};

export const doors = [messages, chat, control, metrics] as const;

/** What opens every door. */
export const everyScope = ['models:invoke', 'runs:write', 'keys:read', 'metrics:read'];

export interface Knock {
  readonly method?: string;
  readonly path: string;
  /** Undefined leaves one out. */
  readonly headers?: Readonly<Record<string, string | string[] | undefined>>;
  readonly body?: string | Buffer;
}

/** Sends one request on a connection of its own, with Node's own client: it sends what others refuse to. */
export function send(baseUrl: string, { method = 'GET', path, headers = {}, body }: Knock): Promise<Answer> {
  const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
  const given = Object.entries({ ...length, ...headers }).filter(([, value]) => value !== undefined);
  return new Promise((resolve, reject) => {
    const sent = request(new URL(baseUrl), {
      method,
      path,
      agent: false,
      headers: Object.fromEntries(given),
    });
    sent.once('error', reject);
    sent.once('response', (response) => {
      const { statusCode = 0 } = response;
      text(response).then((read) => {
        resolve({ status: statusCode, headers: response.headers, text: read, json: parse(read) });
      }, reject);
    });
    sent.end(body);
  });
}

/** Comes to a door with these headers, as it should be come to else. */
export function knock(baseUrl: string, door: Door, headers: Knock['headers'] = {}): Promise<Answer> {
  const { method, path, body } = door;
  return send(baseUrl, {
    method,
    path,
    headers: { ...door.headers, ...headers },
    ...(body === undefined ? {} : { body }),
  });
}

/** Writes these very bytes, one after the other, and gives back whatever comes until the other side closes. */
export function talk(baseUrl: string, ...parts: readonly (string | Buffer)[]): Promise<string> {
  const { hostname, port } = new URL(baseUrl);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname);
    let heard = '';
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => (heard += chunk));
    // A server that refuses may close before it has read everything.
    socket.on('error', () => undefined);
    socket.once('close', () => resolve(heard));
    for (const part of parts) socket.write(part);
  });
}

export function bearer(key: string): { authorization: string } {
  return { authorization: `Bearer ${key}` };
}

let addresses = 0;
/** An address that nobody else comes from: for a gate with TRUSTED_PROXIES=127.0.0.1, whose limits for strangers are per address. */
export function fromNewAddress(): { 'x-forwarded-for': string } {
  addresses++;
  return { 'x-forwarded-for': `198.18.${addresses >> 8}.${addresses & 255}` };
}

function parse(read: string): Body {
  try {
    return JSON.parse(read);
  } catch {
    return null;
  }
}

/** Looks again until `holds` does not throw, for `patienceMs` at most. */
export function eventually<T>(holds: () => T | Promise<T>, patienceMs = 15_000): Promise<T> {
  return vi.waitFor(holds, { timeout: patienceMs, interval: 50 });
}
