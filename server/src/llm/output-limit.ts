import type { Dialect } from './dialect.ts';
import { type BodyEdit, type ScannedBody, readNumber } from './json-scan.ts';

/** The names of the output limit; of several, the first is the one to write. */
const names: Readonly<Record<Dialect, readonly [string, ...string[]]>> = {
  anthropic: ['max_tokens'],
  chat: ['max_completion_tokens', 'max_tokens'],
  responses: ['max_output_tokens'],
};

/** How a dialect spells its output limit: the newest name of several. */
export function outputLimitName(dialect: Dialect): string {
  return names[dialect][0];
}

/**
 * The edits that lower the output limit of a request to `limit`, by whichever of its names it goes, or that set it where
 * the request leaves it out.
 * @param byAllNames sets it also by each name that is not given, for servers that differ in which they obey
 */
export function outputLimitEdits(
  body: Buffer,
  { members }: ScannedBody,
  dialect: Dialect,
  { limit, byAllNames }: { readonly limit: number; readonly byAllNames: boolean },
): BodyEdit[] {
  const json = String(limit);
  const end = body.lastIndexOf('}');
  const isGiven = (name: string) => members.get(name)?.kind === 'number';
  const none = !names[dialect].some(isGiven);
  return names[dialect].flatMap((name, i) => {
    const member = members.get(name);
    if (member && isGiven(name))
      return readNumber(body, member) > limit ? { start: member.start, end: member.end, json } : [];
    if (!byAllNames && !(none && i === 0)) return [];
    if (member) return { start: member.start, end: member.end, json };
    return { start: end, end, json: `${members.size > 0 ? ',' : ''}"${name}":${json}` };
  });
}
