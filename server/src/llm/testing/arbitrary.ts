import fc from 'fast-check';
import type {
  Answer,
  AssistantBlock,
  CacheMark,
  ContentBlock,
  Conversation,
  DocumentBlock,
  ImageBlock,
  OutputFormat,
  ReasoningBlock,
  ReasoningRequest,
  Seal,
  TextBlock,
  Tool,
  ToolCallBlock,
  ToolResultBlock,
  Turn,
} from '../conversation.ts';
import { type Dialect, dialects } from '../dialect.ts';
import { freeformArguments, freeformSchema } from '../freeform-tools.ts';
import type { AnswerEvent, StreamBlock } from '../stream-events.ts';
import type { Usage } from '../usage.ts';

/** Random canonical values in normal form, within what given dialects can say. */

/** What not every dialect can say so that it is read back as it was. */
const sayableBy = {
  imageDetail: ['chat', 'responses'],
  untitledDocuments: ['anthropic'],
  documentUrls: ['anthropic', 'responses'],
  resultMedia: ['anthropic', 'responses'],
  resultMarks: ['anthropic', 'chat'],
  toolMarks: ['anthropic'],
  anyStrictness: ['anthropic', 'chat'],
  stop: ['anthropic', 'chat'],
  stopSequence: ['anthropic', 'chat'],
  namedFormats: ['chat', 'responses'],
  namelessFormats: ['anthropic'],
  verbosity: ['chat', 'responses'],
  minimalEffort: ['chat', 'responses'],
  reasoningBudgets: ['anthropic'],
  freeformTools: ['responses'],
} satisfies Record<string, readonly Dialect[]>;

type Sayable = Record<keyof typeof sayableBy, boolean>;

function sayable(among: readonly Dialect[]): Sayable {
  const can = Object.entries(sayableBy).map(([what, by]) => [
    what,
    among.every((dialect) => by.some((each) => each === dialect)),
  ]);
  return Object.fromEntries(can);
}

const unicode = fc.string({
  unit: fc.constantFrom('a', 'é', '"', '\\', '\n', '\r', ' ', '日', '👩‍🚀', '\u2028', '{', '\u0000', ':'),
  minLength: 1,
  maxLength: 12,
});
const name = fc.stringMatching(/^[a-zA-Z0-9_-]{1,20}$/);
const base64 = fc.uint8Array({ minLength: 1, maxLength: 6 }).map((bytes) => Buffer.from(bytes).toString('base64'));
// JSON has one zero.
const jsonObject: fc.Arbitrary<object> = fc
  .dictionary(fc.string({ maxLength: 5 }), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 4 })
  .map((value) => JSON.parse(JSON.stringify(value)));
const text: fc.Arbitrary<TextBlock> = unicode.map((each) => ({ type: 'text', text: each }));
const mark: fc.Arbitrary<CacheMark> = fc.constantFrom({ lifetime: 'usual' }, { lifetime: 'long' });

const usage: fc.Arbitrary<Usage> = fc
  .record({ input: fc.nat(9999), output: fc.nat(9999), cacheRead: fc.nat(9999), cacheWrite5m: fc.nat(9999) })
  // Chat has one class of cache writes, and reasoning is part of the output.
  .chain((counts) => fc.nat(counts.output).map((reasoning) => ({ ...counts, cacheWrite1h: 0, reasoning })));

function image(can: Sayable): fc.Arbitrary<ImageBlock> {
  return fc.record({
    type: fc.constant('image'),
    source: fc.oneof(
      fc.record({ kind: fc.constant('base64'), mediaType: fc.constantFrom('image/png', 'image/webp'), data: base64 }),
      fc.record({ kind: fc.constant('url'), url: fc.constant('https://x.test/a.png?b=c,d') }),
    ),
    detail: can.imageDetail ? fc.option(fc.constantFrom('auto', 'high')) : fc.constant(null),
  });
}

function document(can: Sayable): fc.Arbitrary<DocumentBlock> {
  const sources: fc.Arbitrary<DocumentBlock['source']>[] = [
    fc.record({ kind: fc.constant('base64'), mediaType: fc.constant('application/pdf'), data: base64 }),
    unicode.map((each) => ({ kind: 'text', text: each })),
  ];
  if (can.documentUrls) sources.push(fc.constant({ kind: 'url', url: 'https://x.test/a.pdf' }));
  const title = fc.constantFrom('a.pdf', 'bericht für 日.txt');
  return fc.record({
    type: fc.constant('document'),
    source: fc.oneof(...sources),
    title: can.untitledDocuments ? fc.option(title) : title,
  });
}

function content(can: Sayable): fc.Arbitrary<ContentBlock> {
  return fc.oneof({ weight: 4, arbitrary: text }, image(can), document(can));
}

function tool(can: Sayable): fc.Arbitrary<Tool> {
  const fn: fc.Arbitrary<Tool> = fc.record({
    name,
    description: fc.option(unicode),
    schema: jsonObject.map((properties) => ({ type: 'object', properties })),
    strict: can.anyStrictness ? fc.option(fc.boolean()) : fc.boolean(),
  });
  if (!can.freeformTools) return fn;
  const freeform = fc
    .record({ name, description: fc.option(unicode) })
    .map((each): Tool => ({ ...each, schema: freeformSchema, strict: null, freeform: true }));
  return fc.oneof({ weight: 3, arbitrary: fn }, freeform);
}

/** Seals as the provider of a dialect makes them. */
const nativeSeals: Readonly<Record<Dialect, fc.Arbitrary<{ readonly text: string; readonly seal: Seal }>>> = {
  anthropic: fc.oneof(
    fc.record({ text: unicode, signature: base64 }).map(({ text: shown, signature }) => ({
      text: shown,
      seal: { dialect: 'anthropic' as const, members: { signature } },
    })),
    base64.map((data) => ({ text: '', seal: { dialect: 'anthropic' as const, members: { redacted: data } } })),
  ),
  chat: fc
    .record({
      text: unicode,
      fields: fc.constantFrom(['reasoning_content'], ['reasoning'], ['reasoning_content', 'reasoning']),
      data: fc.option(base64),
    })
    .map(({ text: shown, fields, data }) => ({
      text: shown,
      seal: {
        dialect: 'chat' as const,
        members: { fields, ...(data !== null && { reasoning_details: [{ type: 'reasoning.encrypted', data }] }) },
      },
    })),
  responses: fc.record({ text: fc.oneof(fc.constant(''), unicode), id: name, encrypted: base64 }).map((each) => ({
    text: each.text,
    seal: { dialect: 'responses' as const, members: { id: `rs_${each.id}`, encrypted_content: each.encrypted } },
  })),
};

/** The reasoning of a turn or answer, as its own provider gives it. */
export function nativeReasoning(dialect: Dialect): fc.Arbitrary<ReasoningBlock[]> {
  const block = nativeSeals[dialect].map((each): ReasoningBlock => ({ type: 'reasoning', ...each }));
  // Chat has one place for all reasoning of a message.
  return fc.array(block, { maxLength: dialect === 'chat' ? 1 : 2 });
}

/** One exchange: a user turn, and an assistant turn with texts and calls that the next user turn answers. */
interface Exchange {
  readonly user: readonly ContentBlock[];
  readonly reasoning: readonly ReasoningBlock[];
  readonly said: readonly TextBlock[];
  readonly calls: readonly {
    name: string;
    arguments: object;
    result: readonly ContentBlock[];
    isError: boolean;
    mark: CacheMark | null;
  }[];
  readonly system: readonly TextBlock[];
}

function exchange(among: readonly Dialect[], can: Sayable): fc.Arbitrary<Exchange> {
  const [first] = among;
  const own = first !== undefined && among.every((each) => each === first) ? first : null;
  return fc.record({
    user: fc.array(content(can), { minLength: 1, maxLength: 3 }),
    reasoning: own === null ? fc.constant([]) : nativeReasoning(own),
    said: fc.array(text, { maxLength: 2 }),
    calls: fc.array(
      fc.record({
        name,
        arguments: jsonObject,
        result: fc.array(can.resultMedia ? content(can) : text, { maxLength: 2 }),
        isError: fc.boolean(),
        mark: can.resultMarks ? fc.option(mark) : fc.constant(null),
      }),
      { maxLength: 3 },
    ),
    system: fc.array(text, { maxLength: 1 }),
  });
}

function turnsOf(exchanges: readonly Exchange[], last: readonly ContentBlock[], freeform: ReadonlySet<string>): Turn[] {
  let results: readonly ToolResultBlock[] = [];
  const turns: Turn[] = [];
  for (const [n, { user, reasoning, said, calls, system }] of exchanges.entries()) {
    turns.push({ role: 'user', blocks: [...results, ...user] });
    const made = calls.map((call, i) => toolCall(call, `call_${n}_${i}`, freeform));
    const spoken: readonly TextBlock[] = said.length + made.length === 0 ? [{ type: 'text', text: 'ok' }] : said;
    turns.push({ role: 'assistant', blocks: [...reasoning, ...spoken, ...made] });
    results = calls.map(({ result, isError, mark: cache }, i) => ({
      type: 'tool_result',
      callId: `call_${n}_${i}`,
      content: result,
      isError,
      // An empty result has no place for a mark in chat, and Anthropic takes four marks.
      ...(cache !== null && result.length > 0 && n === 0 && i === 0 && { cache }),
    }));
    if (system.length > 0 && results.length === 0) turns.push({ role: 'system', blocks: system });
  }
  turns.push({ role: 'user', blocks: [...results, ...last] });
  return turns;
}

function toolCall(
  call: { name: string; arguments: object },
  id: string,
  freeform: ReadonlySet<string> = new Set(),
): ToolCallBlock {
  const json = JSON.stringify(call.arguments);
  return {
    type: 'tool_call',
    id,
    name: call.name,
    argumentsJson: freeform.has(call.name) ? freeformArguments(json) : json,
  };
}

function outputFormat(can: Sayable): fc.Arbitrary<OutputFormat | null> {
  const schema = jsonObject.map((properties) => ({ type: 'object', properties }));
  if (can.namedFormats) {
    const named = fc.record({ name, description: fc.option(unicode), schema, strict: fc.option(fc.boolean()) });
    return fc.option(fc.oneof(named, fc.constant({ name: null, description: null, schema: null, strict: null })));
  }
  if (!can.namelessFormats) return fc.constant(null);
  return fc.option(schema.map((each) => ({ name: null, description: null, schema: each, strict: true })));
}

function reasoningRequest(can: Sayable): fc.Arbitrary<ReasoningRequest | null> {
  const efforts = (['none', 'low', 'medium', 'high', 'xhigh', 'max'] as const).map((effort): ReasoningRequest => ({
    effort,
    budgetTokens: null,
    show: null,
  }));
  if (can.minimalEffort) efforts.push({ effort: 'minimal', budgetTokens: null, show: null });
  if (can.reasoningBudgets) efforts.push({ effort: null, budgetTokens: 2048, show: true });
  return fc.option(fc.constantFrom(...efforts));
}

/** Conversations that all of the dialects can say, whatever way they go between them. */
export function conversationIn(among: readonly Dialect[]): fc.Arbitrary<Conversation> {
  const can = sayable(among);
  return fc
    .record({
      exchanges: fc.array(exchange(among, can), { maxLength: 3 }),
      last: fc.array(content(can), { minLength: 1, maxLength: 2 }),
      system: fc.array(text, { maxLength: 2 }),
      tools: fc.uniqueArray(tool(can), { selector: (each) => each.name, maxLength: 3 }),
      choice: fc.constantFrom('auto' as const, 'none' as const, 'required' as const, 'tool' as const),
      parallel: fc.boolean(),
      marks: fc.record({ system: fc.option(mark), tools: fc.option(mark), last: fc.option(mark) }),
      temperature: fc.option(fc.constantFrom(0, 0.3, 1)),
      topP: fc.option(fc.constantFrom(0.1, 1)),
      stop: can.stop ? fc.array(fc.constantFrom('END', '###', 'ß'), { maxLength: 3 }) : fc.constant([]),
      maxOutputTokens: fc.integer({ min: 5000, max: 100_000 }),
      reasoning: reasoningRequest(can),
      outputFormat: outputFormat(can),
      verbosity: can.verbosity ? fc.option(fc.constantFrom('low', 'medium', 'high')) : fc.constant(null),
      serviceTier: fc.option(fc.constantFrom('auto', 'standard')),
      stream: fc.boolean(),
      user: fc.option(fc.stringMatching(/^[a-z]{1,64}$/)),
    })
    .map(({ exchanges, last, choice, parallel, marks, system, tools, ...rest }) => {
      const freeform = new Set(tools.filter((each) => each.freeform).map((each) => each.name));
      return {
        ...rest,
        model: 'm',
        system: withMark(system, marks.system),
        tools: can.toolMarks ? withMark(tools, marks.tools) : tools,
        turns: turnsOf(exchanges, withMark(last, marks.last), freeform),
        streamUsage: true,
        toolChoice: toolChoice(choice, parallel, tools),
      };
    });
}

/** Within what every dialect can say. */
export const conversation: fc.Arbitrary<Conversation> = conversationIn(dialects);

function withMark<T extends object>(blocks: readonly T[], cache: CacheMark | null): T[] {
  return blocks.map((block, i) => (cache !== null && i === blocks.length - 1 ? { ...block, cache } : block));
}

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

const endings = ['end', 'length', 'refusal'] as const;

/** Answers with at most one text, before the calls: chat keeps no more. */
export function answerIn(among: readonly Dialect[]): fc.Arbitrary<Answer> {
  const stops = sayable(among).stopSequence ? ([...endings, 'stop_sequence'] as const) : endings;
  return fc.record({ blocks, usage, ending: fc.constantFrom(...stops) }).map(({ ending, ...rest }) => {
    const called = rest.blocks.some(({ type }) => type === 'tool_call');
    return {
      ...rest,
      id: 'answer_1',
      model: 'm',
      stop: called && (ending === 'end' || ending === 'stop_sequence') ? 'tool' : ending,
      stopSequence: ending === 'stop_sequence' && !called ? 'END' : null,
    };
  });
}

/** Within what every dialect can say. */
export const answer: fc.Arbitrary<Answer> = answerIn(dialects);

/** Answers as the provider of a dialect gives them, with reasoning that it knows again. */
export function reasonedAnswer(dialect: Dialect): fc.Arbitrary<Answer> {
  return fc
    .tuple(nativeReasoning(dialect), answer)
    .map(([reasoning, whole]) => ({ ...whole, blocks: [...reasoning, ...whole.blocks] }));
}

/** A legal stream of an answer whose tool calls come interleaved, in random pieces. */
export const legalEvents: fc.Arbitrary<AnswerEvent[]> = eventsOfAny(answer);

/** As `legalEvents`, with the reasoning of a dialect's provider. */
export function reasonedEvents(dialect: Dialect): fc.Arbitrary<AnswerEvent[]> {
  return eventsOfAny(reasonedAnswer(dialect));
}

function eventsOfAny(answers: fc.Arbitrary<Answer>): fc.Arbitrary<AnswerEvent[]> {
  return fc
    .tuple(answers, fc.infiniteStream(fc.nat(1000)), fc.boolean())
    .map(([whole, dice, interleaved]) => eventsOf(whole, () => dice.next().value, interleaved));
}

function eventsOf(whole: Answer, roll: () => number, interleaved: boolean): AnswerEvent[] {
  const events: AnswerEvent[] = [{ type: 'start', id: whole.id, model: whole.model, usage: null }];
  const each = whole.blocks.map((block, index) => ({ block, events: blockEvents(block, index, roll) }));
  const calls = each.filter(({ block }) => block.type === 'tool_call').map((call) => call.events);
  events.push(...each.filter(({ block }) => block.type !== 'tool_call').flatMap((said) => said.events));
  events.push(...(interleaved ? shuffled(calls, roll) : calls.flat()));
  events.push({ type: 'finish', stop: whole.stop, stopSequence: whole.stopSequence, usage: whole.usage });
  return events.flatMap((event, i): AnswerEvent[] => (i > 0 && roll() % 7 === 0 ? [{ type: 'ping' }, event] : [event]));
}

function blockEvents(block: AssistantBlock, index: number, roll: () => number): AnswerEvent[] {
  const pieces = cut(block.type === 'tool_call' ? block.argumentsJson : block.text, roll);
  const seal = block.type === 'reasoning' ? block.seal : null;
  return [
    { type: 'block_start', index, block: streamBlock(block) },
    ...pieces.map((piece) => delta(block.type, index, piece)),
    ...(seal === null ? [] : [{ type: 'seal' as const, index, seal }]),
    { type: 'block_stop', index },
  ];
}

function delta(type: AssistantBlock['type'], index: number, piece: string): AnswerEvent {
  switch (type) {
    case 'text':
      return { type: 'text_delta', index, text: piece };
    case 'reasoning':
      return { type: 'reasoning_delta', index, text: piece };
    default:
      return { type: 'arguments_delta', index, json: piece };
  }
}

function streamBlock(block: AssistantBlock): StreamBlock {
  return block.type === 'tool_call' ? { kind: 'tool_call', id: block.id, name: block.name } : { kind: block.type };
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
        fc.constant({ kind: 'reasoning' as const }),
        fc.constant({ kind: 'tool_call' as const, id: 'c', name: 'n' }),
      ),
    }),
    fc.record({ type: fc.constant('text_delta' as const), index: fc.nat(4), text: unicode }),
    fc.record({ type: fc.constant('reasoning_delta' as const), index: fc.nat(4), text: unicode }),
    fc.record({
      type: fc.constant('seal' as const),
      index: fc.nat(4),
      seal: fc.constantFrom(...dialects).chain((dialect) => nativeSeals[dialect].map(({ seal }) => seal)),
    }),
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
