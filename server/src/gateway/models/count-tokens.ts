import { countTokens } from 'gpt-tokenizer/encoding/o200k_base';
import type { Call } from './call.ts';
import { end } from './client-writer.ts';

// The tokenizer takes time quadratic in the length of an unbroken run of letters, and the text is a stranger's. Cutting
// it costs a token at most at each cut.
const sliceChars = 500;

// Text that looks like a control token is text.
const asText = { disallowedSpecial: new Set<string>() };

/**
 * Answers count_tokens here, for providers that do not: every string of the request through one public tokenizer. No
 * tokenizer but the model's own is exact; this one tells a client how full a context is.
 */
export function countLocally(call: Call, body: Buffer): void {
  const answer = JSON.stringify({ input_tokens: tokensIn(JSON.parse(body.toString())) });
  call.exchange.response.writeHead(200, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(answer),
  });
  end(call.exchange, answer);
}

function tokensIn(value: unknown): number {
  if (typeof value === 'string') return tokensInText(value);
  if (value === null || typeof value !== 'object') return 0;
  return Object.values(value).reduce((sum: number, item: unknown) => sum + tokensIn(item), 0);
}

function tokensInText(text: string): number {
  let tokens = 0;
  for (let at = 0; at < text.length; at += sliceChars) tokens += countTokens(text.slice(at, at + sliceChars), asText);
  return tokens;
}
