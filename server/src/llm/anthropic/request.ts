import { stopSequencesMax } from '../../base/limits.ts';
import type { CacheMark, Conversation, OutputFormat, Tool, ToolChoice, Turn } from '../conversation.ts';
import { defaultToolChoice } from '../conversation.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import { parseMessages } from './request-blocks.ts';
import { parseMark, parseTexts } from './text-blocks.ts';
import { parseReasoning } from './thinking.ts';

export { writeRequest } from './request-writer.ts';

/**
 * Reads a Messages request (versions 2023-06-01 and 2026-10-21: the newer one leaves out the sampling fields).
 * @throws PortcullisError invalid_argument naming the field: malformed, or not translatable (see `Losses`).
 */
export function parseRequest(json: unknown, losses: Losses): Conversation {
  const body = new ObjectReader(json, '', losses);
  const maxOutputTokens = body.optionalPositiveInteger('max_tokens');
  if (maxOutputTokens === null) throw body.malformed('max_tokens', 'given: this dialect requires it');
  const output = body.child('output_config');
  const conversation: Conversation = {
    model: body.string('model'),
    system: parseTexts(body.any('system'), 'system', losses),
    turns: withLastMark(parseMessages(body, losses), parseMark(body).cache, losses),
    tools: parseTools(body, losses),
    toolChoice: parseToolChoice(body),
    temperature: body.optionalNumber('temperature'),
    topP: body.optionalNumber('top_p'),
    stop: body.strings('stop_sequences', stopSequencesMax),
    maxOutputTokens,
    reasoning: parseReasoning(body, output),
    // `output_format` is its older name.
    outputFormat: parseFormat(output?.child('format') ?? body.child('output_format')),
    verbosity: null,
    serviceTier: parseServiceTier(body),
    stream: body.optionalBoolean('stream') ?? false,
    streamUsage: true,
    user: parseMetadata(body),
  };
  output?.hint('task_budget');
  output?.close();
  body.neutral('speed', 'standard');
  body.neutral('inference_geo', 'global');
  parseContextManagement(body, losses);
  body.hint('diagnostics');
  // Features without the fields that use them; an SDK sends them as a header.
  body.hint('betas');
  body.close();
  return conversation;
}

/** The mark of a whole request stands for one on its last block. */
function withLastMark(turns: readonly Turn[], cache: CacheMark | undefined, losses: Losses): readonly Turn[] {
  const last = turns.at(-1);
  const block = last?.blocks.at(-1);
  if (cache === undefined) return turns;
  if (last === undefined || block === undefined || block.type === 'reasoning') {
    losses.hint('cache_control');
    return turns;
  }
  const marked = { ...last, blocks: [...last.blocks.slice(0, -1), { cache, ...block }] };
  return [...turns.slice(0, -1), marked as Turn];
}

function parseTools(body: ObjectReader, losses: Losses): Tool[] {
  return body.list('tools').flatMap((item, i) => {
    const path = `tools[${i}]`;
    const tool = new ObjectReader(item, path, losses);
    const type = tool.optionalString('type') ?? 'custom';
    if (type !== 'custom') {
      losses.drop(path, `is a tool of type "${type}", which only this dialect's own vendor runs`);
      return [];
    }
    const schema = tool.optionalObject('input_schema');
    if (schema === null) throw tool.malformed('input_schema', 'a JSON Schema object');
    const parsed: Tool = {
      name: tool.string('name'),
      description: tool.optionalString('description'),
      schema,
      strict: tool.optionalBoolean('strict'),
      ...parseMark(tool),
    };
    // Loaded from the start, it is there when the model looks for it.
    if (tool.optionalBoolean('defer_loading')) losses.hint(tool.path('defer_loading'));
    if (tool.optionalBoolean('eager_input_streaming')) losses.hint(tool.path('eager_input_streaming'));
    tool.neutral('allowed_callers', ['direct']);
    tool.hint('input_examples');
    tool.close();
    return [parsed];
  });
}

function parseToolChoice(body: ObjectReader): ToolChoice {
  const choice = body.child('tool_choice');
  if (choice === null) return defaultToolChoice;
  const type = choice.string('type');
  const parallel = !(choice.optionalBoolean('disable_parallel_tool_use') ?? false);
  const name = type === 'tool' ? choice.string('name') : null;
  choice.close();
  if (name !== null) return { mode: 'tool', name, parallel };
  if (type === 'auto' || type === 'none') return { mode: type, parallel };
  if (type === 'any') return { mode: 'required', parallel };
  throw choice.malformed('type', '"auto", "any", "tool" or "none"');
}

function parseFormat(format: ObjectReader | null): OutputFormat | null {
  if (format === null) return null;
  if (format.string('type') !== 'json_schema') throw format.malformed('type', '"json_schema"');
  const schema = format.optionalObject('schema');
  if (schema === null) throw format.malformed('schema', 'a JSON Schema object');
  format.close();
  // This dialect holds every answer to its schema.
  return { name: null, description: null, schema, strict: true };
}

function parseServiceTier(body: ObjectReader): Conversation['serviceTier'] {
  const tier = body.optionalString('service_tier');
  if (tier === null || tier === 'auto') return tier;
  if (tier === 'standard_only') return 'standard';
  throw body.malformed('service_tier', '"auto" or "standard_only"');
}

function parseMetadata(body: ObjectReader): string | null {
  const metadata = body.child('metadata');
  if (metadata === null) return null;
  const user = metadata.optionalString('user_id');
  metadata.close();
  return user;
}

/**
 * How the vendor is to shorten the conversation. Other providers see no thinking but their own, so to clear it asks for
 * nothing; what clears anything else is the caller's way to stay within the window, and matters.
 */
function parseContextManagement(body: ObjectReader, losses: Losses): void {
  const management = body.child('context_management');
  if (management === null) return;
  for (const [i, json] of management.list('edits').entries()) {
    const path = management.path(`edits[${i}]`);
    const type = new ObjectReader(json, path, losses).string('type');
    if (type.startsWith('clear_thinking_')) losses.hint(path);
    else losses.drop(path, `is of type "${type}", which only this dialect's own vendor does`);
  }
  management.close();
}
