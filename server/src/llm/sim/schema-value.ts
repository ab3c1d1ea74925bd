import type { JsonObject } from '../conversation.ts';
import { referenced } from '../json-pointer.ts';
import { isJsonObject } from '../object-reader.ts';

/** How deep a schema is followed; a schema may refer to itself. */
const depthMax = 12;
const itemsMax = 20;

/**
 * What one value may take: schemas looked at, names, and characters that the schema gives. Without it a schema that refers
 * to itself twice would grow by powers.
 */
const effortMax = 10_000;
const listMax = 1_000;

const formats: Readonly<Record<string, string>> = {
  date: '2000-01-01',
  time: '00:00:00Z',
  'date-time': '2000-01-01T00:00:00Z',
  email: 'sim@example.com',
  uri: 'https://example.com/',
  uuid: '00000000-0000-4000-8000-000000000000',
  hostname: 'example.com',
  ipv4: '192.0.2.1',
};

/**
 * A small value that a JSON Schema accepts: required members only, the first of alternatives, the least number.
 * Not every schema can be met this way (`pattern`, `not`); a tool then sees what a real model's mistake looks like.
 */
export function schemaValue(schema: JsonObject): unknown {
  return value(schema, new Root(schema), 0);
}

/** The whole schema, and the effort that is left. */
class Root {
  readonly schema: JsonObject;
  #left = effortMax;

  constructor(schema: JsonObject) {
    this.schema = schema;
  }

  /** @returns whether there was so much left */
  spend(effort: number): boolean {
    this.#left -= effort;
    return this.#left >= 0;
  }
}

function value(schema: unknown, root: Root, depth: number): unknown {
  if (!isJsonObject(schema) || depth > depthMax || !root.spend(1)) return null;
  const whole = resolve(schema, root, depth);
  if ('const' in whole) return given(whole['const'], root);
  if (Array.isArray(whole['enum'])) return given(whole['enum'][0], root);
  if ('default' in whole) return given(whole['default'], root);
  switch (typeOf(whole)) {
    case 'object':
      return objectValue(whole, root, depth);
    case 'array':
      return arrayValue(whole, root, depth);
    case 'string':
      return stringValue(whole, root);
    case 'integer':
      return numberValue(whole, 1);
    case 'number':
      return numberValue(whole, null);
    case 'boolean':
      return false;
    default:
      return null;
  }
}

/** A value that the schema gives itself. */
function given(json: unknown, root: Root): unknown {
  return root.spend(JSON.stringify(json)?.length ?? 0) ? json : null;
}

/** The schema with its reference followed, its first alternative taken, and the parts of `allOf` put together. */
function resolve(schema: JsonObject, root: Root, depth: number): JsonObject {
  const { $ref: ref, anyOf, oneOf, allOf, ...own } = schema;
  const first = [anyOf, oneOf].filter(Array.isArray).map((list: readonly unknown[]) => list[0]);
  const parts = [...(typeof ref === 'string' ? [referenced(root.schema, ref)] : []), ...first, ...listOf(allOf)];
  if (depth > depthMax) return own;
  let merged: JsonObject = own;
  for (const part of parts.filter(isJsonObject)) {
    if (!root.spend(1 + Object.keys(objectOf(merged['properties'])).length)) break;
    merged = merge(merged, resolve(part, root, depth + 1));
  }
  return merged;
}

function merge(a: JsonObject, b: JsonObject): JsonObject {
  return {
    ...a,
    ...b,
    ...((a['properties'] ?? b['properties']) !== undefined && {
      properties: { ...objectOf(a['properties']), ...objectOf(b['properties']) },
    }),
    ...((a['required'] ?? b['required']) !== undefined && {
      required: [...listOf(a['required']), ...listOf(b['required'])],
    }),
  };
}

function typeOf(schema: JsonObject): unknown {
  const { type } = schema;
  if (Array.isArray(type)) return type.find((each) => each !== 'null') ?? 'null';
  return type ?? ('properties' in schema ? 'object' : 'items' in schema ? 'array' : 'string');
}

function objectValue(schema: JsonObject, root: Root, depth: number): JsonObject {
  const properties = objectOf(schema['properties']);
  const names = listOf(schema['required']).filter((name) => typeof name === 'string');
  if (!root.spend(names.join('').length)) return {};
  return Object.fromEntries(names.map((name) => [name, value(properties[name] ?? {}, root, depth + 1)]));
}

function arrayValue(schema: JsonObject, root: Root, depth: number): unknown[] {
  const length = Math.min(numberOf(schema['minItems']) ?? 0, itemsMax);
  if (!root.spend(length)) return [];
  const prefix = listOf(schema['prefixItems']);
  return Array.from({ length }, (_, i) => value(prefix[i] ?? schema['items'] ?? {}, root, depth + 1));
}

function stringValue(schema: JsonObject, root: Root): string | null {
  const known = typeof schema['format'] === 'string' ? formats[schema['format']] : undefined;
  if (known !== undefined) return known;
  const text = 'simulated'.padEnd(Math.min(numberOf(schema['minLength']) ?? 0, 1000), '.');
  return root.spend(text.length) ? text.slice(0, numberOf(schema['maxLength']) ?? text.length) : null;
}

function numberValue(schema: JsonObject, wholeStep: number | null): number {
  const step = numberOf(schema['multipleOf']) ?? wholeStep;
  const above = numberOf(schema['exclusiveMinimum']);
  const least = above === null ? (numberOf(schema['minimum']) ?? 0) : above + (step ?? 1);
  const most = numberOf(schema['maximum']) ?? Infinity;
  const start = least > 0 ? least : Math.min(Math.max(least, 0), most);
  return step === null ? start : Math.ceil(start / step) * step;
}

function numberOf(json: unknown): number | null {
  return typeof json === 'number' ? json : null;
}

function objectOf(json: unknown): JsonObject {
  return isJsonObject(json) ? json : {};
}

function listOf(json: unknown): readonly unknown[] {
  return Array.isArray(json) ? json.slice(0, listMax) : [];
}
