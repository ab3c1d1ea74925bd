import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { toolCallsPerAnswerMax } from '../../base/limits.ts';
import { fullCapabilities } from '../capabilities.ts';
import { type Dialect, dialects } from '../dialect.ts';
import { Losses } from '../losses.ts';
import { readAnthropicStream } from '../testing/anthropic-grammar.ts';
import { conversation } from '../testing/arbitrary.ts';
import { readChatStream } from '../testing/chat-grammar.ts';
import { readResponsesStream } from '../testing/responses-grammar.ts';
import { wireFormats } from '../wire-formats.ts';
import { simulate } from './simulate.ts';

const read = { anthropic: readAnthropicStream, chat: readChatStream, responses: readResponsesStream };

/** A request of what a user says, with a limit. */
function said(dialect: Dialect, content: unknown, limit = 1000): object {
  const turns = [{ role: 'user', content }];
  return dialect === 'responses' ? { input: turns, max_output_tokens: limit } : { messages: turns, max_tokens: limit };
}

function ask(dialect: Dialect, change: object = {}) {
  const body = { model: 'sim', ...said(dialect, 'hi'), ...change };
  return simulate({ dialect, body, requestId: 'req_1' });
}

function answerOf(dialect: Dialect, change: object = {}) {
  const simulation = ask(dialect, change);
  if (simulation.kind !== 'answer') throw new Error(JSON.stringify(simulation));
  return wireFormats[dialect].parseAnswer(JSON.parse(simulation.body), new Losses('refuse', 'answer'));
}

function streamOf(dialect: Dialect, model: string, change: object = {}) {
  const simulation = ask(dialect, { model, stream: true, ...change });
  if (simulation.kind !== 'stream') throw new Error(JSON.stringify(simulation));
  const events = [...simulation.events];
  const text = events.map((event) => event.text).join('');
  return {
    events,
    text,
    content: read[dialect](text),
    waitedMs: events.reduce((sum, { afterMs }) => sum + afterMs, 0),
  };
}

function errorOf(dialect: Dialect, model: string) {
  const simulation = ask(dialect, { model });
  if (simulation.kind !== 'error') throw new Error(simulation.kind);
  return { status: simulation.status, message: JSON.parse(simulation.body).error.message as string };
}

const textOf = (answer: ReturnType<typeof answerOf>) =>
  answer.blocks.map((block) => (block.type === 'text' ? block.text : '')).join('');

describe.each(dialects)('the simulated model in the %s dialect', (dialect) => {
  test('echoes, marks what it says, counts tokens, and says the same again', () => {
    const answer = answerOf(dialect);
    expect(textOf(answer)).toBe('[simulated] You said: hi');
    expect(answer).toMatchObject({ stop: 'end', usage: { input: 1, output: 6 } });
    expect(ask(dialect)).toEqual(ask(dialect));
  });

  test('answers in JSON where it is held to a schema, unless a script says what to answer', () => {
    const schema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
    const held = {
      anthropic: { output_config: { format: { type: 'json_schema', schema } } },
      chat: { response_format: { type: 'json_schema', json_schema: { name: 'place', schema } } },
      responses: { text: { format: { type: 'json_schema', name: 'place', schema } } },
    }[dialect];
    expect(JSON.parse(textOf(answerOf(dialect, held)))).toEqual({ city: 'simulated' });
    const script = said(dialect, 'sim script:\nsay done');
    expect(textOf(answerOf(dialect, { ...held, ...script }))).toBe('[simulated] done');
  });

  test('marks its text and writes a legal stream for any conversation', () => {
    fc.assert(
      fc.property(conversation, (value) => {
        const target = { model: 'sim', capabilities: fullCapabilities, lossy: 'refuse' } as const;
        const asked = { ...value, stream: true, stop: [], maxOutputTokens: 1000 };
        const body = JSON.parse(wireFormats[dialect].writeRequest(asked, target, new Losses('allow')));
        const { content } = streamOf(dialect, 'sim', body);
        expect(content.ending).toBe('finished');
        expect(content.blocks[0]).toMatchObject({ type: 'text', text: expect.stringMatching(/^\[simulated\] /) });
      }),
    );
  });

  test('never says more than max_tokens, in whole characters', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), fc.string({ unit: 'grapheme', maxLength: 30 }), (limit, content) => {
        const answer = answerOf(dialect, said(dialect, `x${content}`, limit));
        expect(answer.usage?.output).toBeLessThanOrEqual(limit);
        expect(`[simulated] You said: x${content}`.startsWith(textOf(answer))).toBe(true);
        expect(answer.stop).toBe(textOf(answer) === `[simulated] You said: x${content}` ? 'end' : 'length');
      }),
    );
  });

  test('says as many tokens as its name asks for, at that rate and after that latency', () => {
    const { content, waitedMs, events } = streamOf(dialect, 'sim-latency-200-tokens-50-rate-100');
    const [block] = content.blocks;
    expect(block?.type === 'text' && block.text.length).toBe(200);
    expect(waitedMs).toBeCloseTo(200 + 50 * 10);
    expect(events[0]?.afterMs).toBe(200);
  });

  test('is slow by name, and as fast as it is read otherwise', () => {
    expect(streamOf(dialect, 'sim-slow').events[0]?.afterMs).toBe(1000);
    expect(streamOf(dialect, 'sim').waitedMs).toBe(0);
  });

  test('answers with the error that its name asks for', () => {
    expect(errorOf(dialect, 'sim-error-429')).toMatchObject({
      status: 429,
      message: expect.stringContaining('[simulated]'),
    });
    expect(errorOf(dialect, 'sim-latency-5-error-500').status).toBe(500);
  });

  test('breaks its stream after the events that its name asks for: by an error event, or by silence', () => {
    const whole = streamOf(dialect, 'sim').events.length;
    for (const after of [0, 1, 3, whole - 1]) {
      const broken = streamOf(dialect, `sim-error-after-${after}`);
      expect(broken.events).toHaveLength(after + 1);
      expect(broken.content.ending).toBe('failed');
      const cut = streamOf(dialect, `sim-cut-after-${after}`);
      expect(cut.events).toHaveLength(after);
      expect(cut.content.ending).toBe('open');
    }
  });

  test.each([
    'sim-',
    'sim-fast',
    'sim-tokens',
    'sim-tokens-3',
    'sim-tokens-x',
    'sim-error-200',
    'sim-slowly',
    'simulator',
    'gpt',
  ])('does not exist as "%s", and says what does', (model) => {
    expect(errorOf(dialect, model)).toMatchObject({
      status: 404,
      message: expect.stringMatching(/-slow.*-latency-N.*-cut-after-N/),
    });
  });

  test('refuses a malformed request in its own dialect', () => {
    const simulation = ask(dialect, { messages: 5, input: 5 });
    expect(simulation).toMatchObject({ kind: 'error', status: 400 });
  });

  test('ignores what it cannot take, and says so', () => {
    const text = dialect === 'responses' ? 'input_text' : 'text';
    const content = [{ type: 'hologram' }, { type: text, text: 'look' }];
    expect(ask(dialect, said(dialect, content))).toMatchObject({
      kind: 'answer',
      dropped: [dialect === 'responses' ? 'input.content' : 'messages.content'],
    });
  });
});

test.each([
  ['anthropic', { stop_sequences: ['said'] }, 'said'],
  ['chat', { stop: ['said'] }, 'said'],
] as const)('the simulated model stops at a stop sequence in the %s dialect', (dialect, change, sequence) => {
  const answer = answerOf(dialect, change);
  expect(textOf(answer)).toBe('[simulated] You ');
  expect(answer.stopSequence).toBe(sequence);
});

describe('the tools of the simulated model', () => {
  const schema = { type: 'object', properties: { q: { type: 'string' } }, required: ['q'] };
  const tools = ['search', 'fs.read'].map((name) => ({ type: 'function', function: { name, parameters: schema } }));
  const say = (content: string, change: object = {}) =>
    answerOf('chat', { tools, messages: [{ role: 'user', content }], ...change });
  const called = (answer: ReturnType<typeof answerOf>) =>
    answer.blocks.flatMap((block) => (block.type === 'tool_call' ? [block.name] : []));

  test.each([
    ['Please use the tool search.', ['search']],
    ['call `fs.read`, then call search!', ['fs.read', 'search']],
    ['call search and call search', ['search', 'search']],
    ['call nothing', []],
    ['recall search', []],
    ['search', []],
  ])('are called as asked in "%s"', (content, names) => {
    const answer = say(content);
    expect(called(answer)).toEqual(names);
    expect(answer.stop).toBe(names.length > 0 ? 'tool' : 'end');
  });

  test('are called as the tool choice says', () => {
    expect(called(say('call search', { tool_choice: 'none' }))).toEqual([]);
    expect(called(say('hi', { tool_choice: 'required' }))).toEqual(['search']);
    expect(called(say('hi', { tool_choice: { type: 'function', function: { name: 'fs.read' } } }))).toEqual([
      'fs.read',
    ]);
    expect(called(say('call search, call fs.read', { parallel_tool_calls: false }))).toEqual(['search']);
  });

  test('are called so many times at most, however often the text asks', () => {
    expect(called(say('call search. '.repeat(1000), { max_tokens: 100_000 }))).toHaveLength(toolCallsPerAnswerMax);
  });

  test('are left uncalled where the call does not fit in max_tokens', () => {
    const answer = say('call search', { max_tokens: 8 });
    expect(called(answer)).toEqual([]);
    expect(answer.stop).toBe('length');
  });

  test('are answered by what they gave, errors told apart', () => {
    const call = { id: 'c', type: 'function', function: { name: 'search', arguments: '{}' } };
    const messages = [
      { role: 'user', content: 'call search' },
      { role: 'assistant', tool_calls: [call] },
      { role: 'tool', tool_call_id: 'c', content: '[tool error]\nno network' },
    ];
    expect(textOf(answerOf('chat', { tools, messages }))).toBe('[simulated] The tool failed: no network');
  });
});
