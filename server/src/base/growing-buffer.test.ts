import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GrowingBuffer } from './growing-buffer.ts';

test('a growing buffer holds what was pushed, in order, and changes no chunk', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 9 })), (chunks) => {
      const buffer = new GrowingBuffer();
      const pushed = chunks.map((chunk) => Buffer.from(chunk));
      for (const chunk of pushed) buffer.push(chunk);
      expect(buffer.bytes()).toEqual(Buffer.concat(chunks));
      expect(buffer.length).toBe(buffer.bytes().length);
      expect(pushed).toEqual(chunks.map((chunk) => Buffer.from(chunk)));
    }),
  );
});

test('a growing buffer of single bytes allocates a buffer for each doubling, not for each byte', () => {
  const buffer = new GrowingBuffer();
  const byte = Buffer.from('a');
  const memories = new Set<ArrayBufferLike>();
  for (let i = 0; i < 1_000_000; i++) {
    buffer.push(byte);
    if (i > 100_000) memories.add(buffer.bytes().buffer);
  }
  expect(buffer.length).toBe(1_000_000);
  expect(memories.size).toBeLessThanOrEqual(5);
});
