import { expect, test } from 'vitest';
import { fullCapabilities } from '../capabilities.ts';
import { translateRequest } from '../translate.ts';

/** A coding agent's conversation of `turns` exchanges: the system prompt, thinking, calls, and results with images. */
function conversation(turns: number): object {
  const ephemeral = { cache_control: { type: 'ephemeral' } };
  const messages: { role: string; content: object[] }[] = [
    { role: 'user', content: [{ type: 'text', text: 'Fix the bug.' }] },
  ];
  for (let n = 0; n < turns; n++) {
    const id = `toolu_${n}`;
    const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } };
    messages.push(
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: `Step ${n}.`, signature: `sig${n}` },
          { type: 'text', text: `I look at file ${n}.` },
          { type: 'tool_use', id, name: 'mcp.read/file', input: { path: `/src/${n}.ts`, lines: [n, n + 1] } },
          { type: 'tool_use', id: `${id}_b`, name: 'shell', input: {} },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: id, content: [{ type: 'text', text: `file ${n}` }, image] },
          { type: 'tool_result', tool_use_id: `${id}_b`, content: 'no such command', is_error: n % 2 === 0 },
          { type: 'text', text: n % 3 === 0 ? 'Go on.' : 'And then?' },
        ],
      },
    );
  }
  // The mark moves with the end, as such agents do it.
  Object.assign(messages.at(-1)!.content.at(-1)!, ephemeral);
  return {
    model: 'claude',
    max_tokens: 8000,
    system: [
      { type: 'text', text: 'You are an agent.' },
      { type: 'text', text: 'Rules.', ...ephemeral },
    ],
    tools: ['mcp.read/file', 'shell'].map((name) => ({ name, input_schema: { type: 'object', properties: {} } })),
    messages,
  };
}

test('a conversation that grows over 20 turns is written with the same bytes before what is new', () => {
  const target = { model: 'served', capabilities: fullCapabilities, lossy: 'refuse' } as const;
  const bodies = Array.from({ length: 21 }, (_, turns) => {
    const { body } = translateRequest({ from: 'anthropic', to: 'chat', body: conversation(turns), target });
    const { messages, ...rest } = JSON.parse(body);
    // The body has these very bytes, so that comparing them compares the body's.
    expect(body).toContain(`"messages":${JSON.stringify(messages)}`);
    return { messages: JSON.stringify(messages), rest: JSON.stringify(rest) };
  });
  for (const [i, { messages, rest }] of bodies.slice(1).entries()) {
    expect(messages.startsWith(bodies[i]!.messages.slice(0, -1))).toBe(true);
    expect(rest).toBe(bodies[i]!.rest);
  }
  expect(bodies.at(-1)!.messages).toContain('toolu_19');
});
