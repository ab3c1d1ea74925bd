import { canonicalJson } from '../audit/canonical-json.ts';
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
