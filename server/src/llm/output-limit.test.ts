import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { editBody, scanObject } from './json-scan.ts';
import { outputLimitEdits } from './output-limit.ts';
import { dialects, type Dialect } from './dialect.ts';

function lowered(body: object | string, dialect: Dialect, limit: number, byAllNames = false): string {
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  const scanned = scanObject(bytes, { depthMax: 10 });
  return editBody(bytes, outputLimitEdits(bytes, scanned, dialect, { limit, byAllNames })).toString();
}

describe('an output limit', () => {
  test.each([
    ['anthropic', { model: 'm', max_tokens: 9000, x: 1 }, { model: 'm', max_tokens: 300, x: 1 }],
    ['anthropic', { model: 'm', max_tokens: 200 }, { model: 'm', max_tokens: 200 }],
    ['chat', { model: 'm', max_tokens: 9000 }, { model: 'm', max_tokens: 300 }],
    ['chat', { max_completion_tokens: 9000, model: 'm' }, { max_completion_tokens: 300, model: 'm' }],
    [
      'chat',
      { max_completion_tokens: 200, max_tokens: 400, model: 'm' },
      { max_completion_tokens: 200, max_tokens: 300, model: 'm' },
    ],
    ['chat', { model: 'm' }, { model: 'm', max_completion_tokens: 300 }],
    ['chat', { max_completion_tokens: null, model: 'm' }, { max_completion_tokens: 300, model: 'm' }],
    ['responses', { model: 'm', max_output_tokens: 1e9 }, { model: 'm', max_output_tokens: 300 }],
    ['responses', {}, { max_output_tokens: 300 }],
  ] as const)('of %s is lowered, or set: %j', (dialect, body, expected) => {
    expect(lowered(body, dialect, 300)).toBe(JSON.stringify(expected));
  });

  test('is set by both names for servers that differ in which they obey', () => {
    expect(lowered({ model: 'm', max_tokens: null }, 'chat', 300, true)).toBe(
      '{"model":"m","max_tokens":300,"max_completion_tokens":300}',
    );
    expect(lowered({ model: 'm', max_tokens: 9000 }, 'chat', 300, true)).toBe(
      '{"model":"m","max_tokens":300,"max_completion_tokens":300}',
    );
    expect(lowered({ max_completion_tokens: 200, max_tokens: 9000 }, 'chat', 300, true)).toBe(
      '{"max_completion_tokens":200,"max_tokens":300}',
    );
  });

  test('is changed where it stands, and no other byte is', () => {
    const body = '\n{ "max_tokens" : 9e3 , "messages":[{"max_tokens":7}],"temperature":1.0 } \n';
    expect(lowered(body, 'anthropic', 300)).toBe(body.replace('9e3', '300'));
  });

  test('is never higher than before, nor than wanted', () => {
    const limits = fc.record(
      Object.fromEntries(
        ['max_tokens', 'max_completion_tokens', 'max_output_tokens'].map((name) => [
          name,
          fc.option(fc.integer({ min: 1, max: 1_000 })),
        ]),
      ),
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.constantFrom(...dialects), limits, fc.integer({ min: 1, max: 1_000 }), (dialect, body, limit) => {
        const after = JSON.parse(lowered(body, dialect, limit)) as Record<string, number | null>;
        const names = {
          anthropic: ['max_tokens'],
          chat: ['max_completion_tokens', 'max_tokens'],
          responses: ['max_output_tokens'],
        };
        const set = names[dialect].flatMap((name) => after[name] ?? []);
        expect(Math.max(...set)).toBeLessThanOrEqual(limit);
        const raised = Object.entries(body).filter(([name, before]) => Number(after[name]) > (before ?? Infinity));
        expect(raised).toEqual([]);
      }),
    );
  });
});
