import { PortcullisError } from '../../base/errors.ts';
import { stopSequencesMax } from '../../base/limits.ts';
import type {
  AssistantBlock,
  Conversation,
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
import { describeCall, parseArguments } from '../tool-arguments.ts';

/**
 * Reads a Messages request (versions 2023-06-01 and 2026-10-21: the newer one leaves out the sampling fields).
 * @throws PortcullisError invalid_argument naming the field: malformed, or not translatable (see `Losses`).
 */
export function parseRequest(json: unknown, losses: Losses): Conversation {
  const body = new ObjectReader(json, '', losses);
  const maxOutputTokens = body.optionalPositiveInteger('max_tokens');
  if (maxOutputTokens === null) throw body.malformed('max_tokens', 'given: this dialect requires it');
  const conversation: Conversation = {
    model: body.string('model'),
    system: parseSystem(body, losses),
    turns: parseMessages(body, losses),
    tools: parseTools(body, losses),
    toolChoice: parseToolChoice(body),
    temperature: body.optionalNumber('temperature'),
    topP: body.optionalNumber('top_p'),
    stop: body.strings('stop_sequences', stopSequencesMax),
    maxOutputTokens,
    stream: body.optionalBoolean('stream') ?? false,
    streamUsage: true,
    user: parseMetadata(body),
  };
  body.neutral('service_tier', 'auto');
  body.neutral('speed', 'standard');
  // No other dialect shows thinking.
  body.neutral('thinking', { type: 'disabled' });
  body.hint('cache_control');
  body.hint('diagnostics');
  body.close();
  return conversation;
}

function parseSystem(body: ObjectReader, losses: Losses): TextBlock[] {
  return parseTexts(body.any('system'), 'system', losses);
}

/** Text as both vendors allow it: a string, or a list of text blocks. Empty text carries nothing and is left out. */
function parseTexts(json: unknown, path: string, losses: Losses): TextBlock[] {
  if (json === undefined || json === null) return [];
  if (typeof json === 'string') return json === '' ? [] : [{ type: 'text', text: json }];
  if (!Array.isArray(json)) throw losses.malformed(path, 'a string or a list of blocks');
  return json.flatMap((item, i) => {
    const block = new ObjectReader(item, `${path}[${i}]`, losses);
    return block.string('type') === 'text' ? parseText(block) : unsupported(block, losses, `${path}[${i}]`);
  });
}

function parseText(block: ObjectReader): TextBlock[] {
  const text = block.optionalString('text');
  if (text === null) throw block.malformed('text', 'a string');
  block.hint('cache_control');
  block.close();
  return text === '' ? [] : [{ type: 'text', text }];
}

function unsupported(block: ObjectReader, losses: Losses, path: string): [] {
  losses.drop(path, `is a block of type "${block.string('type')}", which has no counterpart on the other side`);
  return [];
}

function parseMessages(body: ObjectReader, losses: Losses): readonly Turn[] {
  const turns = new TurnBuilder();
  for (const [i, json] of body.list('messages').entries()) {
    const path = `messages[${i}]`;
    const message = new ObjectReader(json, path, losses);
    const content = message.any('content');
    switch (message.string('role')) {
      case 'user':
        parseUser(content, `${path}.content`, turns, losses);
        break;
      case 'assistant':
        turns.assistant(parseAssistant(content, `${path}.content`, losses), path);
        break;
      case 'system':
        turns.system(parseTexts(content, `${path}.content`, losses));
        break;
      default:
        throw message.malformed('role', '"user", "assistant" or "system"');
    }
    message.close();
  }
  if (turns.turns.length === 0) throw body.malformed('messages', 'a list with at least one message');
  return turns.turns;
}

function parseUser(content: unknown, path: string, turns: TurnBuilder, losses: Losses): void {
  if (!Array.isArray(content)) return turns.user(parseTexts(content, path, losses));
  for (const [i, item] of content.entries()) {
    const at = `${path}[${i}]`;
    const block = new ObjectReader(item, at, losses);
    const type = block.string('type');
    if (type === 'tool_result') turns.toolResult(parseToolResult(block, at, losses), at);
    else turns.user(type === 'text' ? parseText(block) : unsupported(block, losses, at));
  }
}

function parseToolResult(block: ObjectReader, path: string, losses: Losses): ToolResultBlock {
  const result: ToolResultBlock = {
    type: 'tool_result',
    callId: block.string('tool_use_id'),
    content: parseTexts(block.any('content'), `${path}.content`, losses),
    isError: block.optionalBoolean('is_error') ?? false,
  };
  block.hint('cache_control');
  block.close();
  return result;
}

function parseAssistant(content: unknown, path: string, losses: Losses): AssistantBlock[] {
  if (!Array.isArray(content)) return parseTexts(content, path, losses);
  return content.flatMap((item, i): AssistantBlock[] => {
    const block = new ObjectReader(item, `${path}[${i}]`, losses);
    const type = block.string('type');
    if (type === 'tool_use') return [parseToolUse(block)];
    return type === 'text' ? parseText(block) : unsupported(block, losses, `${path}[${i}]`);
  });
}

function parseToolUse(block: ObjectReader): ToolCallBlock {
  const input = block.optionalObject('input');
  if (input === null) throw block.malformed('input', 'a JSON object');
  const call: ToolCallBlock = {
    type: 'tool_call',
    id: block.string('id'),
    name: block.string('name'),
    argumentsJson: JSON.stringify(input),
  };
  block.neutral('caller', { type: 'direct' });
  block.hint('cache_control');
  block.close();
  return call;
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
    };
    tool.neutral('defer_loading', false);
    tool.neutral('allowed_callers', ['direct']);
    tool.hint('eager_input_streaming');
    tool.hint('cache_control');
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

function parseMetadata(body: ObjectReader): string | null {
  const metadata = body.child('metadata');
  if (metadata === null) return null;
  const user = metadata.optionalString('user_id');
  metadata.close();
  return user;
}

/**
 * Writes a Messages request for `target`. `max_tokens` is what the caller asked for, but no more than the target gives.
 * @throws PortcullisError invalid_argument naming what this dialect cannot express.
 */
export function writeRequest(conversation: Conversation, target: Target, losses: Losses): string {
  const { system, temperature, topP, stop, tools, stream, user } = conversation;
  const messages = writeTurns(conversation.turns, losses);
  if (messages.length === 0) {
    throw new PortcullisError(
      'invalid_argument',
      '"messages" needs at least one message that is not a system prompt.',
      {
        param: 'messages',
      },
    );
  }
  return JSON.stringify({
    model: target.model,
    max_tokens: maxTokens(conversation, target),
    ...(system.length > 0 && { system: writeTexts(system) }),
    messages,
    ...(tools.length > 0 && { tools: tools.map(writeTool) }),
    ...writeToolChoice(conversation),
    ...(temperature !== null && temperatureFits(temperature, losses) && { temperature }),
    ...(topP !== null && { top_p: topP }),
    ...(stop.length > 0 && { stop_sequences: stop.filter((sequence) => stopFits(sequence, losses)) }),
    ...(user !== null && { metadata: { user_id: user } }),
    ...(stream && { stream }),
  });
}

function maxTokens({ maxOutputTokens: asked }: Conversation, { maxOutputTokens: cap }: Target): number {
  if (asked !== null && cap !== null) return Math.min(asked, cap);
  const limit = asked ?? cap;
  if (limit !== null) return limit;
  throw new PortcullisError(
    'invalid_argument',
    'The model behind this name needs an output limit and none is known for it: send "max_completion_tokens".',
    { param: 'max_completion_tokens' },
  );
}

function temperatureFits(temperature: number, losses: Losses): boolean {
  if (temperature <= 1) return true;
  losses.drop('temperature', 'is above 1, the highest that the model behind this name takes');
  return false;
}

function stopFits(sequence: string, losses: Losses): boolean {
  if (/\S/.test(sequence)) return true;
  losses.drop('stop', 'has a sequence of white space alone, which the model behind this name does not take');
  return false;
}

function writeTexts(blocks: readonly TextBlock[]): string | readonly TextBlock[] {
  return blocks.length === 1 && blocks[0] !== undefined ? blocks[0].text : blocks;
}

function writeTurns(turns: readonly Turn[], losses: Losses): unknown[] {
  return turns.flatMap((turn) => {
    if (turn.blocks.length > 0) return [{ role: turn.role, content: writeBlocks(turn.blocks) }];
    losses.drop('messages', 'holds a message without content, which the model behind this name does not take');
    return [];
  });
}

function writeBlocks(blocks: Turn['blocks']): unknown {
  const [first] = blocks;
  if (blocks.length === 1 && first?.type === 'text') return first.text;
  return blocks.map((block) => {
    switch (block.type) {
      case 'text':
        return { type: 'text', text: block.text };
      case 'tool_call':
        return { type: 'tool_use', id: block.id, name: block.name, input: requestedInput(block) };
      default:
        return {
          type: 'tool_result',
          tool_use_id: block.callId,
          ...(block.content.length > 0 && { content: writeTexts(block.content) }),
          ...(block.isError && { is_error: true }),
        };
    }
  });
}

function requestedInput(call: ToolCallBlock): unknown {
  const input = parseArguments(call.argumentsJson);
  if (input !== null) return input;
  throw new PortcullisError(
    'invalid_argument',
    `The arguments of ${describeCall(call)} are not a JSON object, which the model behind this name requires.`,
    { param: 'messages' },
  );
}

function writeTool({ name, description, schema, strict }: Tool): unknown {
  return {
    name,
    ...(description !== null && { description }),
    input_schema: schema,
    ...(strict !== null && { strict }),
  };
}

function writeToolChoice({ toolChoice, tools }: Conversation): { tool_choice?: unknown } {
  const serial = !toolChoice.parallel && { disable_parallel_tool_use: true };
  switch (toolChoice.mode) {
    case 'auto':
      return toolChoice.parallel || tools.length === 0 ? {} : { tool_choice: { type: 'auto', ...serial } };
    case 'none':
      return tools.length === 0 ? {} : { tool_choice: { type: 'none' } };
    case 'required':
      return { tool_choice: { type: 'any', ...serial } };
    default:
      return { tool_choice: { type: 'tool', name: toolChoice.name, ...serial } };
  }
}
