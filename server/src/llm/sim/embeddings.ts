import { createHash } from 'node:crypto';
import { PortcullisError } from '../../base/errors.ts';
import { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import { errorOfStatus } from '../provider-error.ts';
import { tokensOf } from './reply.ts';
import { parseScript } from './script.ts';
import type { Simulation } from './simulate.ts';

const dimensionsUsual = 1536;
const dimensionsMax = 4096;
/** As many numbers as the largest answer may have follow from both. */
const inputsMax = 256;

/**
 * The embeddings of the simulated model: for the same input the same unit vector, which says nothing about its meaning.
 * The answer is marked by the member `simulated`. Of the script in the model's name, latency and errors are obeyed.
 */
export function simulateEmbedding(body: unknown): Simulation {
  try {
    const request = new ObjectReader(body, '', new Losses('allow'));
    const model = request.string('model');
    const { latencyMs: afterMs, errorStatus } = parseScript(model);
    if (errorStatus !== null) {
      return {
        kind: 'error',
        afterMs,
        ...errorOfStatus('chat', errorStatus, "[simulated] The model's name asks for this error."),
      };
    }
    const inputs = readInputs(request);
    const size = request.optionalPositiveInteger('dimensions') ?? dimensionsUsual;
    if (size > dimensionsMax) throw request.malformed('dimensions', `at most ${dimensionsMax}`);
    const format = request.optionalString('encoding_format') ?? 'float';
    if (format !== 'float' && format !== 'base64') throw request.malformed('encoding_format', '"float" or "base64"');
    const tokens = inputs.reduce((sum, input) => sum + (typeof input === 'string' ? tokensOf(input) : input.length), 0);
    const answer = {
      object: 'list',
      data: inputs.map((input, index) => {
        const vector = unitVector(JSON.stringify(input), size);
        return { object: 'embedding', index, embedding: format === 'float' ? [...vector] : base64(vector) };
      }),
      model,
      simulated: true,
      usage: { prompt_tokens: tokens, total_tokens: tokens },
    };
    return { kind: 'answer', afterMs, body: JSON.stringify(answer), dropped: [] };
  } catch (thrown) {
    const { status, message } = PortcullisError.from(thrown);
    return { kind: 'error', afterMs: 0, ...errorOfStatus('chat', status, message) };
  }
}

/** Texts, or lists of tokens: one of them, or a list. */
function readInputs(request: ObjectReader): readonly (string | readonly number[])[] {
  const input = request.any('input');
  const list = Array.isArray(input) && !isTokens(input) ? (input as unknown[]) : [input];
  if (list.length > inputsMax) throw request.malformed('input', `a list of ${inputsMax} at most`);
  return list.map((each) => {
    if ((typeof each === 'string' && each !== '') || isTokens(each)) return each;
    throw request.malformed('input', 'a text or a list of tokens, or a list of such, none of them empty');
  });
}

function isTokens(json: unknown): json is readonly number[] {
  return Array.isArray(json) && json.length > 0 && json.every((token) => Number.isSafeInteger(token) && token >= 0);
}

/** 32-bit floats of length 1, from a generator (mulberry32) that starts at the digest of the text. */
function unitVector(text: string, size: number): Float32Array {
  let state = createHash('sha256').update(text).digest().readUInt32LE();
  const vector = new Float32Array(size).map(() => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 31 - 1;
  });
  const length = Math.hypot(...vector);
  return vector.map((value) => value / length);
}

/** Little-endian floats, as OpenAI writes them and its SDKs ask for by default. */
function base64(vector: Float32Array): string {
  const bytes = Buffer.alloc(vector.length * 4);
  for (const [i, value] of vector.entries()) bytes.writeFloatLE(value, i * 4);
  return bytes.toString('base64');
}
