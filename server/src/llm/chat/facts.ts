import { jsonDepthMax } from '../../base/limits.ts';
import { BodyFields, hasLongTtl, hasOnlyTypes, nameSet, wrongType } from '../body-fields.ts';
import type { JsonObject } from '../conversation.ts';
import { CostFacts, eachObject, type RequestFacts } from '../facts.ts';
import { type BodyEdit, type ScannedBody, readBoolean, scanObject } from '../json-scan.ts';
import { isJsonObject } from '../object-reader.ts';
import { refuseReferences, storedState } from '../stored-state.ts';
import { serviceTier } from '../terms.ts';

/** Content parts whose bytes bound their tokens. */
const textParts = nameSet('text refusal input_text output_text thinking reasoning');

/** Every `type` of a body that holds text and functions alone: parts, JSON Schema, settings. */
const textBodyTypes: ReadonlySet<string> = textParts.union(
  nameSet(`
    reasoning.text reasoning.summary reasoning.encrypted content
    object string number integer boolean array null
    function custom grammar allowed_tools json_schema json_object approximate ephemeral enabled disabled
  `),
);

/** Names under which a part may hold something that is not text, even where a lenient server lets it omit its type. */
const mediaNames = nameSet('image_url input_audio file audio_url video_url');

/** Besides those, where a message or a part may name what the provider stores. */
const lookedAtNames: ReadonlySet<string> = mediaNames.union(nameSet('audio file_id'));

/**
 * Settings that are priced by themselves or do more than one call's work, at OpenAI or at servers that speak as it does;
 * those by which servers (llama.cpp, vLLM, TGI) let a request overrule its own `max_tokens` and `n`, or how its text and
 * images become a prompt.
 */
const unboundedFields = nameSet(`
  prediction plugins preset search_parameters
  n_predict n_cmpl max_new_tokens best_of use_beam_search chat_template mm_processor_kwargs
`);

/** Of `extra_body.google`: how much it thinks is within the limit of the output. */
const boundedGoogle = nameSet('thinking_config thought_tag_marker safety_settings');

const outputLimitNames = ['max_completion_tokens', 'max_tokens'] as const;

const fieldNames = nameSet(`
  model models messages tools functions stream stream_options n max_tokens max_completion_tokens modalities
  service_tier web_search_options reasoning_effort extra_body
`).union(unboundedFields);

/**
 * Reads the facts of a Chat Completions request. Most bodies hold text and functions alone, as the scan has seen, and are
 * not parsed any further; of the others every content part and tool is looked at.
 * @throws PortcullisError invalid_argument, naming the field; for anything that refers to stored state too (decision 0011)
 */
export function readFacts(body: Buffer, scanned: ScannedBody): RequestFacts {
  const fields = new BodyFields(body, scanned, fieldNames);
  const costs = new CostFacts();
  const streamOptions = fields.json('stream_options') ?? null;
  if (streamOptions !== null && !isJsonObject(streamOptions)) throw wrongType('stream_options', 'an object');
  const includeUsage = streamOptions?.['include_usage'] ?? false;
  if (typeof includeUsage !== 'boolean') throw wrongType('stream_options.include_usage', 'true or false');
  const facts = {
    ...fields.model(),
    stream: fields.boolean('stream') ?? false,
    maxOutputTokens: maxOutputTokens(fields),
    thinkingTokens: 0,
    choices: fields.integer('n', 1) ?? 1,
    usageRequested: includeUsage,
    bodyBytes: body.length,
    messageCount: fields.length('messages'),
    toolCount: fields.length('tools') + fields.length('functions'),
    terms: serviceTier(fields.string('service_tier')),
    longCacheTtl: hasLongTtl(scanned),
    // Most models reason unless told not to, and most servers hide it.
    mayReason: fields.string('reasoning_effort') !== 'none',
  };
  readSettings(fields, costs);
  if (!hasOnlyTypes(scanned, textBodyTypes) || scanned.sightings.keys().some((name) => lookedAtNames.has(name))) {
    const request = JSON.parse(body.toString()) as JsonObject;
    eachObject(request['messages'], 'messages', (message, path) => readMessage(message, path, costs));
    eachObject(request['tools'], 'tools', (tool, path) => readTool(tool, path, costs));
  }
  const { builtInTools, media, serverTools, otherModels, unbounded } = costs;
  return { ...facts, builtInTools, media, serverTools, otherModels, unbounded };
}

/** Servers differ in which of the two they obey, and some know one alone: the larger bounds them all. */
function maxOutputTokens(fields: BodyFields): number | null {
  // Some take 0 for no limit.
  const limits = outputLimitNames.map((name) => fields.integer(name, 1));
  const given = limits.filter((limit) => limit !== null);
  return given.length > 0 ? Math.max(...given) : null;
}

function readSettings(fields: BodyFields, costs: CostFacts): void {
  if (fields.has('web_search_options')) costs.serverTools.push({ type: 'web_search', maxUses: null });
  const modalities = fields.json('modalities') ?? [];
  if (!Array.isArray(modalities)) throw wrongType('modalities', 'a list');
  if (modalities.some((modality) => modality !== 'text')) costs.addUnbounded('modalities');
  for (const name of unboundedFields) if (fields.has(name)) costs.addUnbounded(name);
  readGoogle(fields, costs);
  if (fields.length('models') > 0) {
    costs.addUnbounded('models');
    for (const model of fields.json('models') as unknown[]) costs.addOtherModel(model, 'models');
  }
}

/** What Gemini has besides OpenAI's fields: among it prompts that it stores, and searches. */
function readGoogle(fields: BodyFields, costs: CostFacts): void {
  const extra = fields.json('extra_body') ?? {};
  if (!isJsonObject(extra)) throw wrongType('extra_body', 'an object');
  for (const [house, settings] of Object.entries(extra)) {
    if (isJsonObject(settings) && (settings['cached_content'] ?? null) !== null) {
      throw storedState(`extra_body.${house}.cached_content`, 'send the content itself');
    }
    const names = house === 'google' && isJsonObject(settings) ? Object.keys(settings) : [''];
    for (const name of names) if (!boundedGoogle.has(name)) costs.addUnbounded(`extra_body.${house}.${name}`);
  }
}

function readMessage(message: JsonObject, path: string, costs: CostFacts): void {
  const { content, audio } = message;
  // The name of an earlier answer.
  if ((audio ?? null) !== null) throw storedState(`${path}.audio`, 'send what was said as text');
  if (isJsonObject(content)) readPart(content, `${path}.content`, costs);
  else eachObject(content, `${path}.content`, (part, at) => readPart(part, at, costs));
}

function readPart(part: JsonObject, path: string, costs: CostFacts): void {
  refuseReferences(part, path);
  const type = part['type'] ?? 'text';
  if (typeof type !== 'string' || !(textParts.has(type) || mediaNames.has(type))) costs.addUnbounded(`${path}.type`);
  for (const name of mediaNames) {
    if (part[name] === undefined) continue;
    if (name === 'image_url') readImage(part[name], costs);
    else if (name === 'file') readFile(part[name], `${path}.file`, costs);
    else costs.addUnbounded(`${path}.${name}`);
  }
}

function readImage(image: unknown, costs: CostFacts): void {
  const url = isJsonObject(image) ? image['url'] : image;
  costs.addImage(typeof url === 'string' && url.startsWith('data:') ? url : null);
}

function readFile(file: unknown, path: string, costs: CostFacts): void {
  const data = isJsonObject(file) ? file['file_data'] : null;
  if (typeof data !== 'string') costs.addUnbounded(path);
  else if (/^https?:/i.test(data)) costs.addUnbounded(`${path}.file_data`);
  else costs.addDocument(data);
}

function readTool(tool: JsonObject, path: string, costs: CostFacts): void {
  const type = tool['type'] ?? 'function';
  if (typeof type !== 'string') throw wrongType(`${path}.type`, 'a string');
  if (type === 'function' || type === 'custom') return;
  refuseReferences(tool, path);
  costs.serverTools.push({ type, maxUses: null });
}

/**
 * The edit that makes a stream end with its usage, without which budgets would have to be estimated; null where the
 * request asks for it already.
 */
export function usageRequestEdit(body: Buffer, scanned: ScannedBody): BodyEdit | null {
  const asked = '"include_usage":true';
  const options = scanned.members.get('stream_options');
  if (!options) {
    const at = body.lastIndexOf('}');
    const comma = scanned.members.size > 0 ? ',' : '';
    return { start: at, end: at, json: `${comma}"stream_options":{${asked}}` };
  }
  const { start, end, kind, count } = options;
  if (kind !== 'object') return { start, end, json: `{${asked}}` };
  const include = scanObject(body.subarray(start, end), { depthMax: jsonDepthMax }).members.get('include_usage');
  if (!include) return { start: start + 1, end: start + 1, json: count > 0 ? `${asked},` : asked };
  const range = { start: start + include.start, end: start + include.end };
  return include.kind === 'boolean' && readBoolean(body, range) ? null : { ...range, json: 'true' };
}
