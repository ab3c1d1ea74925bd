import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Call } from './call.ts';
import { end } from './client-writer.ts';
import { requireParsable } from './prepare.ts';
import { requestIdHeader } from './wire.ts';

// The tokenizer takes time quadratic in the length of an unbroken run of letters, and the text is a stranger's. Cutting
// it costs a token at most at each cut.
const sliceChars = 500;
// A body may be large: other calls get their turn in between.
const slicesPerTurn = 50;

// Text that looks like a control token is text.
const asText = { disallowedSpecial: new Set<string>() };

/**
 * Answers count_tokens here, for providers that do not: every string of the request through one public tokenizer. No
 * tokenizer but the model's own is exact; this one tells a client how full a context is.
 * @throws PortcullisError payload_too_large, or the reason of the abort, when the call must end
 */
export async function countLocally(call: Call, body: Buffer): Promise<void> {
  requireParsable(body);
  // Its tables are large, and most gates never need them.
  const { countTokens } = await import('gpt-tokenizer/encoding/o200k_base');
  let tokens = 0;
  let slices = 0;
  for (const text of strings(JSON.parse(body.toString()))) {
    for (let at = 0; at < text.length; at += sliceChars) {
      tokens += countTokens(text.slice(at, at + sliceChars), asText);
      if (++slices % slicesPerTurn === 0) await nextTurn(undefined, { signal: call.signal }).catch(() => undefined);
      call.signal.throwIfAborted();
    }
  }
  const answer = JSON.stringify({ input_tokens: tokens });
  call.note({ outcome: 'success' });
  const { endpoint, exchange } = call;
  exchange.response.writeHead(200, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(answer),
    ...requestIdHeader(endpoint.dialect, exchange.requestId),
  });
  end(exchange, answer);
}

function* strings(value: unknown): Iterable<string> {
  if (typeof value === 'string') yield value;
  else if (typeof value === 'object' && value !== null) for (const item of Object.values(value)) yield* strings(item);
}
