import { describe, expect, test } from 'vitest';
import { fullCapabilities } from '../capabilities.ts';
import type { Conversation } from '../conversation.ts';
import { freeformSchema } from '../freeform-tools.ts';
import { Losses } from '../losses.ts';
import { aConversation } from '../testing/conversations.ts';
import { refusalOf } from '../testing/refusal.ts';
import { parseRequest, writeRequest } from './request.ts';

const parse = (rest: object, losses = new Losses('refuse')) =>
  parseRequest({ model: 'm', input: 'hi', ...rest }, losses);

function written(change: Partial<Conversation>) {
  const target = { model: 'm', capabilities: fullCapabilities, lossy: 'refuse' } as const;
  return JSON.parse(writeRequest(aConversation(change), target, new Losses('refuse'))) as Record<string, unknown>;
}

const parameters = { type: 'object', properties: { a: { type: 'string' } } };
const f = { type: 'function', name: 'f', description: 'F.', parameters, strict: true };
const patch = { type: 'custom', name: 'patch', description: 'Patches.' };
const group = {
  type: 'namespace',
  name: 'crm',
  description: 'About customers.',
  tools: [
    { ...f, name: 'find' },
    { ...patch, name: 'note' },
  ],
};

describe('tools', () => {
  test('are functions, free text tools, and groups of both', () => {
    const { tools } = parse({ tools: [f, patch, group, { ...f, name: 'g' }] });
    expect(tools).toEqual([
      { name: 'f', description: 'F.', schema: parameters, strict: true },
      { name: 'patch', description: 'Patches.', schema: freeformSchema, strict: null, freeform: true },
      { name: 'crm.find', description: 'F.', schema: parameters, strict: true, namespace: 'crm' },
      {
        name: 'crm.note',
        description: 'Patches.',
        schema: freeformSchema,
        strict: null,
        freeform: true,
        namespace: 'crm',
      },
      { name: 'g', description: 'F.', schema: parameters, strict: true },
    ]);
    expect(written({ tools })['tools']).toEqual([f, patch, { ...group, description: '' }, { ...f, name: 'g' }]);
  });

  test('are not made strict by silence: other dialects do not do so', () => {
    const { strict: _strict, ...plain } = f;
    expect(written({ tools: parse({ tools: [plain] }).tools })['tools']).toEqual([{ ...f, strict: false }]);
  });

  test('tell the model of the grammar of their input, which nobody else enforces', () => {
    const losses = new Losses('refuse');
    const format = { type: 'grammar', syntax: 'lark', definition: 'start: "x"' };
    const [tool] = parse({ tools: [{ ...patch, format }] }, losses).tools;
    expect(tool?.description).toBe('Patches.\n\nThe input must match this lark grammar:\nstart: "x"');
    expect(losses.names).toEqual(['tools.format']);
  });
});

describe('the choice of a tool', () => {
  const tools = [f, patch, group];

  test.each([
    ['auto', { mode: 'auto', parallel: true }],
    ['none', { mode: 'none', parallel: true }],
    ['required', { mode: 'required', parallel: true }],
    [
      { type: 'function', name: 'f' },
      { mode: 'tool', name: 'f', parallel: true },
    ],
    [
      { type: 'custom', name: 'patch' },
      { mode: 'tool', name: 'patch', parallel: true },
    ],
    [
      { type: 'function', name: 'find', namespace: 'crm' },
      { mode: 'tool', name: 'crm.find', parallel: true },
    ],
  ])('is read and written: %j', (choice, toolChoice) => {
    const parsed = parse({ tools, tool_choice: choice });
    expect(parsed.toolChoice).toEqual(toolChoice);
    expect(written(parsed)['tool_choice']).toEqual(choice === 'auto' ? undefined : choice);
  });

  test('among some is a shorter list of tools', () => {
    const choice = {
      type: 'allowed_tools',
      mode: 'required',
      tools: [
        { type: 'custom', name: 'patch' },
        { type: 'function', namespace: 'crm', name: 'find' },
      ],
    };
    const parsed = parse({ tools, tool_choice: choice });
    expect(parsed.tools.map(({ name }) => name)).toEqual(['patch', 'crm.find']);
    expect(parsed.toolChoice).toEqual({ mode: 'required', parallel: true });
  });

  const allow = (mode: string, ...allowed: object[]) => ({
    tools,
    tool_choice: { type: 'allowed_tools', mode, tools: allowed },
  });

  test('among none is none', () => {
    expect(parse(allow('auto')).toolChoice.mode).toBe('none');
    expect(parse(allow('auto', { type: 'web_search' })).toolChoice.mode).toBe('none');
  });

  test.each([
    ['tool_choice.mode', allow('none', { type: 'custom', name: 'patch' })],
    ['tool_choice.tools[1]', allow('auto', { type: 'custom', name: 'patch' }, { type: 'function', name: 'z' })],
    ['tool_choice.tools[0].type', allow('auto', { type: 'file_search' })],
    ['tool_choice.tools[0].more', allow('auto', { type: 'custom', name: 'patch', more: 1 })],
    ['tool_choice.more', { tools, tool_choice: { ...allow('auto').tool_choice, more: 1 } }],
  ])('among some is refused by name where %s is wrong', (param, body) => {
    expect(refusalOf(() => parse(body)).members.param).toBe(param);
  });
});

test('calls of free text tools hold their text as an argument, and their results are of the same kind', () => {
  const input = [
    { type: 'custom_tool_call', call_id: 'a', name: 'patch', input: 'a "b"\n' },
    { type: 'custom_tool_call_output', call_id: 'a', output: 'done' },
  ];
  const { turns, tools } = parse({ tools: [patch], input });
  expect(turns[0]?.blocks).toMatchObject([{ name: 'patch', argumentsJson: '{"input":"a \\"b\\"\\n"}' }]);
  expect(written({ turns, tools })['input']).toEqual(input);
});
