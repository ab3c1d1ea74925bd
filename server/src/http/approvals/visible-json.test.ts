import fc from 'fast-check';
import { expect, it } from 'vitest';
import { visibleJson } from './visible-json.ts';

it('shows what would hide, or turn text round, and parses to the same value', () => {
  const hidden = 'rm\u202e -rf\u200b\u0000\u2028\u{e0041}\ufe0f\u3164\u00a0x';
  const text = visibleJson({ [hidden]: [hidden, 'é 日本 😀'] });
  expect(text).not.toMatch(/(?![ \n])[\p{C}\p{Z}\p{DI}]/u);
  expect(text).toContain('rm\\u202e -rf\\u200b\\u0000\\u2028\\udb40\\udc41\\ufe0f\\u3164\\u00a0x');
  expect(text).toContain('é 日本 😀');
  expect(JSON.parse(text)).toEqual({ [hidden]: [hidden, 'é 日本 😀'] });
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(JSON.parse(visibleJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
    }),
  );
});
