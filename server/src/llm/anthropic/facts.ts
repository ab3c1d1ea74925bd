import { BodyFields, hasLongTtl, hasOnlyTypes, nameSet, wrongType } from '../body-fields.ts';
import { CostFacts, eachObject, type RequestFacts } from '../facts.ts';
import type { ScannedBody } from '../json-scan.ts';
import { isJsonObject } from '../object-reader.ts';
import { refuseReferences, storedState } from '../stored-state.ts';
import { speedAndGeography } from '../terms.ts';

/** Content blocks whose bytes bound their tokens; what some of them hold (content, tools) is looked at too. */
const textBlocks = nameSet(`
  text thinking redacted_thinking tool_use tool_result search_result tool_reference server_tool_use
  mcp_tool_use mcp_tool_result mcp_tool_listing compaction fallback tool_addition tool_removal browser_state
  web_search_tool_result web_search_result web_search_tool_result_error
  web_fetch_tool_result web_fetch_result web_fetch_tool_result_error
  tool_search_tool_result tool_search_tool_search_result tool_search_tool_result_error
  code_execution_tool_result code_execution_result encrypted_code_execution_result code_execution_output
  code_execution_tool_result_error bash_code_execution_tool_result bash_code_execution_result
  bash_code_execution_output bash_code_execution_tool_result_error
  text_editor_code_execution_tool_result text_editor_code_execution_view_result
  text_editor_code_execution_create_result text_editor_code_execution_str_replace_result
  text_editor_code_execution_tool_result_error
  advisor_tool_result advisor_result advisor_redacted_result advisor_tool_result_error
`);

/** Every `type` of a body that holds text and custom tools alone: blocks, JSON Schema, settings. */
const textBodyTypes: ReadonlySet<string> = textBlocks.union(
  nameSet(`
    object string number integer boolean array null
    custom tool_definition json_schema ephemeral direct auto any tool none
    enabled disabled adaptive between_tools tokens
    clear_thinking_20251015 clear_tool_uses_20250919 thinking_turns tool_uses input_tokens
    char_location page_location content_block_location search_result_location web_search_result_location
  `),
);

const clientTool = /^(bash|text_editor|computer|computer_toolset|browser_toolset|memory)_\d+$/;
const serverTool = /^(web_search|web_fetch|code_execution|tool_search_tool|advisor)_/;

const fieldNames = nameSet(`
  model messages system tools stream max_tokens service_tier speed inference_geo fallbacks mcp_servers thread
  compaction context_management container thinking
`);

/**
 * Reads the facts of a Messages request. Most bodies hold only types known to be text, as the scan has seen, and are not
 * parsed any further; of the others every content block and tool is looked at.
 * @throws PortcullisError invalid_argument, naming the field; for anything that refers to stored state too (decision 0011)
 */
export function readFacts(body: Buffer, scanned: ScannedBody): RequestFacts {
  const fields = new BodyFields(body, scanned, fieldNames);
  const costs = new CostFacts();
  const facts = {
    ...fields.model(),
    stream: fields.boolean('stream') ?? false,
    maxOutputTokens: fields.integer('max_tokens', 0),
    thinkingTokens: thinkingTokens(fields),
    choices: 1,
    usageRequested: true,
    bodyBytes: body.length,
    messageCount: fields.length('messages'),
    toolCount: fields.length('tools'),
    terms: speedAndGeography(fields.string('speed'), fields.string('inference_geo')),
    longCacheTtl: hasLongTtl(scanned),
    mayReason: mayReason(fields),
  };
  readSettings(fields, costs);
  if (!hasOnlyTypes(scanned, textBodyTypes)) {
    const request = JSON.parse(body.toString()) as Record<string, unknown>;
    readContent(request['system'], 'system', costs);
    eachObject(request['messages'], 'messages', (message, path) =>
      readContent(message['content'], `${path}.content`, costs),
    );
    eachObject(request['tools'], 'tools', (tool, path) => readTool(tool, path, costs));
  }
  const { builtInTools, media, serverTools, otherModels, unbounded } = costs;
  return { ...facts, builtInTools, media, serverTools, otherModels, unbounded };
}

/** Thinking may be summarized, redacted or left out of what comes through. */
function mayReason(fields: BodyFields): boolean {
  const thinking = fields.json('thinking');
  return fields.has('thinking') && !(isJsonObject(thinking) && thinking['type'] === 'disabled');
}

function thinkingTokens(fields: BodyFields): number {
  const thinking = fields.json('thinking');
  const budget = isJsonObject(thinking) && thinking['type'] === 'enabled' ? thinking['budget_tokens'] : 0;
  // What is no number of tokens is the provider's to refuse.
  return Number.isSafeInteger(budget) ? Math.max(0, budget as number) : 0;
}

/** Settings that cost more than the model's list price says, or that make the provider do more than one call's work. */
function readSettings(fields: BodyFields, costs: CostFacts): void {
  // By `auto` calls are served from capacity that was paid in advance; they count at the list price all the same.
  if (!['auto', 'standard_only', null].includes(fields.string('service_tier'))) costs.addUnbounded('service_tier');
  if (fields.has('compaction')) costs.addUnbounded('compaction');
  if (fields.length('mcp_servers') > 0) costs.addUnbounded('mcp_servers');
  if (fields.has('fallbacks')) {
    costs.addUnbounded('fallbacks');
    eachObject(fields.json('fallbacks'), 'fallbacks', ({ model }) => costs.addOtherModel(model, 'fallbacks'));
  }
  const thread = fields.json('thread');
  if (fields.has('thread') && !(isJsonObject(thread) && thread['type'] === 'create')) {
    throw storedState('thread', 'send the whole conversation each time');
  }
  readContainer(fields.json('container') ?? null, costs);
  const management = fields.json('context_management');
  if (isJsonObject(management)) {
    eachObject(management['edits'], 'context_management.edits', ({ type }, path) => {
      if (typeof type !== 'string' || !type.startsWith('clear_')) costs.addUnbounded(path);
    });
  }
}

/** A new container is the request's own, and so are the skills of the vendor in it. */
function readContainer(container: unknown, costs: CostFacts): void {
  if (container === null) return;
  if (!isJsonObject(container)) throw storedState('container', newContainer);
  if ((container['id'] ?? null) !== null) throw storedState('container.id', newContainer);
  if ((container['skills'] ?? null) !== null) costs.addUnbounded('container.skills');
  eachObject(container['skills'], 'container.skills', ({ type }, path) => {
    if (type !== 'anthropic') throw storedState(path, 'only skills of type "anthropic" are the same for everybody');
  });
}

const newContainer = 'leave it out, so that the provider makes a new one';

function readContent(content: unknown, path: string, costs: CostFacts): void {
  if (isJsonObject(content)) readBlock(content, path, costs);
  else eachObject(content, path, (block, at) => readBlock(block, at, costs));
}

function readBlock(block: Record<string, unknown>, path: string, costs: CostFacts): void {
  const { type, source, tool } = block;
  refuseReferences(source, `${path}.source`);
  if (type === 'image') {
    costs.addImage(isJsonObject(source) && source['type'] === 'base64' ? source['data'] : null);
  } else if (type === 'document') {
    readDocument(source, `${path}.source`, costs);
  } else if (type === 'container_upload') {
    throw storedState(`${path}.file_id`, 'send the content itself');
  } else if (typeof type === 'string' && textBlocks.has(type)) {
    readContent(block['content'], `${path}.content`, costs);
    readContent(block['tool_changes'], `${path}.tool_changes`, costs);
    const definition = isJsonObject(tool) ? tool['definition'] : null;
    if (isJsonObject(definition)) readTool(definition, `${path}.tool.definition`, costs);
  } else {
    costs.addUnbounded(`${path}.type`);
  }
}

function readDocument(source: unknown, path: string, costs: CostFacts): void {
  if (!isJsonObject(source)) return costs.addUnbounded(path);
  const { type, data, content } = source;
  if (type === 'text') return;
  if (type === 'content') readContent(content, `${path}.content`, costs);
  else if (type === 'base64' && typeof data === 'string') costs.addDocument(data);
  else costs.addUnbounded(type === 'url' ? `${path}.url` : path);
}

function readTool(tool: Record<string, unknown>, path: string, costs: CostFacts): void {
  const type = tool['type'] ?? 'custom';
  if (type === 'custom') return;
  if (typeof type !== 'string') throw wrongType(`${path}.type`, 'a string');
  const maxUses = tool['max_uses'] ?? null;
  if (maxUses !== null && !(Number.isSafeInteger(maxUses) && (maxUses as number) >= 0)) {
    throw wrongType(`${path}.max_uses`, 'a whole number of at least 0');
  }
  if (clientTool.test(type)) {
    costs.builtInTools++;
  } else if (serverTool.test(type)) {
    costs.builtInTools++;
    costs.serverTools.push({ type, maxUses: maxUses as number | null });
    costs.addOtherModel(tool['model'], `${path}.model`);
    if (tool['model'] !== undefined) costs.addUnbounded(`${path}.model`);
  } else {
    costs.addUnbounded(path);
  }
}
