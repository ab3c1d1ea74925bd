import { createHash } from 'node:crypto';
import { stopSequencesMax } from '../../base/limits.ts';
import type {
  AssistantBlock,
  Conversation,
  JsonObject,
  Target,
  TextBlock,
  Tool,
  ToolCallBlock,
  ToolChoice,
  ToolResultBlock,
  Turn,
} from '../conversation.ts';
import { defaultToolChoice } from '../conversation.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import { TurnBuilder } from '../turn-builder.ts';

/** OpenAI refuses longer names of users. */
const userCharsMax = 64;

/** Chat has no flag for a failed tool call, so the first line of its result says so, to the model and to us. */
const errorMark = '[tool error]\n';

/**
 * Reads a Chat Completions request.
 */
export function parseRequest(json: unknown, losses: Losses): Conversation {
  const body = new ObjectReader(json, '', losses);
  const conversation: Conversation = {
    model: body.string('model'),
    ...parseMessages(body, losses),
    tools: parseTools(body, losses),
    toolChoice: parseToolChoice(body, losses),
    temperature: body.optionalNumber('temperature'),
    topP: body.optionalNumber('top_p'),
    stop: parseStop(body),
    maxOutputTokens: parseOutputLimit(body),
    stream: body.optionalBoolean('stream') ?? false,
    streamUsage: parseStreamUsage(body),
    user: parseUserName(body),
  };
  leaveOut(body);
  body.close();
  return conversation;
}

/** The fields that may stay behind: those with the value that the other side has anyway, and those that are mere hints. */
function leaveOut(body: ObjectReader): void {
  body.neutral('n', 1);
  body.neutral('logprobs', false);
  body.neutral('top_logprobs', 0);
  body.neutral('frequency_penalty', 0);
  body.neutral('presence_penalty', 0);
  body.neutral('store', false);
  body.neutral('response_format', { type: 'text' });
  body.neutral('modalities', ['text']);
  body.neutral('service_tier', 'auto');
  body.neutral('verbosity', 'medium');
  body.hint('prediction');
  body.hint('prompt_cache_key');
  body.hint('prompt_cache_options');
  body.hint('prompt_cache_retention');
}

/** System and developer messages at the start are the system prompt; later ones are turns of their own. */
function parseMessages(body: ObjectReader, losses: Losses): Pick<Conversation, 'system' | 'turns'> {
  const system: TextBlock[] = [];
  const turns = new TurnBuilder();
  const messages = body.list('messages');
  for (const [i, json] of messages.entries()) {
    const path = `messages[${i}]`;
    const message = new ObjectReader(json, path, losses);
    switch (message.string('role')) {
      case 'system':
      case 'developer': {
        const blocks = parseContent(message, path, losses);
        if (turns.turns.length === 0) for (const block of blocks) system.push(block);
        else turns.system(blocks);
        break;
      }
      case 'user':
        turns.user(parseContent(message, path, losses));
        break;
      case 'assistant':
        turns.assistant(parseAssistant(message, path, losses), path);
        break;
      case 'tool':
        turns.toolResult(parseToolResult(message, path, losses), path);
        break;
      default:
        throw message.malformed('role', '"system", "developer", "user", "assistant" or "tool"');
    }
    message.close();
  }
  if (messages.length === 0) throw body.malformed('messages', 'a list with at least one message');
  return { system, turns: turns.turns };
}

/** A message's text: a string, or a list of parts. Empty text carries nothing and is left out. */
function parseContent(message: ObjectReader, path: string, losses: Losses): TextBlock[] {
  const content = message.any('content') ?? '';
  if (typeof content === 'string') return textBlocks(content);
  if (!Array.isArray(content)) throw message.malformed('content', 'a string or a list of parts');
  return content.flatMap((item, i) => {
    const at = `${path}.content[${i}]`;
    const part = new ObjectReader(item, at, losses);
    const type = part.string('type');
    if (type !== 'text' && type !== 'refusal') {
      losses.drop(at, `is a part of type "${type}", which has no counterpart on the other side`);
      return [];
    }
    const text = part.optionalString(type);
    if (text === null) throw part.malformed(type, 'a string');
    part.hint('prompt_cache_breakpoint');
    part.close();
    return textBlocks(text);
  });
}

function textBlocks(text: string): TextBlock[] {
  return text === '' ? [] : [{ type: 'text', text }];
}

function parseAssistant(message: ObjectReader, path: string, losses: Losses): AssistantBlock[] {
  return [
    ...parseContent(message, path, losses),
    ...textBlocks(message.optionalString('refusal') ?? ''),
    ...message.list('tool_calls').flatMap((json, i) => parseToolCall(json, `${path}.tool_calls[${i}]`, losses)),
  ];
}

function parseToolCall(json: unknown, path: string, losses: Losses): ToolCallBlock[] {
  const call = new ObjectReader(json, path, losses);
  const type = call.optionalString('type') ?? 'function';
  const fn = call.child('function');
  if (type !== 'function' || fn === null) {
    losses.drop(path, `is a tool call of type "${type}", which has no counterpart on the other side`);
    return [];
  }
  const argumentsJson = fn.optionalString('arguments');
  if (argumentsJson === null) throw fn.malformed('arguments', 'a string of JSON');
  const block: ToolCallBlock = { type: 'tool_call', id: call.string('id'), name: fn.string('name'), argumentsJson };
  fn.close();
  call.close();
  return [block];
}

function parseToolResult(message: ObjectReader, path: string, losses: Losses): ToolResultBlock {
  const callId = message.string('tool_call_id');
  const content = parseContent(message, path, losses);
  const [first, ...rest] = content;
  if (!first?.text.startsWith(errorMark)) return { type: 'tool_result', callId, content, isError: false };
  const marked = textBlocks(first.text.slice(errorMark.length));
  return { type: 'tool_result', callId, content: [...marked, ...rest], isError: true };
}

function parseTools(body: ObjectReader, losses: Losses): Tool[] {
  return body.list('tools').flatMap((item, i) => {
    const path = `tools[${i}]`;
    const tool = new ObjectReader(item, path, losses);
    const type = tool.string('type');
    const fn = tool.child('function');
    if (type !== 'function' || fn === null) {
      losses.drop(path, `is a tool of type "${type}", which has no counterpart on the other side`);
      return [];
    }
    const parsed: Tool = {
      name: fn.string('name'),
      description: fn.optionalString('description'),
      schema: objectSchema(fn),
      strict: fn.optionalBoolean('strict'),
    };
    fn.close();
    tool.close();
    return [parsed];
  });
}

/** Arguments are always an object, so `parameters` may leave the type out, and be left out for a tool without any. */
function objectSchema(fn: ObjectReader): JsonObject {
  const schema = fn.optionalObject('parameters') ?? { type: 'object', properties: {} };
  if (schema['type'] === undefined) return { type: 'object', ...schema };
  if (schema['type'] !== 'object') throw fn.malformed('parameters', 'a JSON Schema of type "object"');
  return schema;
}

function parseToolChoice(body: ObjectReader, losses: Losses): ToolChoice {
  const parallel = body.optionalBoolean('parallel_tool_calls') ?? true;
  const json = body.any('tool_choice');
  if (json === undefined) return { ...defaultToolChoice, parallel };
  if (json === 'auto' || json === 'none' || json === 'required') return { mode: json, parallel };
  const choice = new ObjectReader(json, 'tool_choice', losses);
  const fn = choice.string('type') === 'function' ? choice.child('function') : null;
  if (fn === null) {
    losses.drop('tool_choice');
    return { ...defaultToolChoice, parallel };
  }
  const name = fn.string('name');
  fn.close();
  choice.close();
  return { mode: 'tool', name, parallel };
}

function parseStop(body: ObjectReader): string[] {
  const stop = body.any('stop');
  return typeof stop === 'string' ? [stop] : body.strings('stop', stopSequencesMax);
}

/** The older `max_tokens` and its successor mean the same. */
function parseOutputLimit(body: ObjectReader): number | null {
  const older = body.optionalPositiveInteger('max_tokens');
  const newer = body.optionalPositiveInteger('max_completion_tokens');
  if (older !== null && newer !== null && older !== newer) {
    throw body.malformed('max_tokens', 'left out where "max_completion_tokens" says otherwise');
  }
  return newer ?? older;
}

function parseStreamUsage(body: ObjectReader): boolean {
  const options = body.child('stream_options');
  const include = options?.optionalBoolean('include_usage') ?? false;
  options?.neutral('include_obfuscation', false);
  options?.hint('include_obfuscation');
  options?.close();
  return include;
}

/** `user` is the older name of `safety_identifier`. */
function parseUserName(body: ObjectReader): string | null {
  const older = body.optionalString('user');
  const newer = body.optionalString('safety_identifier');
  if (older !== null && newer !== null && older !== newer) {
    throw body.malformed('user', 'left out where "safety_identifier" says otherwise');
  }
  return newer ?? older;
}

/**
 * Writes a Chat Completions request for `target`. Usage is always asked for in a stream. The output limit is what the
 * caller asked for, but no more than the target gives.
 */
export function writeRequest(conversation: Conversation, target: Target): string {
  const { system, turns, temperature, topP, stop, tools, stream, user } = conversation;
  const limit = outputLimit(conversation, target);
  return JSON.stringify({
    model: target.model,
    messages: [
      ...(system.length > 0 ? [{ role: 'system', content: writeContent(system) }] : []),
      ...turns.flatMap(writeTurn),
    ],
    ...(tools.length > 0 && { tools: tools.map(writeTool) }),
    ...writeToolChoice(conversation),
    ...(temperature !== null && { temperature }),
    ...(topP !== null && { top_p: topP }),
    ...(stop.length > 0 && { stop }),
    ...(limit !== null && { max_completion_tokens: limit }),
    ...(limit !== null && target.bothOutputLimits && { max_tokens: limit }),
    ...(user !== null && { user: writeUserName(user) }),
    ...(stream && { stream, stream_options: { include_usage: true } }),
  });
}

function outputLimit({ maxOutputTokens: asked }: Conversation, { maxOutputTokens: cap }: Target): number | null {
  return asked !== null && cap !== null ? Math.min(asked, cap) : asked;
}

/** A string for one text, since not every server takes a list of parts; a list keeps the bounds of several. */
function writeContent(blocks: readonly TextBlock[]): string | readonly TextBlock[] {
  return blocks.length > 1 ? blocks : (blocks[0]?.text ?? '');
}

function writeTurn(turn: Turn): unknown[] {
  if (turn.role === 'system') return [{ role: 'system', content: writeContent(turn.blocks) }];
  const texts = turn.blocks.filter((block) => block.type === 'text');
  if (turn.role === 'assistant') return [writeAssistant(texts, turn.blocks)];
  const results = turn.blocks.filter((block) => block.type === 'tool_result').map(writeToolResult);
  const user = { role: 'user', content: writeContent(texts) };
  return results.length > 0 && texts.length === 0 ? results : [...results, user];
}

/** Chat keeps text and calls of a message apart and has no order between them: the text goes first. */
function writeAssistant(texts: readonly TextBlock[], blocks: readonly AssistantBlock[]): unknown {
  const calls = blocks.filter((block) => block.type === 'tool_call');
  return {
    role: 'assistant',
    content: texts.length === 0 && calls.length > 0 ? null : writeContent(texts),
    ...(calls.length > 0 && {
      tool_calls: calls.map(({ id, name, argumentsJson }) => ({
        id,
        type: 'function',
        function: { name, arguments: argumentsJson },
      })),
    }),
  };
}

function writeToolResult({ callId, content, isError }: ToolResultBlock): unknown {
  const [first, ...rest] = content;
  const marked: TextBlock = { type: 'text', text: errorMark + (first?.text ?? '') };
  return { role: 'tool', tool_call_id: callId, content: writeContent(isError ? [marked, ...rest] : content) };
}

function writeTool({ name, description, schema, strict }: Tool): unknown {
  return {
    type: 'function',
    function: {
      name,
      ...(description !== null && { description }),
      parameters: schema,
      ...(strict !== null && { strict }),
    },
  };
}

function writeToolChoice({ toolChoice, tools }: Conversation): { tool_choice?: unknown; parallel_tool_calls?: false } {
  const serial = !toolChoice.parallel && tools.length > 0 && { parallel_tool_calls: false as const };
  switch (toolChoice.mode) {
    case 'auto':
      return { ...serial };
    case 'none':
      return tools.length === 0 ? {} : { tool_choice: 'none', ...serial };
    case 'required':
      return { tool_choice: 'required', ...serial };
    default:
      return { tool_choice: { type: 'function', function: { name: toolChoice.name } }, ...serial };
  }
}

/** An identifier that is too long goes as its SHA-256 (64 hex digits): as opaque, as stable, as distinct. */
function writeUserName(user: string): string {
  return user.length <= userCharsMax ? user : createHash('sha256').update(user).digest('hex');
}
