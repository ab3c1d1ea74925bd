import { anthropic } from './anthropic.ts';
import { type Chunk, compose, countInput, type Tokens } from './answer.ts';
import { chat } from './chat.ts';
import { isRefusal, type MockDialect } from './dialect.ts';
import { embeddings } from './embeddings.ts';
import { responses } from './responses.ts';
import type { Script } from './script.ts';

/** What goes out on a connection, before the script's faults are applied to it. */
export interface Performance {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly chunks: readonly Chunk[];
  /** A stream's headers go out at once; those of a whole body with its first byte. */
  readonly stream: boolean;
  /** What the provider charges for all of it; null for an answer that costs nothing. */
  readonly charge: Tokens | null;
}

export interface Request {
  /** Numbers the requests of this provider: ids in the answer derive from it. */
  readonly sequence: number;
  /** Method and path, e.g. `POST /v1/messages`. */
  readonly operation: string;
  readonly anthropicVersion: boolean;
  readonly body: Buffer;
}

export interface Decision {
  readonly model: string | null;
  readonly script: Script;
  readonly performance: Performance;
}

const modelNames = ['mock', 'mock-tokens-100', 'mock-tools'];

const operations: Record<string, MockDialect> = {
  'POST /v1/messages': anthropic,
  'POST /v1/messages/count_tokens': anthropic,
  'POST /v1/chat/completions': chat,
  'POST /v1/responses': responses,
  'POST /v1/embeddings': chat,
};

/** Azure's and Google's addresses of the same endpoints. */
const elsewhere = /(?<=^[A-Z]+ )\/(?:openai\/v1|v1beta\/openai)(?=\/)/;

/** Decides what is said to a request. `scriptFor` finds the script of a model, null when there is no such model. */
export function decide(request: Request, scriptFor: (model: string) => Script | null): Decision {
  const { body, sequence } = request;
  const operation = request.operation.replace(elsewhere, '/v1');
  const dialect = operations[operation] ?? (request.anthropicVersion ? anthropic : chat);
  const requestId = `req_mock_${sequence}`;
  const json = (status: number, text: string, charge: Tokens | null = null): Performance => ({
    status,
    headers: {
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(text)),
      ...dialect.headers(requestId),
    },
    chunks: halves(text, charge?.output ?? 0),
    stream: false,
    charge,
  });
  const refuse = (status: number, message: string) => json(status, dialect.error(status, message, requestId));
  const unscripted = (performance: Performance) => ({ model: null, script: {}, performance });

  if (operation === 'GET /v1/models') return unscripted(json(200, dialect.models(modelNames)));
  if (operations[operation] === undefined) return unscripted(refuse(404, `Not found: ${operation}`));
  const fields = parseObject(body);
  if (fields === null) return unscripted(refuse(400, 'The request body is not a JSON object.'));
  const { model } = fields;
  if (typeof model !== 'string') return unscripted(refuse(400, 'model: Field required'));
  const script = scriptFor(model);
  if (script === null) return { ...unscripted(refuse(404, `model: ${model}`)), model };
  return { model, script, performance: scripted() };

  function scripted(): Performance {
    const { reply, error, headers } = script ?? {};
    if (reply !== undefined) {
      const chunks = reply.chunks.map((text) => ({ text, tokens: 0 }));
      return { status: reply.status, headers: { ...reply.headers, ...headers }, chunks, stream: true, charge: null };
    }
    const performance = error === undefined ? answered() : refuse(error, `The mock was told to answer ${error}.`);
    return { ...performance, headers: { ...performance.headers, ...headers } };
  }

  function answered(): Performance {
    if (operation.endsWith('/count_tokens')) {
      return json(200, JSON.stringify({ input_tokens: script?.usage?.input ?? countInput(body.length) }));
    }
    if (operation.endsWith('/embeddings')) {
      const { text, charge } = embeddings(fields ?? {}, script ?? {}, body.length);
      return json(200, text, charge);
    }
    const asked = dialect.read(fields ?? {});
    if (isRefusal(asked)) return refuse(asked.status, asked.message);
    const answer = compose(asked, script ?? {}, sequence, body.length);
    if (!asked.stream) return json(200, dialect.whole(answer), answer.tokens);
    return {
      status: 200,
      headers: {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-cache',
        ...dialect.headers(requestId),
      },
      chunks: dialect.events(answer, asked),
      stream: true,
      charge: answer.tokens,
    };
  }
}

function parseObject(body: Buffer): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : null;
  } catch {
    return null;
  }
}

/** Two chunks, so that a fault can strike inside a whole body; it was generated, and is charged, before the first. */
function halves(text: string, tokens: number): Chunk[] {
  const middle = text.length >> 1;
  return [
    { text: text.slice(0, middle), tokens },
    { text: text.slice(middle), tokens: 0 },
  ];
}
