import { parse } from '@bufbuild/cel';
import { ProblemAt } from './problem.ts';

/** The syntax tree of a condition, with where each part of it stands. */
export function readSyntax(text: string): ReturnType<typeof parse> {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof RangeError)
      throw new ProblemAt('too_deep', 0, 'The condition is nested too deeply to be read.');
    throw commonMistake(text) ?? asToldByParser(error);
  }
}

function asToldByParser(error: unknown): ProblemAt {
  const { location, found } = partsOf(error);
  const offset = location?.start.offset ?? 0;
  if (found === '') return new ProblemAt('syntax', offset, 'The condition ends too early.');
  const unexpected = found === undefined ? '' : `: ${JSON.stringify(found)}, or what follows it, is not expected here`;
  return new ProblemAt('syntax', offset, `The condition cannot be read${unexpected}.`);
}

/** What the parser's own errors have, which it does not export. */
function partsOf(error: unknown): {
  readonly location?: { readonly start: { readonly offset: number } };
  readonly found?: string;
} {
  return typeof error === 'object' && error !== null ? error : {};
}

const token =
  /"""[^]*?"""|'''[^]*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|\/\/[^\n]*|["'()[\]{}]|[=!<>&|]+|\b(?:and|or|not)\b/g;

const meant: Readonly<Record<string, string>> = {
  '=': 'Equality is written ==.',
  '===': 'Equality is written ==.',
  '!==': 'Inequality is written !=.',
  '<>': 'Inequality is written !=.',
  '&': '"And" is written &&.',
  and: '"And" is written &&.',
  '|': '"Or" is written ||.',
  or: '"Or" is written ||.',
  not: '"Not" is written !.',
  '"': 'A text begins here and does not end.',
  "'": 'A text begins here and does not end.',
};

const closing: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}' };

/** The parser tells the last place at which all was well so far; these it is worth to look for by name. */
function commonMistake(text: string): ProblemAt | null {
  const open: { readonly bracket: string; readonly offset: number }[] = [];
  for (const { 0: found, index: offset } of text.matchAll(token)) {
    const message = Object.hasOwn(meant, found) ? meant[found] : undefined;
    if (message !== undefined) return new ProblemAt('syntax', offset, message);
    if (Object.hasOwn(closing, found)) open.push({ bracket: found, offset });
    if (!/^[)\]}]$/.test(found)) continue;
    const last = open.pop();
    if (last === undefined || closing[last.bracket] !== found)
      return new ProblemAt('syntax', offset, `This "${found}" closes nothing.`);
  }
  const last = open.at(-1);
  return last === undefined ? null : new ProblemAt('syntax', last.offset, `This "${last.bracket}" is not closed.`);
}
