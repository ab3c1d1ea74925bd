import type { JsonObject } from './conversation.ts';
import { isJsonObject } from './object-reader.ts';

/** Keywords of one schema, of a list of them, and of schemas by name. */
const one = ['items', 'additionalProperties'];
const several = ['anyOf', 'oneOf', 'allOf', 'prefixItems'];
const byName = ['properties', '$defs', 'definitions'];

/**
 * Whether an object somewhere in a schema may leave a member out. OpenAI holds a model to a schema (`strict`) only where
 * none may; Anthropic does so anyway.
 */
export function hasOptionalMembers(schema: JsonObject): boolean {
  const pending: unknown[] = [schema];
  for (let each = pending.pop(); each !== undefined; each = pending.pop()) {
    if (!isJsonObject(each)) continue;
    const { properties, required } = each;
    const names = new Set(listOf(required));
    if (isJsonObject(properties) && Object.keys(properties).some((name) => !names.has(name))) return true;
    for (const keyword of one) pending.push(each[keyword] ?? true);
    for (const keyword of several) for (const member of listOf(each[keyword])) pending.push(member);
    for (const keyword of byName) for (const member of Object.values(each[keyword] ?? {})) pending.push(member);
  }
  return false;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
