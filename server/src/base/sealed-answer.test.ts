import { createSecretKey, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { openAnswer, sealAnswer } from './sealed-answer.ts';

const key = createSecretKey(randomBytes(32));
const context = Buffer.from('where it belongs');
const secret = 'what was said to one customer';
const answer = {
  status: 200,
  headers: { 'content-type': 'application/json', via: ['a', 'b'] },
  body: Buffer.from(secret),
};

test('an answer is opened as it was sealed, whatever it holds', () => {
  const answers = fc.record({
    status: fc.integer({ min: 200, max: 599 }),
    headers: fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.array(fc.string()))),
    body: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  });
  fc.assert(
    fc.property(answers, (each) => {
      const opened = openAnswer(key, sealAnswer(key, each, context), context);
      expect(JSON.stringify(opened)).toBe(JSON.stringify(each));
    }),
  );
});

test('nothing of it can be read without the key, and sealing twice gives nothing to compare', () => {
  const sealed = sealAnswer(key, answer, context);
  expect(sealed.includes(secret)).toBe(false);
  expect(sealed.includes('application/json')).toBe(false);
  expect(sealed.equals(sealAnswer(key, answer, context))).toBe(false);
});

test('it opens under no other key, in no other place, and not with one bit changed or one byte missing', () => {
  const sealed = sealAnswer(key, answer, context);
  expect(openAnswer(createSecretKey(randomBytes(32)), sealed, context)).toBeNull();
  expect(openAnswer(key, sealed, Buffer.from('elsewhere'))).toBeNull();
  for (let length = 0; length < sealed.length; length++)
    expect(openAnswer(key, sealed.subarray(0, length), context)).toBeNull();
  for (let bit = 0; bit < sealed.length * 8; bit++) {
    const flipped = Buffer.from(sealed);
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    expect(openAnswer(key, flipped, context)).toBeNull();
  }
});
