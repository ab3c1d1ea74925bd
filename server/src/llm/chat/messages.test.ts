import { describe, expect, test } from 'vitest';
import { fullCapabilities } from '../capabilities.ts';
import type { Conversation, ToolResultBlock, UserBlock } from '../conversation.ts';
import { Losses } from '../losses.ts';
import { parseRequest, writeRequest } from './request.ts';

const asked = { role: 'user', content: 'go' };
const call = (id: string) => ({ id, type: 'function', function: { name: 'f', arguments: '{}' } });
const image = {
  type: 'image',
  source: { kind: 'base64', mediaType: 'image/png', data: 'AAAA' },
  detail: null,
} as const;
const imagePart = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } };
const mark = { prompt_cache_breakpoint: { mode: 'explicit' } };

function parse(messages: object[]): Conversation {
  return parseRequest({ model: 'm', messages }, new Losses('refuse'));
}

/** What is sent after a call, for these blocks of the user. */
function after(...blocks: UserBlock[]): Record<string, unknown>[] {
  const losses = new Losses('refuse');
  const conversation = parse([asked, { role: 'assistant', content: null, tool_calls: [call('a'), call('b')] }]);
  const turns = [...conversation.turns, { role: 'user', blocks } as const];
  const target = { model: 'm', capabilities: fullCapabilities, lossy: 'refuse' } as const;
  return JSON.parse(writeRequest({ ...conversation, turns }, target, losses)).messages.slice(2);
}

const result = (callId: string, content: ToolResultBlock['content'], change: object = {}): ToolResultBlock => ({
  type: 'tool_result',
  callId,
  content,
  isError: false,
  ...change,
});
const text = (said: string) => ({ type: 'text', text: said }) as const;

describe('a tool result with an image or a file', () => {
  test('is sent as its text, and the rest in a user message after all results that says whose it is', () => {
    const pdf = { type: 'document', source: { kind: 'text', text: 'x' }, title: 'a.txt' } as const;
    expect(
      after(result('a', [text('a picture'), image]), result('b', [pdf], { isError: true }), text('What is it?')),
    ).toEqual([
      { role: 'tool', tool_call_id: 'a', content: 'a picture' },
      { role: 'tool', tool_call_id: 'b', content: '[tool error]\nThe result is in the next message.' },
      {
        role: 'user',
        content: [
          text('From the result of tool call "a":'),
          imagePart,
          text('From the result of tool call "b":'),
          { type: 'file', file: { filename: 'a.txt', file_data: 'data:text/plain;base64,eA==' } },
          text('What is it?'),
        ],
      },
    ]);
  });

  test('is read where a client sends the image in the tool message', () => {
    const messages = [
      asked,
      { role: 'assistant', content: null, tool_calls: [call('a')] },
      { role: 'tool', tool_call_id: 'a', content: [{ type: 'text', text: 'a picture' }, imagePart] },
    ];
    expect(parse(messages).turns[2]?.blocks).toEqual([result('a', [text('a picture'), image])]);
  });

  test('ends a cached prefix with the last of it', () => {
    const cache = { lifetime: 'usual' } as const;
    expect(after(result('a', [text('x')], { cache }), result('b', [image], { cache }))).toEqual([
      { role: 'tool', tool_call_id: 'a', content: [{ type: 'text', text: 'x', ...mark }] },
      { role: 'tool', tool_call_id: 'b', content: 'The result is in the next message.' },
      { role: 'user', content: [text('From the result of tool call "b":'), { ...imagePart, ...mark }] },
    ]);
  });
});

test('a tool message may repeat the name of its tool, which its call says already', () => {
  const messages = [
    asked,
    { role: 'assistant', content: null, tool_calls: [call('a')] },
    { role: 'tool', tool_call_id: 'a', name: 'f', content: 'r' },
  ];
  expect(parse(messages).turns[2]?.blocks).toEqual([result('a', [text('r')])]);
});

test('a mark on the last part of a tool message is the result’s own', () => {
  const messages = [
    asked,
    { role: 'assistant', content: null, tool_calls: [call('a')] },
    { role: 'tool', tool_call_id: 'a', content: [{ type: 'text', text: '[tool error]\nno', ...mark }] },
  ];
  expect(parse(messages).turns[2]?.blocks).toEqual([
    result('a', [text('no')], { isError: true, cache: { lifetime: 'usual' } }),
  ]);
});

test('an answer comes back as the SDKs hand it out: with what they parsed, sources and places in the stream', () => {
  const losses = new Losses('refuse');
  const message = {
    role: 'assistant',
    content: '{"a":1}',
    refusal: null,
    parsed: { a: 1 },
    annotations: [{ type: 'url_citation', url_citation: { url: 'https://x.test' } }],
    tool_calls: [
      {
        index: 0,
        id: 'a',
        type: 'function',
        function: { name: 'f', arguments: '{"b":2}', parsed_arguments: { b: 2 } },
      },
    ],
  };
  const messages = [asked, message, { role: 'tool', tool_call_id: 'a', content: 'r' }];
  expect(parseRequest({ model: 'm', messages }, losses).turns[1]?.blocks).toEqual([
    text('{"a":1}'),
    { type: 'tool_call', id: 'a', name: 'f', argumentsJson: '{"b":2}' },
  ]);
  expect(losses.names).toEqual(['messages.annotations']);
});

test('a mark on a call is listed: nothing in a call can carry it', () => {
  const losses = new Losses('refuse');
  const conversation = parse([asked]);
  const cache = { lifetime: 'usual' } as const;
  const turns = [
    ...conversation.turns,
    { role: 'assistant', blocks: [{ type: 'tool_call', id: 'a', name: 'f', argumentsJson: '{}', cache }] } as const,
  ];
  writeRequest({ ...conversation, turns }, { model: 'm', capabilities: fullCapabilities, lossy: 'refuse' }, losses);
  expect(losses.names).toEqual(['cache_control']);
});
