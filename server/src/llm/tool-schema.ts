import type { JsonObject } from './conversation.ts';
import { isJsonObject } from './object-reader.ts';

/** Keywords that every server with tools understands (the schema objects of OpenAPI 3.0). */
const plainKeywords = new Set([
  'type',
  'title',
  'description',
  'enum',
  'properties',
  'required',
  'items',
  'anyOf',
  'nullable',
  'default',
  'minimum',
  'maximum',
  'minItems',
  'maxItems',
  'minLength',
  'maxLength',
  'pattern',
  'format',
]);

const plainFormats = new Set(['date-time', 'enum', 'int32', 'int64', 'float', 'double']);

const depthMax = 32;

/** References to references grow like powers: the plain schema may be this much longer than the one that was given. */
const growthMax = 8;
const charsMin = 4_096;

/** What one of two schemas that both apply may say alone, without a loss. */
const annotations = new Set(['title', 'description', 'default']);

/**
 * A tool's schema in the plain part of JSON Schema. What is left out only ever forbids less, so that every input that the
 * schema allowed is still allowed: `$ref` becomes what it names (and nothing where it names itself), `const` an `enum` of
 * one, `oneOf` an `anyOf`, `allOf` of one its member, an alternative of `null` becomes `nullable`, and unknown formats
 * and keywords go.
 * @returns the schema and whether anything was lost
 */
export function plainSchema(schema: JsonObject): { readonly schema: JsonObject; readonly lost: boolean } {
  const plain = new PlainSchema(schema);
  const result = plain.write(schema, 0);
  return { schema: { type: 'object', ...result }, lost: plain.lost };
}

class PlainSchema {
  lost = false;
  readonly #root: JsonObject;
  /** The references that are being replaced. */
  readonly #open = new Set<string>();
  /** Characters that may still be written. */
  #room: number;

  constructor(root: JsonObject) {
    this.#root = root;
    this.#room = Math.max(charsMin, growthMax * JSON.stringify(root).length);
  }

  write(schema: unknown, depth: number): JsonObject {
    if (schema === true) return {};
    if (!isJsonObject(schema) || depth > depthMax || this.#room <= 0) return this.#nothing();
    const { $ref: reference, allOf, ...rest } = schema;
    if (typeof reference === 'string')
      return this.#resolved(reference, allOf === undefined ? rest : { ...rest, allOf }, depth);
    if (allOf !== undefined) return this.#combined(allOf, rest, depth);
    const written: Record<string, unknown> = {};
    const keywords = Object.entries(rest);
    this.#room -= keywords.length;
    for (const [keyword, value] of keywords) Object.assign(written, this.#keyword(keyword, value, depth));
    return written;
  }

  /** The keywords that stand for one. */
  #keyword(keyword: string, value: unknown, depth: number): JsonObject {
    if (this.#room <= 0) return this.#nothing();
    switch (keyword) {
      case 'properties':
        return isJsonObject(value) ? { properties: this.#properties(value, depth) } : this.#nothing();
      case 'items':
        return { items: this.write(value, depth + 1) };
      case 'anyOf':
      case 'oneOf':
        return Array.isArray(value) ? this.#alternatives(value, depth) : this.#nothing();
      case 'const':
        return { enum: [this.#spent(value)] };
      case 'type':
        return Array.isArray(value) ? this.#types(value) : { type: this.#spent(value) };
      case 'format':
        return plainFormats.has(String(value)) ? { format: value } : this.#nothing();
      default:
        if (plainKeywords.has(keyword)) return { [keyword]: this.#spent(value) };
        return silent.has(keyword) ? {} : this.#nothing();
    }
  }

  #properties(properties: JsonObject, depth: number): JsonObject {
    const written: [string, JsonObject][] = [];
    for (const [name, property] of Object.entries(properties)) {
      if (this.#room <= 0) return { ...this.#nothing(), ...Object.fromEntries(written) };
      written.push([this.#spent(name), this.write(property, depth + 1)]);
    }
    return Object.fromEntries(written);
  }

  #alternatives(schemas: readonly unknown[], depth: number): JsonObject {
    const others = schemas.filter((schema) => !isNull(schema));
    // Each may be of a few characters, so that only their number bounds them.
    if (others.length === 0 || others.length > this.#room) return this.#nothing();
    const nullable = others.length < schemas.length && { nullable: true };
    this.#room -= others.length;
    const written = others.map((schema) => this.write(schema, depth + 1));
    return { ...(written.length === 1 ? written[0] : { anyOf: written }), ...nullable };
  }

  /** Two types of which one is null say `nullable`; more have no plain form. */
  #types(types: readonly unknown[]): JsonObject {
    const others = types.filter((type) => type !== 'null');
    if (others.length !== 1) return this.#nothing();
    return { type: others[0], ...(others.length < types.length && { nullable: true }) };
  }

  #resolved(reference: string, beside: JsonObject, depth: number): JsonObject {
    if (this.#open.has(reference)) return { ...this.#nothing(), ...this.write(beside, depth + 1) };
    this.#open.add(reference);
    const written = this.write(this.#both(this.#named(reference), beside), depth + 1);
    this.#open.delete(reference);
    return written;
  }

  #combined(allOf: unknown, beside: JsonObject, depth: number): JsonObject {
    const [only, ...others] = Array.isArray(allOf) ? allOf : [];
    if (!isJsonObject(only) || others.length > 0) return { ...this.#nothing(), ...this.write(beside, depth + 1) };
    return this.write(this.#both(only, beside), depth + 1);
  }

  /** Two schemas that both apply. Where they say the same thing differently, the one closer to the place wins. */
  #both(far: JsonObject, near: JsonObject): JsonObject {
    const clash = (keyword: string) => Object.hasOwn(far, keyword) && far[keyword] !== near[keyword];
    if (Object.keys(near).some((keyword) => !annotations.has(keyword) && clash(keyword))) this.lost = true;
    return { ...far, ...near };
  }

  /** What a JSON pointer within the schema names (RFC 6901, section 6). */
  #named(reference: string): JsonObject {
    if (!reference.startsWith('#/')) return this.#nothing();
    let named: unknown = this.#root;
    for (const step of reference.slice(2).split('/')) {
      const name = decoded(step).replaceAll('~1', '/').replaceAll('~0', '~');
      named = isJsonObject(named) && Object.hasOwn(named, name) ? named[name] : undefined;
    }
    return isJsonObject(named) ? named : this.#nothing();
  }

  #spent<T>(value: T): T {
    this.#room -= JSON.stringify(value).length;
    return value;
  }

  #nothing(): JsonObject {
    this.lost = true;
    return {};
  }
}

function isNull(schema: unknown): boolean {
  return isJsonObject(schema) && (schema['type'] === 'null' || schema['const'] === null);
}

function decoded(step: string): string {
  try {
    return decodeURIComponent(step);
  } catch {
    return step;
  }
}

/** Keywords that say nothing about an input. */
const silent = new Set([
  '$schema',
  '$id',
  '$defs',
  'definitions',
  '$comment',
  'examples',
  'deprecated',
  'readOnly',
  'writeOnly',
]);
