import fc from 'fast-check';
import { expect, test } from 'vitest';
import { sealBytesMax } from '../base/limits.ts';
import { dialects } from './dialect.ts';
import { carriedSeal, sealFromText, sealToText, withoutForeignSeals } from './seal.ts';
import { aConversation, userTurn } from './testing/conversations.ts';

test('a seal comes back from its text as it was, and its text fits wherever a signature does', () => {
  const seal = fc.record({
    dialect: fc.constantFrom(...dialects),
    members: fc
      .dictionary(fc.string(), fc.jsonValue({ maxDepth: 2 }))
      .map((members) => JSON.parse(JSON.stringify(members))),
  });
  fc.assert(
    fc.property(seal, (value) => {
      const text = sealToText(value);
      expect(text).toMatch(/^[\w.-]+$/);
      expect(sealFromText(text)).toEqual(value);
    }),
  );
});

test('a signature of a vendor, or anything that was made of a seal, is none', () => {
  const text = sealToText({ dialect: 'anthropic', members: { signature: 's' } });
  const forged = (json: unknown) => `portcullis.1.${Buffer.from(JSON.stringify(json)).toString('base64url')}`;
  for (const other of [
    '',
    'EqQBCkgIARABGAIiQL8=',
    text.slice(0, 20),
    text.slice(1),
    `${text}${'A'.repeat(sealBytesMax)}`,
    forged(null),
    forged([]),
    forged({ dialect: 'klingon', members: {} }),
    forged({ dialect: 'anthropic', members: [] }),
    forged({ members: {} }),
  ]) {
    expect(sealFromText(other)).toBeNull();
  }
});

test('a seal that would be too long to come back is not carried', () => {
  const seal = (signature: string) => ({ dialect: 'anthropic' as const, members: { signature } });
  const longest = carriedSeal(seal('x'.repeat(700_000)), 'lab');
  expect(sealFromText(sealToText(longest!))).toEqual({ ...seal('x'.repeat(700_000)), provider: 'lab' });
  expect(carriedSeal(seal('x'.repeat(800_000)), 'lab')).toBeNull();
});

test('a seal goes to the provider that made it, or to any where nobody knows who did', () => {
  const seal = { dialect: 'chat', members: { fields: ['reasoning'] } } as const;
  const sealed = (by: typeof seal | (typeof seal & { provider: string })) =>
    aConversation({
      turns: [userTurn('hi'), { role: 'assistant', blocks: [{ type: 'reasoning', text: 'hm', seal: by }] }],
    });
  const own = sealed({ ...seal, provider: 'lab' });
  expect(withoutForeignSeals(own, 'lab')).toEqual(own);
  expect(withoutForeignSeals(own, undefined)).toEqual(own);
  expect(withoutForeignSeals(sealed(seal), 'lab')).toEqual(sealed(seal));
  expect(withoutForeignSeals(own, 'other').turns[1]?.blocks).toEqual([{ type: 'reasoning', text: 'hm', seal: null }]);
});

test('whatever text a caller sends instead, nothing is thrown', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      expect(sealFromText(`portcullis.1.${text}`)).toBeNull();
    }),
  );
});
