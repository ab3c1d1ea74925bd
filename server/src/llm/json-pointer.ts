import { isJsonObject } from './object-reader.ts';

/** A longer one names nothing: no schema has names like that, and each of its steps takes time. */
const referenceCharsMax = 1_000;

/** What `#` and a JSON pointer (RFC 6901, section 6) name in a schema, members of objects alone; undefined for nothing. */
export function referenced(root: unknown, reference: string): unknown {
  if (reference.length > referenceCharsMax || !/^#($|\/)/.test(reference)) return undefined;
  let found: unknown = root;
  for (const step of reference.split('/').slice(1)) {
    const name = decoded(step).replaceAll('~1', '/').replaceAll('~0', '~');
    if (!isJsonObject(found) || !Object.hasOwn(found, name)) return undefined;
    found = found[name];
  }
  return found;
}

/** A fragment is percent-encoded; what is no such encoding stands for itself. */
function decoded(step: string): string {
  try {
    return decodeURIComponent(step);
  } catch {
    return step;
  }
}
