import { describe, expect, it } from 'vitest';
import { assumedPrice, declaredSheets, freePrice } from './declared-price.ts';
import { isFree } from './price.ts';
import { sheetAt } from './sheets.ts';
import { declaredPrice } from './testing/prices.ts';

const usd = 1_000_000_000n;

describe('a declared price', () => {
  it('is free when it says so', () => {
    expect(declaredPrice('openai-compatible', 'free')).toBe(freePrice);
    expect(isFree(freePrice)).toBe(true);
    expect(isFree(declaredPrice('openai-compatible', { input: 0n, output: 0n }))).toBe(true);
    expect(isFree(declaredPrice('openai-compatible', { input: 0n, output: 1n }))).toBe(false);
    // The tokens may be free there, but the searches are not.
    expect(isFree(declaredPrice('anthropic', { input: 0n, output: 0n }))).toBe(false);
  });

  it('takes the dearest that applies for what it leaves out, and says so in its version', () => {
    const { base, version } = declaredPrice('openai-compatible', { input: 2n * usd, output: 6n * usd });
    expect(base).toEqual({
      input: 2n * usd,
      output: 6n * usd,
      reasoning: 6n * usd,
      cacheRead: 2n * usd,
      cacheWrite5m: 2n * usd,
      cacheWrite1h: 2n * usd,
    });
    expect(version).toBe('declared $2.00 $6.00 $2.00 $2.00 $2.00');
    expect(declaredPrice('anthropic', { input: 2n * usd, output: 6n * usd }).base).toMatchObject({
      cacheWrite5m: 2_500_000_000n,
      cacheWrite1h: 4n * usd,
    });
    expect(declaredPrice('openai', { input: 2n, output: 6n, cache_write_5m: 3n }).base.cacheWrite1h).toBe(6n);
  });

  it('keeps what it says', () => {
    const declared = { input: 4n, output: 5n, reasoning: 6n, cache_read: 1n, cache_write_5m: 2n, cache_write_1h: 3n };
    expect(declaredPrice('anthropic', declared).base).toEqual({
      input: 4n,
      output: 5n,
      reasoning: 6n,
      cacheRead: 1n,
      cacheWrite5m: 2n,
      cacheWrite1h: 3n,
    });
  });

  it('is at every moment the one of that moment, and none before the first', () => {
    const midnight = Date.parse('2026-12-01T00:00:00Z');
    const sheets = declaredSheets('openai', [
      { from: Date.parse('2026-06-01'), input: 1n * usd, output: 1n * usd },
      { from: midnight, input: 2n * usd, output: 2n * usd },
    ]);
    expect(sheetAt(sheets, Date.parse('2026-05-31T23:59:59.999Z'))).toBeNull();
    expect(sheetAt(sheets, midnight - 1)?.base.input).toBe(1n * usd);
    expect(sheetAt(sheets, midnight)).toMatchObject({
      base: { input: 2n * usd },
      version: 'declared from 2026-12-01: $2.00 $2.00 $2.00 $2.00 $2.00',
    });
  });

  it('says that it is assumed where it stands in for one that nobody knows', () => {
    expect(assumedPrice('openai', { input: 1n * usd, output: 2n * usd }).version).toMatch(/^assumed \$1\.00 \$2\.00 /);
  });
});
