import fc from 'fast-check';
import type {
  Answer,
  AssistantBlock,
  Conversation,
  TextBlock,
  Tool,
  ToolCallBlock,
  ToolResultBlock,
  Turn,
} from '../conversation.ts';
import type { AnswerEvent, StreamBlock } from '../stream-events.ts';
import type { Usage } from '../usage.ts';

/** Random canonical values in normal form, within what both dialects can say. */

const unicode = fc.string({
  unit: fc.constantFrom('a', 'é', '"', '\\', '\n', '\r', ' ', '日', '👩‍🚀', '\u2028', '{', '\u0000', ':'),
  minLength: 1,
  maxLength: 12,
});
const name = fc.stringMatching(/^[a-zA-Z0-9_-]{1,20}$/);
// JSON has one zero.
const jsonObject: fc.Arbitrary<object> = fc
  .dictionary(fc.string({ maxLength: 5 }), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 4 })
  .map((value) => JSON.parse(JSON.stringify(value)));
const text: fc.Arbitrary<TextBlock> = unicode.map((each) => ({ type: 'text', text: each }));

const usage: fc.Arbitrary<Usage> = fc
  .record({ input: fc.nat(9999), output: fc.nat(9999), cacheRead: fc.nat(9999), cacheWrite5m: fc.nat(9999) })
  // Chat has one class of cache writes, and reasoning is part of the output.
  .chain((counts) => fc.nat(counts.output).map((reasoning) => ({ ...counts, cacheWrite1h: 0, reasoning })));

const tool: fc.Arbitrary<Tool> = fc.record({
  name,
  description: fc.option(unicode),
  schema: jsonObject.map((properties) => ({ type: 'object', properties })),
  strict: fc.option(fc.boolean()),
});

/** One exchange: a user turn, and an assistant turn with texts and calls that the next user turn answers. */
interface Exchange {
  readonly user: readonly TextBlock[];
  readonly said: readonly TextBlock[];
  readonly calls: readonly { name: string; arguments: object; result: readonly TextBlock[]; isError: boolean }[];
  readonly system: readonly TextBlock[];
}

const exchange: fc.Arbitrary<Exchange> = fc.record({
  user: fc.array(text, { minLength: 1, maxLength: 3 }),
  said: fc.array(text, { maxLength: 2 }),
  calls: fc.array(
    fc.record({ name, arguments: jsonObject, result: fc.array(text, { maxLength: 2 }), isError: fc.boolean() }),
    { maxLength: 3 },
  ),
  system: fc.array(text, { maxLength: 1 }),
});

function turnsOf(exchanges: readonly Exchange[], last: readonly TextBlock[]): Turn[] {
  let results: readonly ToolResultBlock[] = [];
  const turns: Turn[] = [];
  for (const [n, { user, said, calls, system }] of exchanges.entries()) {
    turns.push({ role: 'user', blocks: [...results, ...user] });
    const made = calls.map((call, i) => toolCall(call, `call_${n}_${i}`));
    const silent = said.length === 0 && made.length === 0;
    turns.push({ role: 'assistant', blocks: silent ? [{ type: 'text', text: 'ok' }] : [...said, ...made] });
    results = calls.map(({ result, isError }, i) => ({
      type: 'tool_result',
      callId: `call_${n}_${i}`,
      content: result,
      isError,
    }));
    if (system.length > 0 && results.length === 0) turns.push({ role: 'system', blocks: system });
  }
  turns.push({ role: 'user', blocks: [...results, ...last] });
  return turns;
}

function toolCall(call: { name: string; arguments: object }, id: string): ToolCallBlock {
  return { type: 'tool_call', id, name: call.name, argumentsJson: JSON.stringify(call.arguments) };
}

export const conversation: fc.Arbitrary<Conversation> = fc
  .record({
    exchanges: fc.array(exchange, { maxLength: 3 }),
    last: fc.array(text, { minLength: 1, maxLength: 2 }),
    system: fc.array(text, { maxLength: 2 }),
    tools: fc.uniqueArray(tool, { selector: (each) => each.name, maxLength: 3 }),
    choice: fc.constantFrom('auto' as const, 'none' as const, 'required' as const, 'tool' as const),
    parallel: fc.boolean(),
    temperature: fc.option(fc.constantFrom(0, 0.3, 1)),
    topP: fc.option(fc.constantFrom(0.1, 1)),
    stop: fc.array(fc.constantFrom('END', '###', 'ß'), { maxLength: 3 }),
    maxOutputTokens: fc.integer({ min: 1, max: 100_000 }),
    stream: fc.boolean(),
    user: fc.option(fc.stringMatching(/^[a-z]{1,64}$/)),
  })
  .map(({ exchanges, last, choice, parallel, ...rest }) => ({
    ...rest,
    model: 'm',
    turns: turnsOf(exchanges, last),
    streamUsage: true,
    toolChoice: toolChoice(choice, parallel, rest.tools),
  }));

function toolChoice(
  mode: 'auto' | 'none' | 'required' | 'tool',
  parallel: boolean,
  tools: readonly Tool[],
): Conversation['toolChoice'] {
  const [first] = tools;
  if (first === undefined) return { mode: 'auto', parallel: true };
  // Anthropic has no parallel calls to speak of where there are no calls.
  if (mode === 'none') return { mode, parallel: true };
  return mode === 'tool' ? { mode, name: first.name, parallel } : { mode, parallel };
}

const blocks: fc.Arbitrary<AssistantBlock[]> = fc
  .tuple(fc.array(text, { maxLength: 1 }), fc.array(fc.record({ name, arguments: jsonObject }), { maxLength: 3 }))
  .map(([texts, calls]) => [...texts, ...calls.map((call, i) => toolCall(call, `call_${i}`))]);

/** Answers with at most one text, before the calls: chat keeps no more. */
export const answer: fc.Arbitrary<Answer> = fc
  .record({ blocks, usage, ending: fc.constantFrom('end' as const, 'length' as const, 'refusal' as const) })
  .map(({ ending, ...rest }) => ({
    ...rest,
    id: 'answer_1',
    model: 'm',
    stop: rest.blocks.some(({ type }) => type === 'tool_call') && ending === 'end' ? 'tool' : ending,
    stopSequence: null,
  }));

/** A legal stream of an answer whose tool calls come interleaved, in random pieces. */
export const legalEvents: fc.Arbitrary<AnswerEvent[]> = fc
  .tuple(answer, fc.infiniteStream(fc.nat(1000)), fc.boolean())
  .map(([whole, dice, interleaved]) => eventsOf(whole, () => dice.next().value, interleaved));

function eventsOf(whole: Answer, roll: () => number, interleaved: boolean): AnswerEvent[] {
  const events: AnswerEvent[] = [{ type: 'start', id: whole.id, model: whole.model, usage: null }];
  const texts = whole.blocks.flatMap((block, index) => (block.type === 'text' ? blockEvents(block, index, roll) : []));
  const calls = whole.blocks.map((block, index) => (block.type === 'text' ? [] : blockEvents(block, index, roll)));
  events.push(...texts, ...(interleaved ? shuffled(calls, roll) : calls.flat()));
  events.push({ type: 'finish', stop: whole.stop, stopSequence: null, usage: whole.usage });
  return events.flatMap((event, i): AnswerEvent[] => (i > 0 && roll() % 7 === 0 ? [{ type: 'ping' }, event] : [event]));
}

function blockEvents(block: AssistantBlock, index: number, roll: () => number): AnswerEvent[] {
  const pieces = cut(block.type === 'text' ? block.text : block.argumentsJson, roll);
  return [
    { type: 'block_start', index, block: streamBlock(block) },
    ...pieces.map((piece): AnswerEvent =>
      block.type === 'text'
        ? { type: 'text_delta', index, text: piece }
        : { type: 'arguments_delta', index, json: piece },
    ),
    { type: 'block_stop', index },
  ];
}

function streamBlock(block: AssistantBlock): StreamBlock {
  return block.type === 'text' ? { kind: 'text' } : { kind: 'tool_call', id: block.id, name: block.name };
}

/** The lists' events in random order, each list's own kept, and no list begun before the one before it. */
function shuffled(lists: readonly AnswerEvent[][], roll: () => number): AnswerEvent[] {
  const events: AnswerEvent[] = [];
  const left = lists.filter((list) => list.length > 0).map((list) => [...list]);
  while (left.length > 0) {
    const begun = left.findIndex(([first]) => first?.type === 'block_start');
    const list = left[roll() % (begun === -1 ? left.length : begun + 1)] ?? [];
    events.push(...list.splice(0, 1));
    if (list.length === 0) left.splice(left.indexOf(list), 1);
  }
  return events;
}

/** Cuts text in random places, also between the halves of a character. */
function cut(whole: string, roll: () => number): string[] {
  const pieces: string[] = [];
  for (let at = 0; at < whole.length;) {
    const length = 1 + (roll() % 6);
    pieces.push(whole.slice(at, at + length));
    at += length;
  }
  return pieces;
}

/** Any events in any order. */
export const anyEvents: fc.Arbitrary<AnswerEvent[]> = fc.array(
  fc.oneof(
    fc.record({
      type: fc.constant('start' as const),
      id: fc.constant('x'),
      model: fc.constant('m'),
      usage: fc.option(usage),
    }),
    fc.record({
      type: fc.constant('block_start' as const),
      index: fc.nat(4),
      block: fc.oneof(
        fc.constant({ kind: 'text' as const }),
        fc.constant({ kind: 'tool_call' as const, id: 'c', name: 'n' }),
      ),
    }),
    fc.record({ type: fc.constant('text_delta' as const), index: fc.nat(4), text: unicode }),
    fc.record({
      type: fc.constant('arguments_delta' as const),
      index: fc.nat(4),
      json: fc.constantFrom('{', '}', '{}', 'x'),
    }),
    fc.record({ type: fc.constant('block_stop' as const), index: fc.nat(4) }),
    fc.record({
      type: fc.constant('finish' as const),
      stop: fc.constantFrom('end' as const, 'length' as const),
      stopSequence: fc.constant(null),
      usage: fc.option(usage),
    }),
    fc.constant({ type: 'ping' as const }),
  ),
  { maxLength: 20 },
);
