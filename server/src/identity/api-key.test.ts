import { createSecretKey, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scrub } from '../base/log.ts';
import { digestsEqual, formatApiKey, generateApiKey, hashSecret, parseApiKey } from './api-key.ts';

const digits = fc.constantFrom(...'0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'.split(''));
const anyKey = fc.record({
  id: fc.string({ unit: digits, minLength: 12, maxLength: 12 }),
  secret: fc.string({ unit: digits, minLength: 43, maxLength: 43 }),
});

describe('an API key', () => {
  it('comes back from its text as it was', () => {
    fc.assert(
      fc.property(anyKey, (key) => {
        expect(parseApiKey(formatApiKey(key))).toEqual(key);
      }),
    );
  });

  it('with any one character changed, dropped or added is refused offline', () => {
    fc.assert(
      fc.property(
        anyKey,
        fc.nat(),
        fc.string({ minLength: 1, maxLength: 1, unit: 'binary' }),
        (key, position, other) => {
          const text = formatApiKey(key);
          const at = position % text.length;
          fc.pre(text[at] !== other);
          expect(parseApiKey(text.slice(0, at) + other + text.slice(at + 1))).toBeNull();
          expect(parseApiKey(text.slice(0, at) + text.slice(at + 1))).toBeNull();
          expect(parseApiKey(text.slice(0, at) + other + text.slice(at))).toBeNull();
        },
      ),
    );
  });

  it('is refused when the text is not exactly a key', () => {
    const text = formatApiKey(generateApiKey());
    for (const wrong of ['', 'pcl_', ` ${text}`, `${text}\n`, text.toUpperCase(), `${text},${text}`, 'x'.repeat(1e6)]) {
      expect(parseApiKey(wrong)).toBeNull();
    }
  });

  it('keeps its published form, so that issued keys and secret scanners go on working', () => {
    const text = formatApiKey({ id: 'Ab0123456789', secret: `${'0'.repeat(42)}z` });
    expect(text).toBe(`pcl_Ab0123456789_${'0'.repeat(42)}z2Zthvu`);
    expect(text).toHaveLength(66);
  });

  it('is drawn evenly over the 62 digits', () => {
    const counts = new Map<string, number>();
    let drawn = 0;
    for (let i = 0; i < 2000; i++) {
      for (const digit of generateApiKey().secret) {
        counts.set(digit, (counts.get(digit) ?? 0) + 1);
        drawn++;
      }
    }
    const expected = drawn / 62;
    const chiSquare = [...counts.values()].reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
    // 61 degrees of freedom: above 150 comes by chance once in 10^9 runs; taking bytes modulo 62 gives about 600.
    expect(counts.size).toBe(62);
    expect(chiSquare).toBeLessThan(150);
  });

  it('is stored as a hash that depends on the pepper', () => {
    const { secret } = generateApiKey();
    const [pepper, other] = [createSecretKey(randomBytes(32)), createSecretKey(randomBytes(32))];
    expect(digestsEqual(hashSecret(pepper, secret), hashSecret(pepper, secret))).toBe(true);
    expect(digestsEqual(hashSecret(pepper, secret), hashSecret(other, secret))).toBe(false);
    expect(digestsEqual(hashSecret(pepper, secret), hashSecret(pepper, secret).subarray(1))).toBe(false);
  });

  it('is cut from log texts by the redaction pattern', () => {
    const key = generateApiKey();
    expect(scrub(`refused ${formatApiKey(key)} twice`)).toBe(`refused pcl_${key.id}_[redacted] twice`);
  });
});
