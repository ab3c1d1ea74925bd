import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createdAtS } from './dialect.ts';

/**
 * The provider for benchmarks: fixed bytes, no JSON work, no record. A stream sends as many tokens as `max_tokens` says,
 * 50 a second; each token is `@` and the monotonic clock in microseconds, which every process of the machine shares,
 * so that the far end can tell how long the event was under way.
 */
export function createCannedServer(): Server {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => answer(request, response, chunks));
  });
  server.keepAliveTimeout = 120_000;
  server.requestTimeout = 0;
  return server;
}

const tokenMs = 20;
const streamHeaders = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' };
const modelFields = '"model":"mock"';
const chatFields = `"id":"chatcmpl-mock","created":${createdAtS},${modelFields}`;
const chatUsage = '"usage":{"prompt_tokens":300,"completion_tokens":60,"total_tokens":360}';
const anthropicUsage =
  '"usage":{"input_tokens":300,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":60}';
const text = 'A canned answer of the mock provider. '.repeat(8).trim();

interface Canned {
  readonly whole: Buffer;
  readonly before: string;
  readonly token: (token: string) => string;
  readonly after: string;
}

const messages: Canned = {
  whole: Buffer.from(
    `{"id":"msg_mock","type":"message","role":"assistant",${modelFields},"content":[{"type":"text","text":"${text}"}],` +
      `"stop_reason":"end_turn","stop_sequence":null,${anthropicUsage}}`,
  ),
  before:
    `event: message_start\ndata: {"type":"message_start","message":{"id":"msg_mock","type":"message","role":"assistant",` +
    `${modelFields},"content":[],"stop_reason":null,"stop_sequence":null,${anthropicUsage}}}\n\n` +
    'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n',
  token: (token) =>
    `event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"${token}"}}\n\n`,
  after:
    'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n' +
    `event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":60}}\n\n` +
    'event: message_stop\ndata: {"type":"message_stop"}\n\n',
};

const chatChunk = (choices: string, rest = '') =>
  `data: {${chatFields},"object":"chat.completion.chunk","choices":[${choices}]${rest}}\n\n`;

const completions: Canned = {
  whole: Buffer.from(
    `{${chatFields},"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"${text}",` +
      `"refusal":null},"logprobs":null,"finish_reason":"stop"}],${chatUsage}}`,
  ),
  before: chatChunk('{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}'),
  token: (token) => chatChunk(`{"index":0,"delta":{"content":"${token}"},"finish_reason":null}`),
  after:
    chatChunk('{"index":0,"delta":{},"finish_reason":"stop"}') + chatChunk('', `,${chatUsage}`) + 'data: [DONE]\n\n',
};

function answer(request: IncomingMessage, response: ServerResponse, chunks: Buffer[]): void {
  const canned = request.url?.startsWith('/v1/messages') ? messages : completions;
  const body = chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks);
  if (body.includes('"stream":true')) {
    const limit = /"max_(?:completion_)?tokens":(\d+)/u.exec(body.toString('latin1'));
    stream(response, canned, Number(limit?.[1] ?? 60));
    return;
  }
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': canned.whole.length });
  response.end(canned.whole);
}

function stream(response: ServerResponse, canned: Canned, tokens: number): void {
  response.writeHead(200, streamHeaders);
  response.write(canned.before);
  const startedMs = performance.now();
  let sent = 0;
  const next = () => {
    if (response.destroyed) return;
    if (sent === tokens) {
      response.end(canned.after);
      return;
    }
    response.write(canned.token(`@${process.hrtime.bigint() / 1000n} `));
    sent += 1;
    // Due times are counted from the start, so that late timers do not slow the stream down.
    setTimeout(next, startedMs + sent * tokenMs - performance.now());
  };
  next();
}
