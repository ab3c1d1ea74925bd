import type { Dialect } from './dialect.ts';
import { type BodyEdit, type ScannedBody, readNumber } from './json-scan.ts';

/** The names of the output limit; of several, the first is the one to write. */
const names: Readonly<Record<Dialect, readonly [string, ...string[]]>> = {
  anthropic: ['max_tokens'],
  chat: ['max_completion_tokens', 'max_tokens'],
  responses: ['max_output_tokens'],
};

/**
 * The edits that lower the output limit of a request to `limit`, by whichever of its names it goes, or that set it where
 * the request leaves it out.
 * @param byAllNames sets it by every name, for servers that differ in which they obey
 */
export function outputLimitEdits(
  body: Buffer,
  { members }: ScannedBody,
  dialect: Dialect,
  { limit, byAllNames }: { readonly limit: number; readonly byAllNames: boolean },
): BodyEdit[] {
  const json = String(limit);
  const given = names[dialect].map((name) => members.get(name)).filter((member) => member?.kind === 'number');
  if (given.length > 0)
    return given.flatMap((member) =>
      member && readNumber(body, member) > limit ? { start: member.start, end: member.end, json } : [],
    );
  const end = body.lastIndexOf('}');
  return names[dialect].slice(0, byAllNames ? undefined : 1).map((name) => {
    const nothing = members.get(name);
    if (nothing) return { start: nothing.start, end: nothing.end, json };
    return { start: end, end, json: `${members.size > 0 ? ',' : ''}"${name}":${json}` };
  });
}
