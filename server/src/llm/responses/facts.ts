import { BodyFields, hasLongTtl, nameSet, wrongType } from '../body-fields.ts';
import type { JsonObject } from '../conversation.ts';
import { CostFacts, eachObject, type RequestFacts } from '../facts.ts';
import type { BodyEdit, Member, ScannedBody } from '../json-scan.ts';
import { isJsonObject } from '../object-reader.ts';
import { refuseReferences, storedState } from '../stored-state.ts';
import { serviceTier } from '../terms.ts';

/** Parts whose bytes bound their tokens. */
const textParts = nameSet('input_text output_text refusal summary_text reasoning_text');

/** Items whose bytes bound their tokens; what some of them hold (content, output, tools) is looked at too. */
const textItems = nameSet(`
  message reasoning function_call function_call_output custom_tool_call custom_tool_call_output
  local_shell_call local_shell_call_output shell_call shell_call_output apply_patch_call apply_patch_call_output
  tool_search_call tool_search_output additional_tools
  mcp_list_tools mcp_approval_request mcp_approval_response mcp_call computer_call computer_call_output
`);

/** Tools whose definitions are the provider's own and that run at the client. */
const clientTools = nameSet('local_shell apply_patch computer computer_use_preview tool_search');

/** What tells of an item only which it is. */
const labelNames = nameSet('id type status role phase call_id namespace name');

const fieldNames = nameSet(`
  model input tools stream max_output_tokens service_tier reasoning instructions moderation context_management
  store background previous_response_id conversation prompt prompt_cache_options
`);

/**
 * Reads the facts of a request for a response. The input is always parsed: each of its items could be the mere name of one
 * that the provider stores.
 * @throws PortcullisError invalid_argument, naming the field; for anything that refers to stored state too (decision 0011)
 */
export function readFacts(body: Buffer, scanned: ScannedBody): RequestFacts {
  const fields = new BodyFields(body, scanned, fieldNames);
  const costs = new CostFacts();
  refuseStoredState(fields);
  const input = parseInput(body, scanned);
  const tools = parseMember(body, scanned, 'tools');
  eachObject(input, 'input', (item, path) => readItem(item, path, costs));
  const nested = readTools(tools, 'tools', costs);
  readSettings(fields, costs);
  const { builtInTools, media, serverTools, otherModels, unbounded } = costs;
  return {
    ...fields.model(),
    stream: fields.boolean('stream') ?? false,
    maxOutputTokens: fields.integer('max_output_tokens', 1),
    thinkingTokens: 0,
    choices: 1,
    usageRequested: true,
    bodyBytes: body.length,
    messageCount: Array.isArray(input) ? input.length : 1,
    toolCount: fields.length('tools') + nested,
    terms: serviceTier(fields.string('service_tier')),
    longCacheTtl: hasLongTtl(scanned),
    mayReason: mayReason(fields),
    builtInTools,
    media,
    serverTools,
    otherModels,
    unbounded,
  };
}

function parseMember(body: Buffer, { members }: ScannedBody, name: string): unknown {
  const member = members.get(name);
  return member && (JSON.parse(body.toString('utf8', member.start, member.end)) as unknown);
}

/** Anything but a string and a list of items is not walked, so it must not pass either. */
function parseInput(body: Buffer, scanned: ScannedBody): unknown {
  const input = parseMember(body, scanned, 'input') ?? '';
  if (typeof input === 'string' || (Array.isArray(input) && input.every(isJsonObject))) return input;
  throw wrongType('input', 'a string or a list of items');
}

/** Most models reason unless told not to, and hide it. */
function mayReason(fields: BodyFields): boolean {
  const reasoning = fields.json('reasoning');
  return !(isJsonObject(reasoning) && reasoning['effort'] === 'none');
}

function refuseStoredState(fields: BodyFields): void {
  for (const name of ['previous_response_id', 'conversation', 'prompt']) {
    if (fields.has(name)) throw storedState(name, 'send what it stands for with the request');
  }
  if (fields.boolean('background')) throw storedState('background', 'leave it out, and read the answer as it comes');
  if (fields.boolean('store')) throw storedState('store', 'set it to false, and send the whole conversation each time');
  refuseReferences(fields.json('prompt_cache_options'), 'prompt_cache_options');
}

function readItem(item: JsonObject, path: string, costs: CostFacts): void {
  refuseReferences(item, path);
  const type = item['type'] ?? ('role' in item ? 'message' : 'item_reference');
  if (isBareName(type, item)) throw storedState(path, type === 'reasoning' ? reasoningAdvice : 'send the item itself');
  if (typeof type !== 'string' || !textItems.has(type)) costs.addUnbounded(`${path}.type`);
  readContent(item['content'], `${path}.content`, costs);
  // What a command wrote is text that has no type.
  if (type !== 'shell_call_output') readContent(item['output'], `${path}.output`, costs);
  readTools(item['tools'], `${path}.tools`, costs);
}

const reasoningAdvice =
  'leave it out, or ask with `include: ["reasoning.encrypted_content"]` for what can be sent again';

/** Whether the provider would look the item up among those that it stores: the item is not sent along. */
function isBareName(type: unknown, item: JsonObject): boolean {
  if (type === 'item_reference') return true;
  if (type === 'reasoning') return 'id' in item && !item['encrypted_content'];
  if (type === 'image_generation_call') return !item['result'];
  return 'id' in item && Object.keys(item).every((name) => labelNames.has(name) || item[name] === null);
}

function readContent(content: unknown, path: string, costs: CostFacts): void {
  if (isJsonObject(content)) readPart(content, path, costs);
  else eachObject(content, path, (part, at) => readPart(part, at, costs));
}

function readPart(part: JsonObject, path: string, costs: CostFacts): void {
  const { type, image_url: image, file_data: data } = part;
  if (type === 'input_image' || type === 'computer_screenshot') {
    costs.addImage(typeof image === 'string' && image.startsWith('data:') ? image : null);
  } else if (type === 'input_file') {
    if (typeof data === 'string') costs.addDocument(data);
    else costs.addUnbounded(`${path}.file_url`);
  } else if (typeof type !== 'string' || !textParts.has(type)) {
    costs.addUnbounded(`${path}.type`);
  }
}

/** @returns how many tools stand in groups */
function readTools(tools: unknown, path: string, costs: CostFacts): number {
  let nested = 0;
  eachObject(tools, path, (tool, at) => {
    refuseReferences(tool, at);
    const { type, model, container, environment } = tool;
    if (typeof type !== 'string') throw wrongType(`${at}.type`, 'a string');
    if (typeof container === 'string')
      throw storedState(`${at}.container`, 'let the provider make one, by {"type":"auto"}');
    costs.addOtherModel(model, `${at}.model`);
    if (type === 'namespace') {
      nested += Array.isArray(tool['tools']) ? tool['tools'].length : 0;
      nested += readTools(tool['tools'], `${at}.tools`, costs);
    } else if (clientTools.has(type) || isLocalShell(type, environment)) costs.builtInTools++;
    else if (type !== 'function' && type !== 'custom') costs.serverTools.push({ type, maxUses: null });
  });
  return nested;
}

function isLocalShell(type: string, environment: unknown): boolean {
  return type === 'shell' && isJsonObject(environment) && environment['type'] === 'local';
}

/** Settings that cost more than the model's list price says, or that make the provider do more than one call's work. */
function readSettings(fields: BodyFields, costs: CostFacts): void {
  if (fields.length('context_management') > 0) costs.addUnbounded('context_management');
  const moderation = fields.json('moderation');
  if (isJsonObject(moderation)) costs.addOtherModel(moderation['model'], 'moderation.model');
  const reasoning = fields.json('reasoning');
  const mode = isJsonObject(reasoning) ? (reasoning['mode'] ?? 'standard') : 'standard';
  if (mode !== 'standard') costs.addUnbounded('reasoning.mode');
}

/** The edit that keeps the provider from storing the answer, as it does by default; null where the request says so itself. */
export function storeEdit(body: Buffer, { members }: ScannedBody): BodyEdit | null {
  const store: Member | undefined = members.get('store');
  if (store?.kind === 'null') return { start: store.start, end: store.end, json: 'false' };
  if (store) return null;
  const at = body.lastIndexOf('}');
  return { start: at, end: at, json: `${members.size > 0 ? ',' : ''}"store":false` };
}
