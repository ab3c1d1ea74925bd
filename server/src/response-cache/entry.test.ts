import { createSecretKey, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeEntry, encodeEntry } from './entry.ts';

const sealKey = createSecretKey(randomBytes(32));
const key = randomBytes(32);
const head = { projectId: 'prj_a', key, storedAt: 1_800_000_000_000, expiresAt: 1_800_000_060_000 };
const answer = { status: 200, headers: { 'content-type': 'application/json' }, body: Buffer.from('{"said":"hello"}') };
const entry = encodeEntry(sealKey, head, answer);

const faultOf = (bytes: Buffer, projectId = 'prj_a', wanted = key, seal = sealKey) =>
  decodeEntry(seal, bytes, projectId, wanted).fault;

test('an entry is read as it was written, whatever it holds', () => {
  const heads = fc.record({
    projectId: fc.string({ maxLength: 60, unit: 'grapheme' }),
    key: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes)),
    storedAt: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
    expiresAt: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  });
  const bodies = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
  fc.assert(
    fc.property(heads, bodies, (each, body) => {
      const { storedAt, expiresAt } = each;
      const written = { ...answer, body };
      const read = decodeEntry(sealKey, encodeEntry(sealKey, each, written), each.projectId, each.key);
      expect(read).toEqual({ fault: null, entry: { answer: written, storedAt, expiresAt } });
    }),
  );
});

test('every single bit that flips is found', () => {
  for (let bit = 0; bit < entry.length * 8; bit++) {
    const flipped = Buffer.from(entry);
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    expect(faultOf(flipped), `bit ${bit}`).not.toBeNull();
  }
});

test('it is found at every length that it is cut to, and when something follows', () => {
  for (let length = 0; length < entry.length; length++)
    expect(faultOf(entry.subarray(0, length))).toBe(length < 4 ? 'malformed' : 'truncated');
  expect(faultOf(Buffer.concat([entry, Buffer.from([0])]))).toBe('truncated');
});

test('bytes of any kind never make it throw, and are no entry', () => {
  const bytes = fc.uint8Array({ maxLength: 200 });
  fc.assert(
    fc.property(bytes, fc.nat({ max: entry.length }), fc.nat({ max: entry.length }), (noise, from, to) => {
      expect(faultOf(Buffer.from(noise))).not.toBeNull();
      const mixed = Buffer.concat([entry.subarray(0, from), noise, entry.subarray(to)]);
      expect(mixed.equals(entry) || faultOf(mixed) !== null).toBe(true);
    }),
  );
});

test('an entry of another format, project or key is not taken, though it is whole', () => {
  const newer = Buffer.from(entry);
  newer.writeUInt16BE(2, 4);
  expect(faultOf(newer)).toBe('version');
  expect(faultOf(entry, 'prj_b')).toBe('project');
  expect(faultOf(entry, 'prj_a', randomBytes(32))).toBe('key');
});

test('who can write to the database and has no master key can plant nothing', () => {
  const stranger = createSecretKey(randomBytes(32));
  expect(faultOf(encodeEntry(stranger, head, answer))).toBe('seal');
  // The answer of one entry under the fields of another, with a digest that holds.
  const later = encodeEntry(sealKey, { ...head, expiresAt: head.expiresAt + 1 }, answer);
  const forged = encodeEntry(stranger, head, answer);
  expect(faultOf(later)).toBeNull();
  expect(faultOf(forged, 'prj_a', key, stranger)).toBeNull();
  expect(faultOf(forged)).toBe('seal');
});

test('an entry says nothing of the answer', () => {
  expect(entry.includes('hello')).toBe(false);
});
