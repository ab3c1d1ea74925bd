import { describe, expect, it } from 'vitest';
import type { Findings } from './environment.ts';
import { type ConfigFile, parseConfigFile } from './file.ts';

/** What the file says with this under its one provider. */
function read(yaml: string): { readonly file: ConfigFile | null; readonly problems: readonly string[] } {
  const findings: Findings = { problems: [], notes: [] };
  const text = `providers: { a: { kind: openai-compatible, base_url: "http://x/v1", ${yaml} } }`;
  return { file: parseConfigFile(text, {}, findings), problems: findings.problems };
}

describe('a declared price', () => {
  it('may change with time: at a midnight of Greenwich, or at any other moment', () => {
    const list = `price: [
      { from: 2026-06-01, input: 1, output: 2 },
      { from: 2026-12-01T00:00:00+01:00, input: 0.5, output: 1, reasoning: "1.5" }]`;
    expect(read(list).file?.providers['a']?.price).toEqual([
      { from: Date.parse('2026-06-01T00:00:00Z'), input: 1_000_000_000n, output: 2_000_000_000n },
      {
        from: Date.parse('2026-11-30T23:00:00Z'),
        input: 500_000_000n,
        output: 1_000_000_000n,
        reasoning: 1_500_000_000n,
      },
    ]);
  });

  it.each([
    ['price: []', /price/],
    ['price: [{ input: 1, output: 1 }]', /write `free`, or/],
    ['price: [{ from: tomorrow, input: 1, output: 1 }]', /price\.0\.from.*write a day like 2026-12-01/],
    ['price: [{ from: 2026-02-30, input: 1, output: 1 }]', /write `free`, or/],
    [
      'price: [{ from: 2026-12-01, input: 1, output: 1 }, { from: 2026-06-01, input: 1, output: 1 }]',
      /is not in the order of time/,
    ],
    ['unknown_price: allow', /write `deny`, or/],
    ['unknown_price: { assume: { input: 1 } }', /write `deny`, or/],
    ['account_terms: { service_tier: "PRIORITY!" }', /write it as the vendor does/],
    ['account_terms: { region: Europe }', /write it as the vendor does, like eu/],
    ['price: { input: 10001, output: 1 }', /write `free`, or/],
  ])('is refused: %s', (yaml, problem) => {
    const { file, problems } = read(yaml);
    expect(file).toBeNull();
    expect(problems.join('\n')).toMatch(problem);
  });
});

describe('an unknown price', () => {
  it('is denied, or taken to be something', () => {
    expect(read('unknown_price: deny').file?.providers['a']?.unknown_price).toBe('deny');
    expect(read('unknown_price: { assume: { input: 1, output: 2 } }').file?.providers['a']?.unknown_price).toEqual({
      assume: { input: 1_000_000_000n, output: 2_000_000_000n },
    });
  });
});
