import { expect, test } from 'vitest';
import { sealBytesMax } from '../../base/limits.ts';
import type { AssistantBlock } from '../conversation.ts';
import { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import { extrasAt, readExtras } from './call-extras.ts';

function read(extra: unknown) {
  const losses = new Losses('refuse');
  return { blocks: readExtras(new ObjectReader({ id: 'c', extra_content: extra }, 'tool_calls', losses)), losses };
}

const call: AssistantBlock = { type: 'tool_call', id: 'c', name: 'f', argumentsJson: '{}' };
const signed = (extra_content: unknown): AssistantBlock => ({
  type: 'reasoning',
  text: '',
  seal: { dialect: 'chat', members: { extra_content } },
});

test.each(['google', 'vertex'])('a signature of %s goes back to the call that it came with', (house) => {
  const extra_content = { [house]: { thought_signature: 'c2ln' } };
  const { blocks, losses } = read(extra_content);
  expect(extrasAt([...blocks, call], 1)).toEqual({ extra_content });
  expect(losses.names).toEqual([]);
});

test.each([
  ['nothing of the sort', { google: { other: 1 } }],
  ['an empty signature', { google: { thought_signature: '' } }],
  ['another house', { acme: { thought_signature: 'x' } }],
  ['more than a seal may be long', { google: { thought_signature: 'x'.repeat(sealBytesMax) } }],
])('%s is listed, and never breaks an answer', (_what, extra) => {
  const { blocks, losses } = read(extra);
  expect([blocks, losses.names]).toEqual([[], ['tool_calls.extra_content']]);
});

test('a call without extras has none', () => {
  expect(read(undefined)).toMatchObject({ blocks: [], losses: { names: [] } });
  expect(extrasAt([call], 0)).toEqual({});
});

test('a caller that changed the seal adds nothing to the call but a signature', () => {
  const changed = { google: { thought_signature: 's', tools: [] }, evil: true };
  expect(extrasAt([signed(changed), call], 1)).toEqual({ extra_content: { google: { thought_signature: 's' } } });
  for (const wrong of [null, 'text', [], { google: { thought_signature: 5 } }])
    expect(extrasAt([signed(wrong), call], 1)).toEqual({});
});

test('a signature belongs to the call right after it alone', () => {
  const blocks = [signed({ google: { thought_signature: 's' } }), call, call];
  expect([1, 2].map((index) => Object.keys(extrasAt(blocks, index)))).toEqual([['extra_content'], []]);
});
