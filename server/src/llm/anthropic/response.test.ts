import { describe, expect, test } from 'vitest';
import type { Answer, Seal } from '../conversation.ts';
import { Losses } from '../losses.ts';
import { sealToText } from '../seal.ts';
import { refusalOf } from '../testing/refusal.ts';
import { parseAnswer, writeAnswer } from './response.ts';

const base = {
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model: 'claude',
  content: [{ type: 'text', text: 'hi' }],
  stop_reason: 'end_turn',
  usage: { input_tokens: 1, output_tokens: 2 },
};

function parse(change: object, lossy: 'refuse' | 'allow' = 'refuse') {
  const losses = new Losses(lossy, 'answer');
  return { answer: parseAnswer({ ...base, ...change }, losses), dropped: losses.names };
}

describe('a Message', () => {
  test('gives its text and calls in their order, its reason, its stop sequence and its usage', () => {
    const { answer } = parse({
      content: [
        { type: 'text', text: 'a', citations: null },
        { type: 'tool_use', id: 'toolu_1', name: 'f', input: { x: [1] }, caller: { type: 'direct' } },
        { type: 'text', text: 'b' },
      ],
      stop_reason: 'stop_sequence',
      stop_sequence: 'END',
    });
    expect(answer).toEqual({
      id: 'msg_1',
      model: 'claude',
      blocks: [
        { type: 'text', text: 'a' },
        { type: 'tool_call', id: 'toolu_1', name: 'f', argumentsJson: '{"x":[1]}' },
        { type: 'text', text: 'b' },
      ],
      stop: 'stop_sequence',
      stopSequence: 'END',
      usage: { input: 1, output: 2, cacheRead: 0, cacheWrite5m: 0, cacheWrite1h: 0, reasoning: 0 },
    });
  });

  test.each([
    ['max_tokens', 'length'],
    ['model_context_window_exceeded', 'length'],
    ['tool_use', 'tool'],
    ['refusal', 'refusal'],
  ])('that ended with %s stopped for %s', (stop_reason, stop) => {
    expect(parse({ stop_reason }).answer.stop).toBe(stop);
  });

  test.each(['pause_turn', 'compaction', 'because', null])('that ended with %s cannot be translated', (stop_reason) => {
    expect(refusalOf(() => parse({ stop_reason }))).toMatchObject({
      code: 'upstream_error',
      message: expect.stringContaining('stop_reason'),
    });
  });

  test('gives its thinking with what proves it, whatever the signature looks like', () => {
    const seal = (members: object) => ({ dialect: 'anthropic', members });
    const { answer, dropped } = parse({
      content: [
        { type: 'thinking', thinking: 'hmm', signature: 'portcullis.1.x' },
        { type: 'thinking', thinking: '', signature: 'EqQB' },
        { type: 'redacted_thinking', data: 'Emw' },
        { type: 'thinking', thinking: '', signature: '' },
        { type: 'text', text: 'a' },
      ],
    });
    expect(answer.blocks).toEqual([
      { type: 'reasoning', text: 'hmm', seal: seal({ signature: 'portcullis.1.x' }) },
      { type: 'reasoning', text: '', seal: seal({ signature: 'EqQB' }) },
      { type: 'reasoning', text: '', seal: seal({ redacted: 'Emw' }) },
      { type: 'text', text: 'a' },
    ]);
    expect(dropped).toEqual([]);
  });

  test('leaves citations and the category of a refusal behind, and says so', () => {
    const { answer, dropped } = parse({
      content: [{ type: 'text', text: 'a', citations: [{ type: 'char_location' }] }],
      stop_reason: 'refusal',
      stop_details: { type: 'refusal', category: 'cyber', explanation: null },
    });
    expect(answer.blocks).toEqual([{ type: 'text', text: 'a' }]);
    expect(dropped).toEqual(['stop_details.category', 'content.citations']);
  });

  test('with a call that has no id gets one of its own (case 1)', () => {
    const call = { type: 'tool_use', name: 'f', input: {} };
    const { blocks } = parse({ content: [call, { ...call, id: '' }, { ...call, id: null }] }).answer;
    const ids = blocks.map((block) => block.type === 'tool_call' && block.id);
    expect(new Set(ids).size).toBe(3);
    for (const id of ids) expect(id).toMatch(/^toolu_[\w-]{20,}$/);
  });

  test('with a block that no other dialect has is refused by name, or on a lossy route lacks it', () => {
    const content = [{ type: 'web_search_tool_result', content: [] }];
    expect(refusalOf(() => parse({ content })).message).toContain('content[0]');
    expect(parse({ content }, 'allow').dropped).toEqual(['content']);
  });

  test.each([
    ['content', { content: 'hi' }],
    ['content[0].input', { content: [{ type: 'tool_use', id: '1', name: 'f' }] }],
    ['content[0].name', { content: [{ type: 'tool_use', id: '1', input: {} }] }],
  ])('that is malformed in %s is an upstream error', (path, change) => {
    expect(refusalOf(() => parse(change, 'allow'))).toMatchObject({
      code: 'upstream_error',
      message: expect.stringContaining(`"${path}"`),
    });
  });
});

describe('writing a Message', () => {
  const answer: Answer = { id: 'a', model: 'm', blocks: [], stop: 'end', stopSequence: null, usage: null };
  const write = (change: Partial<Answer>) => JSON.parse(writeAnswer({ ...answer, ...change }));

  test('puts exact arguments into the input, and refuses what is no object: none is ever made up', () => {
    const call = (argumentsJson: string): Answer['blocks'] => [
      { type: 'tool_call', id: 'c', name: 'f', argumentsJson },
    ];
    expect(writeAnswer({ ...answer, blocks: call('{"id":12345678901234567890,"x":1e400}') })).toContain(
      '"input":{"id":12345678901234567890,"x":1e400}',
    );
    for (const bad of ['', '"x"', '[]', 'null', '{"a":1']) {
      expect(refusalOf(() => write({ blocks: call(bad) }))).toMatchObject({
        code: 'upstream_error',
        message: expect.stringContaining('"c"'),
      });
    }
  });

  test('leaves out a call that the token limit cut, and says so: no arguments are made up that a client could use', () => {
    const losses = new Losses('refuse', 'answer');
    const called = (id: string, argumentsJson: string) =>
      ({ type: 'tool_call', id, name: 'f', argumentsJson }) as const;
    const blocks = [
      { type: 'text', text: 'so' } as const,
      called('whole', '{"a":1}'),
      called('cut', '{"a":"rm -rf /tmp'),
    ];
    const written = JSON.parse(writeAnswer({ ...answer, blocks, stop: 'length' }, undefined, losses));
    expect(written.content).toMatchObject([{ text: 'so' }, { id: 'whole', input: { a: 1 } }]);
    expect([written.stop_reason, losses.names]).toEqual(['max_tokens', ['content.tool_use']]);
  });

  test('shows reasoning as thinking, with the vendor’s signature or the seal of another provider as one', () => {
    const thought = (seal: Seal | null) => write({ blocks: [{ type: 'reasoning', text: 'hm', seal }] }).content;
    const thinking = (signature: string) => [{ type: 'thinking', thinking: 'hm', signature }];
    expect(thought(null)).toEqual(thinking(''));
    expect(thought({ dialect: 'anthropic', members: { signature: 'EqQB' } })).toEqual(thinking('EqQB'));
    for (const seal of [
      { dialect: 'chat', members: { signature: 'EqQB' } },
      { dialect: 'anthropic', members: { redacted: 'Emw' } },
      // Of a gate: as it is, it would be taken for ours when it comes back.
      { dialect: 'anthropic', members: { signature: sealToText({ dialect: 'chat', members: {} }) } },
    ] as const) {
      expect(thought(seal)).toEqual(thinking(sealToText(seal)));
    }
  });

  test('says which sequence stopped it (case 22), and that a refusal was one (case 23)', () => {
    expect(write({ stop: 'stop_sequence', stopSequence: 'END' })).toMatchObject({
      stop_reason: 'stop_sequence',
      stop_sequence: 'END',
    });
    expect(write({ stop: 'refusal' })).toMatchObject({
      stop_reason: 'refusal',
      stop_details: { type: 'refusal', category: null },
    });
  });

  test('counts cached tokens beside the input, by lifetime', () => {
    const usage = { input: 1, output: 9, cacheRead: 2, cacheWrite5m: 3, cacheWrite1h: 4, reasoning: 5 };
    expect(write({ usage }).usage).toMatchObject({
      input_tokens: 1,
      output_tokens: 9,
      cache_read_input_tokens: 2,
      cache_creation_input_tokens: 7,
      cache_creation: { ephemeral_5m_input_tokens: 3, ephemeral_1h_input_tokens: 4 },
      output_tokens_details: { thinking_tokens: 5 },
    });
  });
});
