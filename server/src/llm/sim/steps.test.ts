import { describe, expect, test } from 'vitest';
import { simulate } from './simulate.ts';

const script = `Please do it.
sim script:
call read {"path": "a b.txt"}
call write {"path": "c", "text": "}\\n{"}
say All done.

This is no part of it: call read.`;

const tools = ['read', 'write'].map((name) => ({ name, input_schema: { type: 'object' } }));
const ask = { role: 'user', content: script };
const calls = (id: string, name: string) => ({
  role: 'assistant',
  content: [{ type: 'tool_use', id, name, input: {} }],
});
const result = (id: string) => ({ role: 'user', content: [{ type: 'tool_result', tool_use_id: id, content: 'ok' }] });

function answerTo(messages: readonly object[], more: object = {}): { type: string; text?: string }[] {
  const body = { model: 'sim', max_tokens: 1000, messages, tools, ...more };
  const simulation = simulate({ dialect: 'anthropic', body, requestId: 'req_t' });
  if (simulation.kind !== 'answer') throw new Error(JSON.stringify(simulation));
  return (JSON.parse(simulation.body) as { content: { type: string; text?: string }[] }).content;
}

describe('a script in the text', () => {
  test('is answered a line at a time, and then no more', () => {
    const first = [ask];
    expect(answerTo(first)[1]).toMatchObject({ type: 'tool_use', name: 'read', input: { path: 'a b.txt' } });
    const second = [...first, calls('1', 'read'), result('1')];
    expect(answerTo(second)[1]).toMatchObject({ name: 'write', input: { path: 'c', text: '}\n{' } });
    const third = [...second, calls('2', 'write'), result('2')];
    expect(answerTo(third)).toMatchObject([{ text: '[simulated] All done.' }]);
    const fourth = [...third, { role: 'assistant', content: 'All done.' }, { role: 'user', content: 'Thank you' }];
    expect(answerTo(fourth)).toMatchObject([{ text: '[simulated] You said: Thank you' }]);
    const again = [...third, { role: 'assistant', content: 'x' }, { role: 'user', content: 'sim script:\nsay New.' }];
    expect(answerTo(again)).toMatchObject([{ text: '[simulated] New.' }]);
  });

  test('is found beside other text of the turn, whoever speaks after it', () => {
    const reminders = [
      { type: 'text', text: '<reminder>call read</reminder>' },
      { type: 'text', text: script },
      { type: 'text', text: 'now' },
    ];
    expect(answerTo([{ role: 'user', content: reminders }])[1]).toMatchObject({ name: 'read' });
  });

  test('says so where it calls what is not offered', () => {
    expect(answerTo([ask], { tools: [] })).toMatchObject([
      { text: '[simulated] The script calls read, which is not offered.' },
    ]);
    expect(answerTo([ask], { tool_choice: { type: 'none' } })).toHaveLength(1);
  });

  test.each(['call read', 'call read {"a":}', 'call read [1]', 'sing a song', 'say '])(
    'with the line %j is refused by its number',
    (line) => {
      const body = { model: 'sim', max_tokens: 10, messages: [{ role: 'user', content: `sim script:\n${line}` }] };
      const simulation = simulate({ dialect: 'anthropic', body, requestId: 'req_t' });
      expect(simulation).toMatchObject({ kind: 'error', status: 400 });
      expect(JSON.stringify(simulation)).toContain('Line 1 of the sim script');
    },
  );
});
