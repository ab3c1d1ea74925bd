import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Conversation, TextBlock } from './conversation.ts';
import { conversation } from './testing/arbitrary.ts';
import { aConversation, userTurn } from './testing/conversations.ts';
import { documentTokens, estimateTokens, imageTokens, totalTokens } from './tokens.ts';
import { wireFormats } from './wire-formats.ts';
import { dialects } from './dialect.ts';
import { Losses } from './losses.ts';
import { fullCapabilities } from './capabilities.ts';

const { signal } = new AbortController();
const tokensOf = async (asked: Conversation): Promise<number> => totalTokens(await estimateTokens(asked, signal));
const text = (words: string): TextBlock => ({ type: 'text', text: words });

test('every string that a model is shown counts, wherever it stands', async () => {
  const empty = await tokensOf(aConversation({ turns: [userTurn('')] }));
  const words = 'the quick brown fox jumps over the lazy dog';
  const places: Partial<Conversation>[] = [
    { system: [text(words)] },
    { tools: [{ name: 'a', description: words, schema: { type: 'object' }, strict: null }] },
    { tools: [{ name: 'a', description: null, schema: { type: 'object', title: words }, strict: null }] },
    { outputFormat: { name: null, description: null, schema: { title: words }, strict: true } },
    { turns: [userTurn(words)] },
    { turns: [userTurn(''), { role: 'system', blocks: [text(words)] }] },
    { turns: [userTurn(''), { role: 'assistant', blocks: [{ type: 'reasoning', text: words, seal: null }] }] },
    { turns: [{ role: 'assistant', blocks: [{ type: 'tool_call', id: 'c', name: 'n', argumentsJson: words }] }] },
    {
      turns: [{ role: 'user', blocks: [{ type: 'tool_result', callId: 'c', content: [text(words)], isError: false }] }],
    },
    {
      turns: [{ role: 'user', blocks: [{ type: 'document', source: { kind: 'text', text: words }, title: null }] }],
    },
  ];
  for (const place of places) {
    const tokens = await tokensOf(aConversation({ turns: [userTurn('')], ...place }));
    expect(tokens - empty).toBeGreaterThanOrEqual(9);
    expect(tokens - empty).toBeLessThan(25);
  }
});

test('media count by constants, however long their bytes are', async () => {
  const data = 'A'.repeat(100_000);
  const image = {
    type: 'image' as const,
    source: { kind: 'base64' as const, mediaType: 'image/png', data },
    detail: null,
  };
  const pdf = {
    type: 'document' as const,
    source: { kind: 'base64' as const, mediaType: 'application/pdf', data },
    title: null,
  };
  expect(
    (await estimateTokens(aConversation({ turns: [{ role: 'user', blocks: [image, pdf] }] }), signal)).turns,
  ).toEqual([[imageTokens, documentTokens]]);
});

test('there are never more tokens than bytes in the request, so that most calls need no count', async () => {
  await fc.assert(
    fc.asyncProperty(conversation, async (asked) => {
      const media = JSON.stringify(asked.turns).match(/"type":"(image|document)"/g)?.length ?? 0;
      const tokens = await tokensOf(asked);
      for (const dialect of dialects) {
        const target = { model: 'm', capabilities: fullCapabilities, lossy: 'allow' as const };
        const body = wireFormats[dialect].writeRequest(asked, target, new Losses('allow'));
        expect(tokens).toBeLessThanOrEqual(Buffer.byteLength(body) + media * documentTokens);
      }
    }),
    { numRuns: 100 },
  );
});

test('a long unbroken text is counted in time, and an abort ends the counting with its reason', async () => {
  const long = aConversation({ turns: [userTurn('x'.repeat(2_000_000))] });
  expect(await tokensOf(long)).toBeLessThan(2_000_000);
  const controller = new AbortController();
  const counting = estimateTokens(long, controller.signal);
  setImmediate(() => controller.abort(new Error('the client left')));
  await expect(counting).rejects.toThrow('the client left');
});
