import type {
  AssistantBlock,
  ContentBlock,
  Conversation,
  TextBlock,
  Tool,
  ToolCallBlock,
  ToolResultBlock,
  Turn,
} from '../conversation.ts';
import { freeformArguments, freeformInput } from '../freeform-tools.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import { readToolError, writeToolError } from '../openai-content.ts';
import { TurnBuilder } from '../turn-builder.ts';
import { parseContent, parseText, writeInput } from './content.ts';
import { parseCarriedReasoning, writeReasoning } from './reasoning-item.ts';
import { qualifiedName, splitName } from './tools.ts';

/** An item of the input, and what kind it is. */
interface Item {
  readonly type: string;
  readonly path: string;
  readonly reader: ObjectReader;
}

/** Instructions, and system and developer messages at the start, are the system prompt; later ones are turns of their own. */
export function parseInput(body: ObjectReader, losses: Losses): Pick<Conversation, 'system' | 'turns'> {
  const system: TextBlock[] = [];
  const instructions = body.optionalString('instructions') ?? '';
  if (instructions !== '') system.push({ type: 'text', text: instructions });
  const turns = new TurnBuilder();
  for (const item of resultsFirst(readItems(body, losses))) parseItem(item, system, turns, losses);
  return { system, turns: turns.turns };
}

function readItems(body: ObjectReader, losses: Losses): Item[] {
  const input = body.any('input');
  if (typeof input === 'string') return [itemOf({ role: 'user', content: input }, 'input', losses)];
  const list = body.list('input');
  if (list.length === 0) throw body.malformed('input', 'a string, or a list with at least one item');
  return list.map((json, i) => itemOf(json, `input[${i}]`, losses));
}

function itemOf(json: unknown, path: string, losses: Losses): Item {
  const reader = new ObjectReader(json, path, losses);
  return { type: reader.optionalString('type') ?? 'message', path, reader };
}

const resultTypes = new Set(['function_call_output', 'custom_tool_call_output']);

/** Other dialects want the results of tools right after their calls; here a message may come between. */
function resultsFirst(items: readonly Item[]): Item[] {
  const sorted: Item[] = [];
  let between: Item[] = [];
  for (const item of items) {
    if (isShown(item)) between.push(item);
    else if (resultTypes.has(item.type)) sorted.push(item);
    else {
      for (const each of between) sorted.push(each);
      sorted.push(item);
      between = [];
    }
  }
  return [...sorted, ...between];
}

/** Whether the item is a message of anybody but the model. */
function isShown({ type, reader }: Item): boolean {
  return type === 'message' && reader.any('role') !== 'assistant';
}

function parseItem({ type, path, reader }: Item, system: TextBlock[], turns: TurnBuilder, losses: Losses): void {
  // Names by which the provider knows the item; nothing is looked up by them here.
  reader.any('id');
  reader.any('status');
  switch (type) {
    case 'message':
      parseMessage(reader, path, system, turns, losses);
      break;
    case 'function_call':
    case 'custom_tool_call':
      turns.assistant([parseCall(reader, type)], path);
      break;
    case 'function_call_output':
    case 'custom_tool_call_output':
      turns.toolResult(parseResult(reader, losses), path);
      break;
    case 'reasoning':
      turns.assistant([parseCarriedReasoning(reader, losses)], path);
      break;
    default:
      losses.drop(path, `is an item of type "${type}", which has no counterpart on the other side`);
      return;
  }
  reader.close();
}

function parseMessage(
  message: ObjectReader,
  path: string,
  system: TextBlock[],
  turns: TurnBuilder,
  losses: Losses,
): void {
  switch (message.string('role')) {
    case 'system':
    case 'developer': {
      const blocks = parseText(message, losses);
      if (turns.turns.length > 0) turns.system(blocks);
      else for (const block of blocks) system.push(block);
      break;
    }
    case 'user':
      turns.user(parseContent(message, 'content', losses));
      break;
    case 'assistant':
      // Whether it was said on the way or at the end.
      message.hint('phase');
      turns.assistant(parseText(message, losses), path);
      break;
    default:
      throw message.malformed('role', '"system", "developer", "user" or "assistant"');
  }
}

function parseCall(call: ObjectReader, type: 'function_call' | 'custom_tool_call'): ToolCallBlock {
  const field = type === 'function_call' ? 'arguments' : 'input';
  const text = call.optionalString(field);
  if (text === null) throw call.malformed(field, 'a string');
  call.neutral('caller', { type: 'direct' });
  call.neutral('async', false);
  return {
    type: 'tool_call',
    id: call.string('call_id'),
    name: qualifiedName(call.optionalString('namespace'), call.string('name')),
    argumentsJson: type === 'function_call' ? text : freeformArguments(text),
  };
}

function parseResult(result: ObjectReader, losses: Losses): ToolResultBlock {
  const callId = result.string('call_id');
  const content = parseContent(result, 'output', losses);
  // What its call says already.
  result.any('name');
  result.any('namespace');
  result.neutral('caller', { type: 'direct' });
  return { type: 'tool_result', callId, ...readToolError(content) };
}

/** The conversation as a list of items. */
export function writeInputItems(conversation: Conversation, losses: Losses): unknown[] {
  const { system, turns } = conversation;
  const tools = new Map(conversation.tools.map((tool) => [tool.name, tool]));
  /** The calls of free text tools, whose results are items of another type. */
  const freeformCalls = new Set<string>();
  return [
    ...(system.length > 0 ? [writeMessage('developer', system)] : []),
    ...turns.flatMap((turn) => writeTurn(turn, tools, freeformCalls, losses)),
  ];
}

function writeTurn(
  turn: Turn,
  tools: ReadonlyMap<string, Tool>,
  freeformCalls: Set<string>,
  losses: Losses,
): unknown[] {
  switch (turn.role) {
    case 'system':
      return [writeMessage('developer', turn.blocks)];
    case 'assistant':
      return turn.blocks.map((block) => writeSaid(block, tools, freeformCalls, losses));
    default: {
      const results = turn.blocks.filter((block) => block.type === 'tool_result');
      const content = turn.blocks.filter((block) => block.type !== 'tool_result');
      const written = results.map((result) => writeResult(result, freeformCalls, losses));
      return content.length === 0 ? written : [...written, writeMessage('user', content)];
    }
  }
}

function writeMessage(role: 'developer' | 'user', blocks: readonly ContentBlock[]): unknown {
  return { type: 'message', role, content: blocks.map(writeInput) };
}

function writeSaid(
  block: AssistantBlock,
  tools: ReadonlyMap<string, Tool>,
  freeformCalls: Set<string>,
  losses: Losses,
): unknown {
  if (block.type === 'reasoning') return writeReasoning(block);
  // Only what the model is shown can be marked here, not what it said.
  if (block.cache) losses.hint('cache_control');
  if (block.type === 'text') {
    const content = [{ type: 'output_text', text: block.text, annotations: [] }];
    return { type: 'message', role: 'assistant', content };
  }
  const { id, name, argumentsJson } = block;
  const tool = tools.get(name);
  const call = { call_id: id, ...splitName(tool ?? { name }) };
  if (!tool?.freeform) return { type: 'function_call', ...call, arguments: argumentsJson };
  freeformCalls.add(id);
  return { type: 'custom_tool_call', ...call, input: freeformInput(argumentsJson) };
}

function writeResult(
  { callId, content, isError, cache }: ToolResultBlock,
  freeformCalls: ReadonlySet<string>,
  losses: Losses,
): unknown {
  if (cache) losses.hint('cache_control');
  return {
    type: freeformCalls.has(callId) ? 'custom_tool_call_output' : 'function_call_output',
    call_id: callId,
    output: writeOutput(isError ? writeToolError(content) : content),
  };
}

/** A string for one text, since not every server takes a list. */
function writeOutput(content: readonly ContentBlock[]): unknown {
  const [first, ...others] = content;
  if (first === undefined) return '';
  return others.length === 0 && first.type === 'text' && !first.cache ? first.text : content.map(writeInput);
}
