import type {
  AssistantBlock,
  ContentBlock,
  Conversation,
  TextBlock,
  ToolCallBlock,
  ToolResultBlock,
  Turn,
} from '../conversation.ts';
import { freeformArguments } from '../freeform-tools.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import { readToolError, writeToolError } from '../openai-content.ts';
import { TurnBuilder } from '../turn-builder.ts';
import { extrasAt, readExtras } from './call-extras.ts';
import { parseContent, parseTexts, textBlocks, writeContent } from './content.ts';
import { withReasoning, writeReasoning } from './reasoning.ts';

/** System and developer messages at the start are the system prompt; later ones are turns of their own. */
export function parseMessages(body: ObjectReader, losses: Losses): Pick<Conversation, 'system' | 'turns'> {
  const system: TextBlock[] = [];
  const turns = new TurnBuilder();
  const messages = body.list('messages');
  for (const [i, json] of messages.entries()) {
    const path = `messages[${i}]`;
    const message = new ObjectReader(json, path, losses);
    switch (message.string('role')) {
      case 'system':
      case 'developer': {
        const blocks = parseTexts(message, path, losses);
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
      case 'function':
        throw message.malformed('role', '"tool", which replaced "function"');
      default:
        throw message.malformed('role', '"system", "developer", "user", "assistant" or "tool"');
    }
    message.close();
  }
  if (messages.length === 0) throw body.malformed('messages', 'a list with at least one message');
  return { system, turns: turns.turns };
}

function parseAssistant(message: ObjectReader, path: string, losses: Losses): AssistantBlock[] {
  if (message.any('function_call') !== undefined) {
    throw message.malformed('function_call', 'left out: send "tool_calls", which replaced it');
  }
  // What the sources of the text were changes nothing in it, and the SDKs' `parsed` is the text once more.
  message.hint('annotations');
  message.any('parsed');
  const blocks = [
    ...parseTexts(message, path, losses),
    ...textBlocks(message.optionalString('refusal') ?? ''),
    ...message.list('tool_calls').flatMap((json, i) => parseToolCall(json, `${path}.tool_calls[${i}]`, losses)),
  ];
  return withReasoning(message, blocks, losses);
}

function parseToolCall(json: unknown, path: string, losses: Losses): AssistantBlock[] {
  const call = new ObjectReader(json, path, losses);
  const type = call.optionalString('type') ?? 'function';
  const named = type === 'function' || type === 'custom' ? call.child(type) : null;
  if (named === null) {
    losses.drop(path, `is a tool call of type "${type}", which has no counterpart on the other side`);
    return [];
  }
  const member = type === 'function' ? 'arguments' : 'input';
  const input = named.optionalString(member);
  if (input === null) throw named.malformed(member, type === 'function' ? 'a string of JSON' : 'a string');
  const argumentsJson = type === 'function' ? input : freeformArguments(input);
  const block: ToolCallBlock = { type: 'tool_call', id: call.string('id'), name: named.string('name'), argumentsJson };
  // Another copy of the arguments, by the SDKs.
  named.any('parsed_arguments');
  named.close();
  // Its place in a stream, where a client kept it.
  call.any('index');
  const extras = readExtras(call);
  call.close();
  return [...extras, block];
}

/** A mark on the last part ends the prefix where the result ends. */
function parseToolResult(message: ObjectReader, path: string, losses: Losses): ToolResultBlock {
  const callId = message.string('tool_call_id');
  // OpenAI's older examples repeat the name of the tool.
  message.any('name');
  const content = parseContent(message, path, losses);
  const last = content.at(-1);
  const cache = last?.cache;
  const result = {
    type: 'tool_result' as const,
    callId,
    ...(cache !== undefined && { cache }),
  };
  const parts = last === undefined ? [] : [...content.slice(0, -1), unmarked(last)];
  return { ...result, ...readToolError(parts) };
}

function unmarked({ cache: _cache, ...block }: ContentBlock): ContentBlock {
  return block;
}

/** Writes the messages of a conversation. */
export function writeMessages({ system, turns }: Conversation, losses: Losses): unknown[] {
  return [
    ...(system.length > 0 ? [{ role: 'system', content: writeContent(system, losses) }] : []),
    ...turns.flatMap((turn) => writeTurn(turn, losses)),
  ];
}

function writeTurn(turn: Turn, losses: Losses): unknown[] {
  switch (turn.role) {
    case 'system':
      return [{ role: 'system', content: writeContent(turn.blocks, losses) }];
    case 'assistant':
      return [writeAssistant(turn.blocks, losses)];
    default: {
      const results = turn.blocks.filter((block) => block.type === 'tool_result');
      const said = turn.blocks.filter((block) => block.type !== 'tool_result');
      const content = [...results.flatMap(shownApart), ...said];
      const user = { role: 'user', content: writeContent(content, losses) };
      const answers = results.map((result) => writeToolResult(result, losses));
      return results.length > 0 && content.length === 0 ? answers : [...answers, user];
    }
  }
}

/** Chat keeps text and calls of a message apart and has no order between them: the text goes first. */
function writeAssistant(blocks: readonly AssistantBlock[], losses: Losses): unknown {
  const texts = blocks.filter((block) => block.type === 'text');
  const calls = blocks.flatMap((block, i) =>
    block.type === 'tool_call' ? [{ ...block, ...extrasAt(blocks, i) }] : [],
  );
  if (calls.some(({ cache }) => cache !== undefined)) losses.hint('cache_control');
  return {
    role: 'assistant',
    content: texts.length === 0 && calls.length > 0 ? null : writeContent(texts, losses),
    ...writeReasoning(blocks),
    ...(calls.length > 0 && {
      tool_calls: calls.map(({ id, name, argumentsJson, extra_content }) => ({
        id,
        type: 'function',
        function: { name, arguments: argumentsJson },
        ...(extra_content !== undefined && { extra_content }),
      })),
    }),
  };
}

/**
 * A tool message holds text alone. What else a result holds goes into the user message after the results, with a word on
 * where it is from; on the way back it is what the user sent, since nothing tells it from that for sure.
 */
function shownApart(result: ToolResultBlock): ContentBlock[] {
  const media = result.content.filter(({ type }) => type !== 'text');
  const marked = media.map((block, i) => (i === media.length - 1 ? withMark(block, result) : block));
  return media.length === 0
    ? []
    : [{ type: 'text', text: `From the result of tool call "${result.callId}":` }, ...marked];
}

function writeToolResult(result: ToolResultBlock, losses: Losses): unknown {
  const own = result.content.filter((block) => block.type === 'text');
  const apart = own.length < result.content.length;
  const texts = own.length === 0 && apart ? textBlocks('The result is in the next message.') : own;
  const content = result.isError ? writeToolError(texts) : texts;
  if (result.cache !== undefined && content.length === 0) losses.hint('cache_control');
  const marked = apart
    ? content
    : content.map((block, i) => (i === content.length - 1 ? withMark(block, result) : block));
  return { role: 'tool', tool_call_id: result.callId, content: writeContent(marked, losses) };
}

function withMark<B extends ContentBlock>(block: B, { cache }: ToolResultBlock): B {
  return cache === undefined ? block : { ...block, cache };
}
