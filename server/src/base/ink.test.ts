import { expect, it } from 'vitest';
import { hasInk } from './ink.ts';

it.each([
  '',
  ' ',
  '\u2800',
  '\u3164',
  '\uFFA0',
  '\u115F\u1160',
  '\u200B',
  '\u00AD',
  '\uFE0F',
  '\u{E0041}',
  '\u202E \u2069',
  '\u3000\t',
])('sees no ink in what shows nothing (%j)', (text) => expect(hasInk(text)).toBe(false));

it.each(['.', 'a', '\u0301', '\u2801', ' \u3164x', '\u{1F41B}', 'ㅤㄱ'])('sees it in what shows something (%j)', (text) =>
  expect(hasInk(text)).toBe(true),
);
