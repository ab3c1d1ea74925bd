import fc from 'fast-check';
import { expect, test } from 'vitest';
import { jsonDepthMax } from '../base/limits.ts';
import { readFacts, readUsage } from './embeddings.ts';
import { scanObject } from './json-scan.ts';

function factsOf(request: object) {
  const body = Buffer.from(JSON.stringify(request));
  return readFacts(body, scanObject(body, { depthMax: jsonDepthMax }));
}

test.each([
  ['a text', 'x', 1],
  ['texts', ['x', 'y', 'z'], 3],
  // Counted as if each were a text of its own: from above.
  ['tokens', [1, 2], 2],
  ['lists of tokens', [[1, 2], [3]], 2],
  ['nothing', undefined, 1],
])('input of %s bounds what it costs', (_what, input, messageCount) => {
  expect(factsOf({ model: 'm', input })).toMatchObject({
    messageCount,
    unbounded: [],
    maxOutputTokens: 0,
    mayReason: false,
  });
});

test('no text is taken for an object, whatever it holds', () => {
  const texts = fc.array(fc.oneof(fc.string(), fc.constantFrom('{', '"{"', '\\"{', '\\\\', '\\{')), { minLength: 1 });
  fc.assert(
    fc.property(texts, (input) => {
      expect(factsOf({ model: 'm', input }).unbounded).toEqual([]);
    }),
  );
});

test('an object among texts is found, wherever it stands', () => {
  const text = fc.constantFrom('{', '}', '\\', '"', 'a\\"');
  fc.assert(
    fc.property(fc.array(text), fc.array(text), (before, after) => {
      for (const input of [
        [...before, {}, ...after],
        [[before, [{}]], after],
      ])
        expect(factsOf({ model: 'm', input }).unbounded).toEqual(['input']);
    }),
  );
});

test.each([
  ['the tokens of the prompt', { usage: { prompt_tokens: 7, total_tokens: 7 } }, 7],
  ['the total, where a server tells nothing else', { usage: { total_tokens: 5 } }, 5],
  ['nothing', {}, null],
  ['null', { usage: null }, null],
  ['no tokens', { usage: { prompt_tokens: 0, total_tokens: 0 } }, null],
  ['a wrong count', { usage: { prompt_tokens: -3 } }, null],
  ['a text', { usage: 'much' }, null],
])('the usage of an answer that reports %s', (_what, answer, input) => {
  expect(readUsage({ data: [{ embedding: [0.5] }], ...answer })?.input ?? null).toBe(input);
});
