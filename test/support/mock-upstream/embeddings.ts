import type { Script } from './script.ts';
import { countInput, type Tokens } from './answer.ts';

/** OpenAI embeddings. Source: platform.openai.com/docs/api-reference/embeddings. Vectors are short: [index, 1, 0, 0 …]. */
export function embeddings(
  body: Readonly<Record<string, unknown>>,
  script: Script,
  bodyBytes: number,
): { readonly text: string; readonly charge: Tokens } {
  const { input, dimensions = 4, encoding_format: format = 'float', model } = body;
  const isList = Array.isArray(input) && typeof input[0] !== 'number';
  const tokens = script.usage?.input ?? countInput(bodyBytes);
  const data = Array.from({ length: isList ? input.length : 1 }, (_, index) => {
    const vector = Array.from({ length: Number(dimensions) }, (_, i) => [index, 1][i] ?? 0);
    return { object: 'embedding', index, embedding: format === 'base64' ? base64(vector) : vector };
  });
  const usage = { prompt_tokens: tokens, total_tokens: tokens };
  return {
    text: JSON.stringify({ object: 'list', data, model, usage }),
    charge: { input: tokens, output: 0, cacheRead: 0, cacheWrite5m: 0, cacheWrite1h: 0, reasoning: 0 },
  };
}

function base64(vector: readonly number[]): string {
  return Buffer.from(Float32Array.from(vector).buffer).toString('base64');
}
