import type { JsonObject } from './conversation.ts';
import { referenced } from './json-pointer.ts';
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

/** What one of two schemas that both apply may say alone, without a loss. */
const annotations = new Set(['title', 'description', 'default']);

const depthMax = 32;

/**
 * References to references grow like powers: so much may they add to the schemas of one request, all together, as a
 * multiple of these and in characters.
 */
const growthMax = 8;
const growthCharsMin = 4_096;
const growthCharsMax = 262_144;

export interface PlainSchema {
  readonly schema: JsonObject;
  /** Whether it allows what the schema that it was made from did not. */
  readonly lost: boolean;
}

/**
 * The schemas of the tools of one request in the plain part of JSON Schema. What is left out only ever forbids less, so
 * that every input that a schema allowed is still allowed: `$ref` and `allOf` become what they stand for (and nothing
 * where a reference names itself), `const` an `enum` of one, `oneOf` an `anyOf`, an alternative of `null` becomes
 * `nullable`, and unknown formats and keywords go.
 */
export function plainSchemas(schemas: readonly JsonObject[]): PlainSchema[] {
  const sizes = schemas.map((schema) => JSON.stringify(schema).length);
  const chars = sizes.reduce((sum, each) => sum + each, 0);
  let growth = Math.min(Math.max(growthMax * chars, growthCharsMin), growthCharsMax);
  return schemas.map((schema, i) => {
    const own = sizes[i] ?? 0;
    const writer = new PlainWriter(schema, own + growth);
    const written = writer.write(schema, 0);
    // Each has its own size for itself, whatever the others took.
    growth = Math.min(growth, Math.max(writer.room, 0));
    return { schema: { type: 'object', ...written }, lost: writer.lost };
  });
}

/** What a schema says, apart from what it refers to. */
interface Said {
  /** In plain words, but for the schemas within, which are as they were given, and for lists of types. */
  readonly keywords: JsonObject;
  readonly reference: string | null;
  /** Schemas that apply in the same place. */
  readonly also: readonly unknown[];
}

/** Writes one schema. Whatever is done again where a schema is named again is paid for out of `room`. */
class PlainWriter {
  lost = false;
  /** Characters that may still be written, and schemas that may still be looked at. */
  room: number;
  readonly #root: JsonObject;
  readonly #said = new Map<JsonObject, Said>();
  readonly #named = new Map<string, unknown>();
  /** The references that are being replaced. The whole is what we are in. */
  readonly #open = new Set(['#']);

  constructor(root: JsonObject, room: number) {
    this.#root = root;
    this.room = room;
  }

  write(schema: unknown, depth: number): JsonObject {
    if (depth > depthMax) return this.#nothing();
    const opened: string[] = [];
    const whole = this.#whole(schema, opened);
    const written: Record<string, unknown> = {};
    for (const [keyword, value] of Object.entries(whole)) Object.assign(written, this.#keyword(keyword, value, depth));
    for (const reference of opened) this.#open.delete(reference);
    return written;
  }

  /** All that applies in the place of a schema; the references that were replaced for it stay open. */
  #whole(schema: unknown, opened: string[]): JsonObject {
    let whole: JsonObject = {};
    const pending = [schema];
    for (let at = 0; at < pending.length; at++) {
      const each = pending[at];
      if (each === true) continue;
      if (!isJsonObject(each) || this.room <= 0) {
        this.lost = true;
        continue;
      }
      const { keywords, reference, also } = this.#read(each);
      this.room -= 1 + Object.keys(keywords).length + also.length;
      whole = this.#both(keywords, whole);
      if (reference !== null && this.#opens(reference, opened)) pending.push(this.#lookUp(reference));
      for (const one of also) pending.push(one);
    }
    return whole;
  }

  #opens(reference: string, opened: string[]): boolean {
    if (this.#open.has(reference)) {
      this.lost = true;
      return false;
    }
    this.#open.add(reference);
    opened.push(reference);
    return true;
  }

  #lookUp(reference: string): unknown {
    if (!this.#named.has(reference)) this.#named.set(reference, referenced(this.#root, reference));
    return this.#named.get(reference);
  }

  /** What a schema says by itself: read once, so that its other keywords cost nothing where it is named again. */
  #read(schema: JsonObject): Said {
    const known = this.#said.get(schema);
    if (known !== undefined) return known;
    const { $ref: reference = null, allOf = [], ...rest } = schema;
    const keywords: Record<string, unknown> = {};
    for (const [keyword, value] of Object.entries(rest)) {
      const plain = this.#plain(keyword, value);
      if (plain !== null && !Object.hasOwn(keywords, plain.keyword)) keywords[plain.keyword] = plain.value;
      else if (!silent.has(keyword)) this.lost = true;
    }
    const { anyOf, ...others } = keywords;
    const { alternatives, nullable } = this.#alternatives(listOf(anyOf));
    if (nullable && restrictsType(others)) this.lost = true;
    if ((reference !== null && typeof reference !== 'string') || !Array.isArray(allOf)) this.lost = true;
    const said = {
      keywords: {
        ...others,
        ...(alternatives.length > 1 && { anyOf: alternatives }),
        ...(nullable && { nullable }),
      },
      reference: typeof reference === 'string' ? reference : null,
      also: [...listOf(allOf), ...onlyOne(alternatives)],
    };
    this.#said.set(schema, said);
    return said;
  }

  /** Null for what has no plain form. */
  #plain(keyword: string, value: unknown): { readonly keyword: string; readonly value: unknown } | null {
    switch (keyword) {
      case 'properties':
        return isJsonObject(value) ? { keyword, value } : null;
      case 'anyOf':
      case 'oneOf':
        return Array.isArray(value) ? { keyword: 'anyOf', value } : null;
      case 'const':
        return { keyword: 'enum', value: [value] };
      case 'format':
        return plainFormats.has(String(value)) ? { keyword, value } : null;
      default:
        return plainKeywords.has(keyword) ? { keyword, value } : null;
    }
  }

  #alternatives(schemas: readonly unknown[]): { alternatives: readonly unknown[]; nullable: boolean } {
    const alternatives = schemas.filter((schema) => !this.#isNull(schema));
    // Nothing but null has no plain form.
    if (alternatives.length === 0 && schemas.length > 0) this.lost = true;
    return { alternatives, nullable: alternatives.length > 0 && alternatives.length < schemas.length };
  }

  /** Whether null is all that the schema allows, which may be seen only in what it refers to. */
  #isNull(schema: unknown): boolean {
    const seen = new Set([schema]);
    for (const each of seen) {
      if (this.room-- <= 0) return false;
      if (!isJsonObject(each)) continue;
      const { type, const: only, enum: values, $ref: reference, allOf, anyOf, oneOf } = each;
      if (type === 'null' || only === null || isListOfNull(values)) return true;
      if (typeof reference === 'string') seen.add(this.#lookUp(reference));
      for (const list of [listOf(allOf), onlyOne(anyOf), onlyOne(oneOf)]) {
        this.room -= list.length;
        for (const one of list) seen.add(one);
      }
    }
    return false;
  }

  /** Two schemas that both apply. Where they say the same thing differently, the one closer to the place wins. */
  #both(far: JsonObject, near: JsonObject): JsonObject {
    const both: Record<string, unknown> = { ...far, ...near };
    if (far['nullable'] === true && near['nullable'] !== true && restrictsType(near)) this.lost = true;
    for (const [keyword, value] of Object.entries(far)) {
      if (!Object.hasOwn(near, keyword) || near[keyword] === value || annotations.has(keyword)) continue;
      both[keyword] = this.#merged(value, near[keyword], keyword);
    }
    return both;
  }

  #merged(far: unknown, near: unknown, keyword: string): unknown {
    if (keyword === 'properties' && isJsonObject(far) && isJsonObject(near)) {
      this.room -= Object.keys(far).length + Object.keys(near).length;
      if (Object.keys(near).some((name) => Object.hasOwn(far, name))) this.lost = true;
      return { ...far, ...near };
    }
    if (keyword === 'required' && Array.isArray(far) && Array.isArray(near)) {
      this.room -= far.length + near.length;
      return [...new Set<unknown>([...near, ...far])];
    }
    this.lost = true;
    return near;
  }

  /** A keyword with what is within it, or those that stand for it. */
  #keyword(keyword: string, value: unknown, depth: number): JsonObject {
    if (this.room <= 0) return this.#nothing();
    switch (keyword) {
      case 'properties':
        return { properties: this.#properties(isJsonObject(value) ? value : {}, depth) };
      case 'items':
        return { items: this.write(value, depth + 1) };
      case 'anyOf':
        return this.#anyOf(listOf(value), depth);
      case 'type':
        return Array.isArray(value) ? this.#types(value) : { type: this.#spent(value) };
      default:
        return { [keyword]: this.#spent(value) };
    }
  }

  #properties(properties: JsonObject, depth: number): JsonObject {
    const written: [string, JsonObject][] = [];
    for (const [name, property] of Object.entries(properties)) {
      if (this.room <= 0) {
        this.lost = true;
        break;
      }
      written.push([this.#spent(name), this.write(property, depth + 1)]);
    }
    return Object.fromEntries(written);
  }

  /** All or none: with fewer alternatives it would forbid more. Each may be of a few characters, so their number counts. */
  #anyOf(alternatives: readonly unknown[], depth: number): JsonObject {
    if (alternatives.length > this.room) return this.#nothing();
    this.room -= alternatives.length;
    return { anyOf: alternatives.map((schema) => this.write(schema, depth + 1)) };
  }

  /** Two types of which one is null say `nullable`; more have no plain form. */
  #types(types: readonly unknown[]): JsonObject {
    const others = types.filter((type) => type !== 'null');
    if (others.length !== 1) return this.#nothing();
    return { type: this.#spent(others[0]), ...(others.length < types.length && { nullable: true }) };
  }

  #spent<T>(value: T): T {
    this.room -= JSON.stringify(value).length;
    return value;
  }

  #nothing(): JsonObject {
    this.lost = true;
    return {};
  }
}

function restrictsType(keywords: JsonObject): boolean {
  return Object.hasOwn(keywords, 'type') || Object.hasOwn(keywords, 'enum');
}

function isListOfNull(values: unknown): boolean {
  return Array.isArray(values) && values.length === 1 && values[0] === null;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function onlyOne(alternatives: unknown): readonly unknown[] {
  const list = listOf(alternatives);
  return list.length === 1 ? list : [];
}
