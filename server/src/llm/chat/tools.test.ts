import { describe, expect, test } from 'vitest';
import { fullCapabilities } from '../capabilities.ts';
import { Losses } from '../losses.ts';
import { refusalOf } from '../testing/refusal.ts';
import { parseRequest, writeRequest } from './request.ts';

const fn = (name: string) => ({ type: 'function', function: { name, parameters: { type: 'object' } } });
const custom = (name: string, more: object = {}) => ({ type: 'custom', custom: { name, ...more } });

function parse(body: object, lossy: 'refuse' | 'allow' = 'refuse') {
  const losses = new Losses(lossy);
  const messages = [{ role: 'user', content: 'x' }];
  return { conversation: parseRequest({ model: 'm', messages, ...body }, losses), dropped: losses.names };
}

function rewritten(body: object) {
  const losses = new Losses('refuse');
  const target = { model: 'm', capabilities: fullCapabilities, lossy: 'refuse' } as const;
  return { body: JSON.parse(writeRequest(parse(body).conversation, target, losses)), dropped: losses.names };
}

describe('a tool that takes free text', () => {
  test('is a function with one string to others, its grammar a word to the model', () => {
    const grammar = { type: 'grammar', grammar: { syntax: 'lark', definition: 'start: "x"' } };
    const { conversation, dropped } = parse({ tools: [custom('patch', { description: 'd', format: grammar })] });
    const told = 'd\n\nThe input must match this lark grammar:\nstart: "x"';
    expect(conversation.tools).toMatchObject([{ name: 'patch', description: told, freeform: true, strict: null }]);
    expect(dropped).toEqual(['tools.custom.format']);
    expect(parse({ tools: [custom('patch', { format: { type: 'text' } })] }).dropped).toEqual([]);
    expect(rewritten({ tools: [custom('patch')] }).body.tools).toEqual([
      {
        type: 'function',
        function: {
          name: 'patch',
          parameters: {
            type: 'object',
            properties: { input: { type: 'string' } },
            required: ['input'],
            additionalProperties: false,
          },
        },
      },
    ]);
  });

  test('was called with that string, as history tells it', () => {
    const called = { id: 'c', type: 'custom', custom: { name: 'patch', input: 'say "hi"\n' } };
    const messages = [
      { role: 'user', content: 'x' },
      { role: 'assistant', content: null, tool_calls: [called] },
      { role: 'tool', tool_call_id: 'c', content: 'done' },
    ];
    expect(parse({ messages }).conversation.turns[1]?.blocks).toEqual([
      { type: 'tool_call', id: 'c', name: 'patch', argumentsJson: '{"input":"say \\"hi\\"\\n"}' },
    ]);
  });

  test('can be the one to call', () => {
    const tools = [custom('patch')];
    expect(parse({ tools, tool_choice: custom('patch') }).conversation.toolChoice).toMatchObject({ name: 'patch' });
  });
});

describe('tools that are allowed', () => {
  const tools = [fn('a'), custom('b'), fn('c')];
  const allow = (mode: unknown, ...names: object[]) => ({
    tools,
    parallel_tool_calls: false,
    tool_choice: { type: 'allowed_tools', allowed_tools: { mode, tools: names } },
  });
  const named = (name: string) => ({ type: 'function', function: { name } });

  test('are all that the model is told of', () => {
    const { tools: left, toolChoice } = parse(allow('required', named('c'), custom('b'))).conversation;
    expect(left.map(({ name }) => name)).toEqual(['b', 'c']);
    expect(toolChoice).toEqual({ mode: 'required', parallel: false });
    expect(parse(allow('auto', named('a'))).conversation.toolChoice.mode).toBe('auto');
  });

  test('may be none', () => {
    expect(parse(allow('auto')).conversation.toolChoice.mode).toBe('none');
  });

  test.each([
    ['tool_choice.allowed_tools.mode', allow('none', named('a'))],
    ['tool_choice.allowed_tools.tools[1]', allow('auto', named('a'), named('z'))],
    ['tool_choice.allowed_tools', { tools, tool_choice: { type: 'allowed_tools' } }],
  ])('are refused by name where %s is wrong', (path, body) => {
    expect(refusalOf(() => parse(body, 'allow')).members.param).toBe(path);
  });
});

test('an allowed tool that no other dialect has is refused, or left out with leave', () => {
  const named = { type: 'function', function: { name: 'a' } };
  const body = {
    tools: [fn('a')],
    tool_choice: {
      type: 'allowed_tools',
      allowed_tools: { mode: 'required', tools: [{ type: 'mcp', server_label: 's' }, named] },
    },
  };
  expect(refusalOf(() => parse(body)).members.param).toBe('tool_choice.allowed_tools.tools[0].type');
  const { conversation, dropped } = parse(body, 'allow');
  expect(conversation.toolChoice).toEqual({ mode: 'required', parallel: true });
  expect(dropped).toEqual(['tool_choice.allowed_tools.tools.type']);
});

test('a mark on a tool is read where LiteLLM’s clients put it, and listed where it cannot be written', () => {
  const cache_control = { type: 'ephemeral' };
  const onTool = { ...fn('a'), cache_control };
  const onFunction = { type: 'function', function: { name: 'b', cache_control } };
  const marks = parse({ tools: [onTool, onFunction] }).conversation.tools.map(({ cache }) => cache);
  expect(marks).toEqual([{ lifetime: 'usual' }, { lifetime: 'usual' }]);
  expect(rewritten({ tools: [onTool] }).dropped).toEqual(['cache_control']);
});
