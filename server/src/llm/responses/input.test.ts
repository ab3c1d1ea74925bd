import { describe, expect, test } from 'vitest';
import { fullCapabilities } from '../capabilities.ts';
import type { Conversation, Turn } from '../conversation.ts';
import { Losses } from '../losses.ts';
import { sealToText } from '../seal.ts';
import { aConversation } from '../testing/conversations.ts';
import { refusalOf } from '../testing/refusal.ts';
import { parseRequest, writeRequest } from './request.ts';

const pixel = 'data:image/png;base64,AAAA';

function parse(input: unknown, rest: object = {}, losses = new Losses('refuse')): Conversation {
  return parseRequest({ model: 'm', input, ...rest }, losses);
}

function written(turns: readonly Turn[], change: Partial<Conversation> = {}, losses = new Losses('refuse')): unknown[] {
  const target = { model: 'm', capabilities: fullCapabilities, lossy: 'refuse' } as const;
  return (JSON.parse(writeRequest(aConversation({ turns, ...change }), target, losses)) as { input: unknown[] }).input;
}

const call = (id: string, rest: object = {}) => ({
  type: 'function_call',
  call_id: id,
  name: 'f',
  arguments: '{}',
  ...rest,
});
const result = (id: string, output: unknown = 'ok') => ({ type: 'function_call_output', call_id: id, output });

describe('the items of an input', () => {
  test('are turns; what stands before the first of them is the system prompt', () => {
    const { system, turns } = parse(
      [
        { role: 'developer', content: 'two' },
        {
          type: 'message',
          id: 'msg_1',
          status: 'completed',
          role: 'system',
          content: [{ type: 'input_text', text: 'three' }],
        },
        { role: 'user', content: 'hi' },
        {
          type: 'message',
          role: 'assistant',
          content: [
            { type: 'output_text', text: 'ho', annotations: [] },
            { type: 'refusal', refusal: 'no' },
          ],
        },
        { role: 'developer', content: 'later' },
        { role: 'user', content: [] },
      ],
      { instructions: 'one' },
    );
    expect(system.map(({ text }) => text)).toEqual(['one', 'two', 'three']);
    expect(turns).toEqual([
      { role: 'user', blocks: [{ type: 'text', text: 'hi' }] },
      {
        role: 'assistant',
        blocks: [
          { type: 'text', text: 'ho' },
          { type: 'text', text: 'no' },
        ],
      },
      { role: 'system', blocks: [{ type: 'text', text: 'later' }] },
      { role: 'user', blocks: [] },
    ]);
  });

  test('keep their order within a turn of the model', () => {
    const reasoning = (n: number) => ({ type: 'reasoning', id: `rs_${n}`, summary: [], encrypted_content: `e${n}` });
    const text = { role: 'assistant', content: 'x' };
    const { turns } = parse(
      ['hi']
        .map((content) => ({ role: 'user', content }))
        .concat([reasoning(1), text, call('a'), reasoning(2), call('b'), result('a'), result('b')] as never),
    );
    expect(turns[1]?.blocks.map((block) => (block.type === 'tool_call' ? block.id : block.type))).toEqual([
      'reasoning',
      'text',
      'a',
      'reasoning',
      'b',
    ]);
    expect(turns[2]?.blocks.map((block) => block.type === 'tool_result' && block.callId)).toEqual(['a', 'b']);
  });

  test('may hold a message between a call and its result, which then comes first', () => {
    const { turns } = parse([
      call('a'),
      call('b'),
      result('a'),
      { role: 'user', content: 'wait' },
      result('b'),
      { role: 'user', content: 'go' },
    ]);
    expect(turns[1]?.blocks.map((block) => (block.type === 'text' ? block.text : block.type))).toEqual([
      'tool_result',
      'tool_result',
      'wait',
      'go',
    ]);
  });

  test('may be images and files, in messages and in results of tools', () => {
    const parts = [
      { type: 'input_image', image_url: pixel, detail: 'high' },
      { type: 'input_image', image_url: 'https://example.com/a.png' },
      { type: 'input_file', filename: 'a.pdf', file_data: 'data:application/pdf;base64,JVBE' },
      { type: 'input_file', file_url: 'https://example.com/a.pdf' },
      {
        type: 'input_file',
        filename: 'a.txt',
        file_data: `data:text/plain;base64,${Buffer.from('é').toString('base64')}`,
      },
    ];
    const blocks = [
      { type: 'image', source: { kind: 'base64', mediaType: 'image/png', data: 'AAAA' }, detail: 'high' },
      { type: 'image', source: { kind: 'url', url: 'https://example.com/a.png' }, detail: null },
      { type: 'document', source: { kind: 'base64', mediaType: 'application/pdf', data: 'JVBE' }, title: 'a.pdf' },
      { type: 'document', source: { kind: 'url', url: 'https://example.com/a.pdf' }, title: null },
      { type: 'document', source: { kind: 'text', text: 'é' }, title: 'a.txt' },
    ];
    const { turns } = parse([{ role: 'user', content: parts }, call('a'), result('a', parts)]);
    expect(turns[0]?.blocks).toEqual(blocks);
    expect(turns[2]?.blocks).toEqual([{ type: 'tool_result', callId: 'a', content: blocks, isError: false }]);
    const input = written(turns);
    expect(input).toMatchObject([{ content: parts }, { call_id: 'a' }, { output: parts }]);
  });

  test('say that a tool failed by the first line of its result', () => {
    const turns: Turn[] = [
      { role: 'assistant', blocks: [{ type: 'tool_call', id: 'a', name: 'f', argumentsJson: '{}' }] },
      {
        role: 'user',
        blocks: [{ type: 'tool_result', callId: 'a', content: [{ type: 'text', text: 'boom' }], isError: true }],
      },
    ];
    const input = written(turns);
    expect(input[1]).toEqual({ type: 'function_call_output', call_id: 'a', output: '[tool error]\nboom' });
    expect(parse(input).turns).toEqual(turns);
  });

  test('mark where a prefix ends that is to be cached', () => {
    const content = [
      { type: 'input_text', text: 'a', prompt_cache_breakpoint: { mode: 'explicit' } },
      { type: 'input_text', text: 'b', prompt_cache_breakpoint: { mode: 'explicit', ttl: '12h' } },
    ];
    const { turns } = parse([{ role: 'user', content }]);
    expect(turns[0]?.blocks).toEqual([
      { type: 'text', text: 'a', cache: { lifetime: 'usual' } },
      { type: 'text', text: 'b', cache: { lifetime: 'long' } },
    ]);
    expect(written(turns)).toEqual([{ type: 'message', role: 'user', content }]);
    const losses = new Losses('refuse');
    written([{ role: 'assistant', blocks: [{ type: 'text', text: 'x', cache: { lifetime: 'usual' } }] }], {}, losses);
    expect(losses.names).toEqual(['cache_control']);
  });

  test('are refused by their place where they answer no call, or are none of the known', () => {
    expect(refusalOf(() => parse([result('a')])).members.param).toBe('input[0]');
    expect(
      refusalOf(() =>
        parse([
          { role: 'user', content: 'x' },
          { type: 'web_search_call', id: 'ws' },
        ]),
      ).members.param,
    ).toBe('input[1]');
    expect(refusalOf(() => parse([call('a', { arguments: 7 })])).members.param).toBe('input[0].arguments');
  });
});

describe('reasoning', () => {
  const item = (encrypted: string) => ({
    type: 'reasoning',
    id: 'rs_1',
    summary: [
      { type: 'summary_text', text: 'one' },
      { type: 'summary_text', text: 'two' },
    ],
    content: null,
    encrypted_content: encrypted,
  });

  test('is known again by its provider', () => {
    const { turns } = parse([item('opaque')]);
    expect(turns[0]?.blocks).toEqual([
      {
        type: 'reasoning',
        text: 'one\n\ntwo',
        seal: { dialect: 'responses', members: { id: 'rs_1', encrypted_content: 'opaque' } },
      },
    ]);
    expect(written(turns)).toEqual([
      {
        type: 'reasoning',
        id: 'rs_1',
        summary: [{ type: 'summary_text', text: 'one\n\ntwo' }],
        encrypted_content: 'opaque',
      },
    ]);
  });

  test('of another provider is unpacked', () => {
    const seal = { dialect: 'anthropic', members: { signature: 's' } } as const;
    expect(parse([item(sealToText(seal))]).turns[0]?.blocks).toMatchObject([{ type: 'reasoning', seal }]);
  });

  test('takes from a seal what it knows, since callers can change it', () => {
    const members = { id: 7, encrypted_content: 'e', type: 'item_reference', evil: true };
    const turn: Turn = {
      role: 'assistant',
      blocks: [{ type: 'reasoning', text: '', seal: { dialect: 'responses', members } }],
    };
    expect(written([turn])).toEqual([{ type: 'reasoning', summary: [], encrypted_content: 'e' }]);
  });
});
