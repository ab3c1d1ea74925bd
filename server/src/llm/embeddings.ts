import { jsonDepthMax } from '../base/limits.ts';
import { BodyFields, nameSet } from './body-fields.ts';
import type { RequestFacts } from './facts.ts';
import { type ScannedBody, scanObject } from './json-scan.ts';
import { backslash, openBrace, quote } from './json-text.ts';
import { isJsonObject } from './object-reader.ts';
import { countOf, credible } from './usage-watcher.ts';
import { type Usage, noUsage } from './usage.ts';

/** What some servers (vLLM, Jina) embed besides `input`, and no byte of the body bounds: images, and addresses of images. */
const unboundedFields = nameSet('messages images image');

const fieldNames = nameSet('model input dimensions encoding_format user').union(unboundedFields);

/**
 * Reads the facts of a request for embeddings (OpenAI's shape). Input is text, tokens, or a list of either; a list of
 * anything else is of some server's own, and its cost has no bound.
 * @throws PortcullisError invalid_argument, naming the field
 */
export function readFacts(body: Buffer, scanned: ScannedBody): RequestFacts {
  const fields = new BodyFields(body, scanned, fieldNames);
  const named = fields.model();
  // Whatever else these hold is the provider's to judge; of a wrong type another parser could make something else.
  fields.integer('dimensions', 1);
  fields.string('encoding_format');
  fields.string('user');
  const input = scanned.members.get('input');
  const unbounded = [...unboundedFields].filter((name) => fields.has(name));
  if (input?.kind === 'object' || (input?.kind === 'array' && hasObject(body.subarray(input.start, input.end))))
    unbounded.push('input');
  return {
    ...named,
    otherModels: [],
    stream: false,
    // Nothing is generated.
    maxOutputTokens: 0,
    choices: 1,
    usageRequested: false,
    bodyBytes: body.length,
    // Models add a few tokens of their own to each text.
    messageCount: input?.kind === 'array' ? input.count : 1,
    toolCount: 0,
    builtInTools: 0,
    media: { images: 0, documents: 0, inlineBytes: 0 },
    serverTools: [],
    unbounded,
    longCacheTtl: false,
    mayReason: false,
  };
}

/** Whether an object stands in this valid JSON, outside of its strings. */
function hasObject(json: Buffer): boolean {
  for (let i = 0; i < json.length; i++) {
    if (json[i] === openBrace) return true;
    if (json[i] !== quote) continue;
    for (i++; json[i] !== quote; i++) if (json[i] === backslash) i++;
  }
  return false;
}

/**
 * The usage that an answer with embeddings reports, read without parsing its vectors, which may be millions of numbers.
 * Null where it reports none, or none that is credible: nobody embeds nothing.
 * @throws PortcullisError invalid_argument when the answer is no JSON object
 */
export function readUsage(answer: Buffer): Usage | null {
  const member = scanObject(answer, { depthMax: jsonDepthMax }).members.get('usage');
  const usage = member && (JSON.parse(answer.toString('utf8', member.start, member.end)) as unknown);
  if (!isJsonObject(usage)) return null;
  const input = countOf(usage['prompt_tokens'] ?? usage['total_tokens']);
  return input === 0 ? null : credible({ ...noUsage, input });
}
