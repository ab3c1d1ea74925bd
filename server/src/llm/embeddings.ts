import { BodyFields, nameSet } from './body-fields.ts';
import type { RequestFacts } from './facts.ts';
import type { ScannedBody } from './json-scan.ts';
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
  // Their values are the provider's to judge; a wrong type is refused here, by name.
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
    thinkingTokens: 0,
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
    terms: [],
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

/** The usage of an answer with embeddings; null where it reports none, or none that is credible: nobody embeds nothing. */
export function readUsage(answer: unknown): Usage | null {
  const usage = isJsonObject(answer) ? answer['usage'] : null;
  if (!isJsonObject(usage)) return null;
  const input = countOf(usage['prompt_tokens'] ?? usage['total_tokens']);
  return input === 0 ? null : credible({ ...noUsage, input });
}
