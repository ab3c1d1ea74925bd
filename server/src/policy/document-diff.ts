import { canonicalJson, type JsonValue } from '../audit/canonical-json.ts';
import { documentToJson, type PolicyDocument } from './document.ts';

/** What one document has that another has not, by names. */
export interface DocumentDiff {
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
}

/** What differs between two documents: `rule NAME`, `cap NAME`, `signed scope NAME`. */
export function diffDocuments(before: PolicyDocument, after: PolicyDocument): DocumentDiff {
  const [old, now] = [partsOf(before), partsOf(after)];
  const names = [...now.keys()];
  return {
    added: names.filter((name) => !old.has(name)),
    changed: names.filter((name) => old.has(name) && old.get(name) !== now.get(name)),
    removed: [...old.keys()].filter((name) => !now.has(name)),
  };
}

function partsOf(document: PolicyDocument): Map<string, string> {
  const { rules, caps } = documentToJson(document);
  return new Map([
    ...document.rules.map(({ name }, at) => [`rule ${name}`, canonicalJson(rules[at] ?? null)] as const),
    ...document.caps.map(({ name }, at) => [`cap ${name}`, canonicalJson(caps[at] ?? null)] as const),
    ...document.signedScopes.map((scope) => [`signed scope ${scope}`, ''] as const),
  ]);
}

/** The same in full, for people: each part with the lines that it loses and gains. */
export function diffText(before: PolicyDocument, after: PolicyDocument): string {
  const [old, now] = [linesOf(before), linesOf(after)];
  const names = [...new Set([...old.keys(), ...now.keys()])];
  return names
    .flatMap((name) => {
      const [was = [], is = []] = [old.get(name), now.get(name)];
      if (was.join('\n') === is.join('\n') && old.has(name) === now.has(name)) return [];
      const sign = old.has(name) ? (now.has(name) ? '~' : '-') : '+';
      const lost = was.filter((line) => !is.includes(line)).map((line) => `  - ${line}`);
      const gained = is.filter((line) => !was.includes(line)).map((line) => `  + ${line}`);
      return [`${sign} ${name}`, ...lost, ...gained];
    })
    .join('\n');
}

/** Each part as lines, a member each. */
function linesOf(document: PolicyDocument): Map<string, string[]> {
  const { rules, caps } = documentToJson(document);
  const lines = (part: unknown) =>
    Object.entries(part as Record<string, JsonValue>).map(([name, value]) => `${name}: ${canonicalJson(value)}`);
  return new Map([
    ...document.rules.map(({ name }, at) => [`rule ${name}`, lines(rules[at])] as const),
    ...document.caps.map(({ name }, at) => [`cap ${name}`, lines(caps[at])] as const),
    ...document.signedScopes.map((scope) => [`signed scope ${scope}`, [] as string[]] as const),
  ]);
}
