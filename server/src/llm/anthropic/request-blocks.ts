import type {
  AssistantBlock,
  ContentBlock,
  ReasoningBlock,
  TextBlock,
  ToolCallBlock,
  ToolResultBlock,
  Turn,
} from '../conversation.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import { sealFromText } from '../seal.ts';
import { TurnBuilder } from '../turn-builder.ts';
import { parseDocument, parseImage } from './media-blocks.ts';
import { parseList, parseMark, parseText, parseTexts, unsupported } from './text-blocks.ts';
import { redactedSeal, signatureSeal } from './thinking.ts';

/** Reads `messages`. @throws PortcullisError invalid_argument */
export function parseMessages(body: ObjectReader, losses: Losses): readonly Turn[] {
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
    else turns.user(parseContentBlock(block, type, at, losses));
  }
}

function parseContentBlock(block: ObjectReader, type: string, path: string, losses: Losses): ContentBlock[] {
  switch (type) {
    case 'text':
      return parseText(block);
    case 'image':
      return parseImage(block, losses);
    case 'document':
      return parseDocument(block, losses);
    default:
      return unsupported(path, type, losses);
  }
}

function parseToolResult(block: ObjectReader, path: string, losses: Losses): ToolResultBlock {
  const result: ToolResultBlock = {
    type: 'tool_result',
    callId: block.string('tool_use_id'),
    content: parseList(block.any('content'), `${path}.content`, losses, (item, type, at) =>
      type === 'tool_reference' ? parseToolReference(item, losses) : parseContentBlock(item, type, at, losses),
    ),
    isError: block.optionalBoolean('is_error') ?? false,
    ...parseMark(block),
  };
  block.close();
  return result;
}

/**
 * The vendor shows the model the definition of a tool that was to be loaded late. Elsewhere all tools are there from the
 * start, and the result of the search says so in words.
 */
function parseToolReference(block: ObjectReader, losses: Losses): TextBlock[] {
  const name = block.string('tool_name');
  losses.hint('tool_reference');
  const mark = parseMark(block);
  block.close();
  return [{ type: 'text', text: `The tool ${name} is loaded.`, ...mark }];
}

function parseAssistant(content: unknown, path: string, losses: Losses): AssistantBlock[] {
  return parseList<AssistantBlock>(content, path, losses, (block, type, at) => {
    switch (type) {
      case 'text':
        return parseText(block);
      case 'thinking':
        return parseThinking(block);
      case 'redacted_thinking': {
        const seal = redactedSeal(block.string('data'));
        block.close();
        return [{ type: 'reasoning', text: '', seal }];
      }
      case 'tool_use':
        return [parseToolUse(block)];
      default:
        return unsupported(at, type, losses);
    }
  });
}

/** A signature may be the seal of a provider of another dialect, which the caller carries back. */
function parseThinking(block: ObjectReader): ReasoningBlock[] {
  const text = block.optionalString('thinking') ?? '';
  const signature = block.optionalString('signature') ?? '';
  block.close();
  if (text === '' && signature === '') return [];
  return [{ type: 'reasoning', text, seal: sealFromText(signature) ?? signatureSeal(signature) }];
}

function parseToolUse(block: ObjectReader): ToolCallBlock {
  const input = block.optionalObject('input');
  if (input === null) throw block.malformed('input', 'a JSON object');
  const call: ToolCallBlock = {
    type: 'tool_call',
    id: block.string('id'),
    name: block.string('name'),
    argumentsJson: JSON.stringify(input),
    ...parseMark(block),
  };
  block.neutral('caller', { type: 'direct' });
  block.close();
  return call;
}
