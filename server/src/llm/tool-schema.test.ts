import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import type { JsonObject } from './conversation.ts';
import { isJsonObject } from './object-reader.ts';
import { type PlainSchema, plainSchemas } from './tool-schema.ts';

const object = (properties: JsonObject, more: JsonObject = {}) => ({ type: 'object', properties, ...more });
function plainSchema(schema: JsonObject): PlainSchema {
  const [plain] = plainSchemas([schema]);
  if (plain === undefined) throw new Error('no schema');
  return plain;
}

/** What becomes of one property. */
function plainProperty(property: unknown, more: JsonObject = {}): unknown {
  const { schema } = plainSchema(object({ p: property }, more));
  return isJsonObject(schema['properties']) ? schema['properties']['p'] : undefined;
}

describe('a plain schema', () => {
  test('is what it was where every server understands it, and says that nothing was lost', () => {
    const schema = object(
      {
        city: { type: 'string', description: 'where', minLength: 1, pattern: '^[A-Z]' },
        days: { type: 'array', items: { type: 'integer', minimum: 0 }, maxItems: 7 },
        unit: { type: 'string', enum: ['C', 'F'], default: 'C' },
      },
      { required: ['city'] },
    );
    expect(plainSchema({ ...schema, $schema: 'x', $comment: 'y' })).toEqual({ schema, lost: false });
  });

  test('has what a reference names in its place, with what stands beside it', () => {
    const more = { $defs: { 'a/b c': { type: 'string', description: 'far' } } };
    expect(plainProperty({ $ref: '#/$defs/a~1b%20c' }, more)).toEqual({ type: 'string', description: 'far' });
    expect(plainProperty({ $ref: '#/$defs/a~1b c', description: 'near' }, more)).toEqual({
      type: 'string',
      description: 'near',
    });
    // How Pydantic puts a description beside a reference.
    expect(plainProperty({ allOf: [{ $ref: '#/$defs/a~1b c' }], description: 'near' }, more)).toEqual({
      type: 'string',
      description: 'near',
    });
  });

  test('names a schema within itself once, and allows anything there', () => {
    const node = object({ name: { type: 'string' }, next: { $ref: '#/$defs/node' } });
    expect(plainProperty({ $ref: '#/$defs/node' }, { $defs: { node } })).toEqual(
      object({ name: { type: 'string' }, next: {} }),
    );
    const { schema, lost } = plainSchema({ $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/a' } } });
    expect({ schema, lost }).toEqual({ schema: { type: 'object' }, lost: true });
  });

  test('says null as nullable, const as an enum of one and oneOf as anyOf', () => {
    expect(plainProperty({ type: ['string', 'null'] })).toEqual({ type: 'string', nullable: true });
    expect(plainProperty({ anyOf: [{ type: 'integer' }, { type: 'null' }], default: null })).toEqual({
      type: 'integer',
      nullable: true,
      default: null,
    });
    expect(plainProperty({ const: 'x' })).toEqual({ enum: ['x'] });
    expect(plainProperty({ oneOf: [{ type: 'string' }, { type: 'integer' }] })).toEqual({
      anyOf: [{ type: 'string' }, { type: 'integer' }],
    });
  });

  test.each([
    ['a format', { type: 'string', format: 'uri' }, { type: 'string' }],
    ['a keyword', { type: 'integer', exclusiveMinimum: 0 }, { type: 'integer' }],
    ['additionalProperties', { type: 'object', additionalProperties: false }, { type: 'object' }],
    ['several types', { type: ['string', 'integer'], description: 'd' }, { description: 'd' }],
    ['a limit of two', { allOf: [{ minimum: 1 }, { minimum: 2 }], type: 'integer' }, { type: 'integer', minimum: 1 }],
    ['a reference to elsewhere', { $ref: 'https://example.com/s' }, {}],
    ['a schema that is none', 'string', {}],
    ['what never holds', false, {}],
    ['one of two that clash', { allOf: [{ minimum: 3 }], minimum: 1 }, { minimum: 1 }],
  ])('lacks %s that not every server understands, and says so', (_, property, plain) => {
    expect(plainProperty(property)).toEqual(plain);
    expect(plainSchema(object({ p: property })).lost).toBe(true);
  });

  test('has in one place what is said in several: references, parts and an only alternative', () => {
    const base = object({ a: { type: 'string' } }, { required: ['a'], description: 'far' });
    const more = object({ b: { type: 'integer' } }, { required: ['b'] });
    const whole = object({ a: { type: 'string' }, b: { type: 'integer' } }, { required: ['b', 'a'] });
    const both = { ...whole, required: expect.toSatisfy((names: string[]) => names.toSorted().join() === 'a,b') };
    expect(plainProperty({ ...base, anyOf: [more] })).toEqual({ ...both, description: 'far' });
    expect(plainProperty({ ...more, $ref: '#/$defs/base' }, { $defs: { base } })).toEqual({
      ...both,
      description: 'far',
    });
    expect(
      plainProperty({ allOf: [{ $ref: '#/$defs/base' }, more], description: 'near' }, { $defs: { base } }),
    ).toEqual({
      ...both,
      description: 'near',
    });
    expect(plainProperty({ anyOf: [base, { type: 'null' }], description: 'near' })).toEqual({
      ...base,
      description: 'near',
      nullable: true,
    });
    expect(plainSchema(object({ p: { ...base, anyOf: [more] } })).lost).toBe(false);
  });

  test.each([
    ['limits', { anyOf: [{ maxLength: 3 }], maxLength: 10 }, { maxLength: 10 }],
    ['members', { ...object({ a: { minimum: 1 } }), allOf: [object({ a: {} })] }, object({ a: { minimum: 1 } })],
    [
      'alternatives',
      { anyOf: [{ minimum: 1 }, { minimum: 2 }], oneOf: [{}, {}] },
      { anyOf: [{ minimum: 1 }, { minimum: 2 }] },
    ],
    ['values', { enum: [1, 2], const: 1 }, { enum: [1, 2] }],
    ['null', { type: 'string', anyOf: [{}, { type: 'null' }] }, { type: 'string', nullable: true }],
    [
      'null far away',
      { type: 'string', allOf: [{ anyOf: [{}, { type: 'null' }] }] },
      { type: 'string', nullable: true },
    ],
  ])('has one of two %s that clash, and says so', (_, property, plain) => {
    expect(plainProperty(property)).toEqual(plain);
    expect(plainSchema(object({ p: property })).lost).toBe(true);
  });

  test('stays small whatever the references make of it, and takes no time for it', () => {
    const doubling = Object.fromEntries(
      Array.from({ length: 25 }, (_, i) => [
        `d${i}`,
        object({ a: { $ref: `#/$defs/d${i + 1}` }, b: { $ref: `#/$defs/d${i + 1}` } }),
      ]),
    );
    const many = object(
      Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`p${i}`, { $ref: '#/$defs/wide' }])),
    );
    const wide = object(Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`q${i}`, true])), {
      enum: Array.from({ length: 2000 }, (_, i) => i),
    });
    for (const schema of [
      { $ref: '#/$defs/d0', $defs: doubling },
      { ...many, $defs: { wide } },
      { ...many, $defs: { wide: Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`k${i}`, 1])) } },
    ]) {
      const plain = plainSchema(schema);
      expect(plain.lost).toBe(true);
      expect(JSON.stringify(plain.schema).length).toBeLessThan(30 * JSON.stringify(schema).length);
    }
  });

  test.each<[string, (n: number) => JsonObject]>([
    [
      'unknown keywords, named again and again',
      (n) => ({ ...named(n), $defs: { x: Object.fromEntries(Array.from({ length: n }, (_, i) => [`k${i}`, 1])) } }),
    ],
    [
      'members put together again and again',
      (n) => {
        const wide = object(Object.fromEntries(Array.from({ length: n }, (_, i) => [`q${i}`, true])));
        return { ...named(n), $defs: { x: { ...wide, allOf: [object({ a: true })] } } };
      },
    ],
    [
      'alternatives that may be null only far away',
      (n) => {
        const list = Array.from({ length: n }, () => true);
        return object({}, { anyOf: list.map(() => ({ $ref: '#/$defs/x' })), $defs: { x: { allOf: list } } });
      },
    ],
  ])('is made of %s in steps that grow as the schema does', (_, schemaOf) => {
    const few = steps(schemaOf(1_000));
    expect(few).toBeGreaterThan(1_000);
    expect(steps(schemaOf(2_000))).toBeLessThan(2.5 * few);
    // More than that are what its growth may cost, for all the schemas of a request together.
    expect(few).toBeLessThan(2_000_000);
  });

  test('looks a reference up once, and not at all where it is longer than any name', () => {
    const decode = vi.spyOn(globalThis, 'decodeURIComponent');
    const long = `#/${'a/'.repeat(500_000)}`;
    expect(plainSchema({ ...named(40), $defs: { x: { $ref: long } } }).lost).toBe(true);
    expect(plainSchema({ ...named(40), $defs: { x: { $ref: `#/${'a/'.repeat(400)}` } } }).lost).toBe(true);
    const calls = decode.mock.calls.length;
    decode.mockRestore();
    expect(calls).toBeLessThan(10);
  });

  test('is whole beside one that grows: they share what references may add, and no more', () => {
    const doubling = Object.fromEntries(
      Array.from({ length: 25 }, (_, i) => [
        `d${i}`,
        object({ a: { $ref: `#/$defs/d${i + 1}` }, b: { $ref: `#/$defs/d${i + 1}` } }),
      ]),
    );
    const growing = { $ref: '#/$defs/d0', $defs: doubling };
    const simple = object({ a: { type: 'string', enum: ['x'], description: 'y' }, b: { items: { minimum: 1 } } });
    const schemas = [...Array.from({ length: 500 }, () => growing), simple];
    const plain = plainSchemas(schemas);
    expect(plain.at(-1)).toEqual({ schema: simple, lost: false });
    const [given, made] = [schemas, plain].map((each) => JSON.stringify(each).length);
    expect(made).toBeLessThan(4 * (given ?? 0) + 4 * 262_144);
    expect(JSON.stringify(plain[400]).length).toBeLessThan(4 * JSON.stringify(growing).length);
  });

  test('allows every input that the schema allowed, and no other unless it says so', () => {
    const { counterexample } = fc.check(
      fc.property(anySchema, anyInput, (schema, input) => {
        const root = { ...schema, $defs: defs };
        const { schema: plain, lost } = plainSchema(root);
        // A tool's input is an object.
        if (!isJsonObject(input)) return true;
        return allows(root, input) ? allows(plain, input) : lost || !allows(plain, input);
      }),
      { numRuns: 5000 },
    );
    expect(counterexample).toBeNull();
  });

  test('says null as nullable, though only what it refers to shows it', () => {
    const nothing = { allOf: [{ type: 'null' }], minimum: 2 };
    const text = { type: 'string' };
    expect(plainProperty({ anyOf: [nothing, text] })).toEqual({ type: 'string', nullable: true });
    expect(plainProperty({ anyOf: [{ const: null }, text] })).toEqual({ type: 'string', nullable: true });
  });

  test('of a plain schema is that schema', () => {
    fc.assert(
      fc.property(anySchema, (schema) => {
        const once = plainSchema({ ...schema, $defs: defs }).schema;
        expect(plainSchema(once)).toEqual({ schema: once, lost: false });
      }),
    );
  });
});

/** So many members that are one schema. */
function named(n: number): JsonObject {
  return object(Object.fromEntries(Array.from({ length: n }, (_, i) => [`p${i}`, { $ref: '#/$defs/x' }])));
}

/** How many members of the schema are looked at while it is made plain. */
function steps(schema: JsonObject): number {
  let read = 0;
  const counting: ProxyHandler<object> = {
    get: (target, name, receiver) => {
      read++;
      return watched(Reflect.get(target, name, receiver));
    },
    getOwnPropertyDescriptor: (target, name) => {
      read++;
      return Reflect.getOwnPropertyDescriptor(target, name);
    },
  };
  const seen = new Map<unknown, unknown>();
  const watched = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null) return value;
    if (!seen.has(value)) seen.set(value, new Proxy(value, counting));
    return seen.get(value);
  };
  plainSchema(watched(schema) as JsonObject);
  return read;
}

const defs = {
  text: { type: 'string' },
  loop: { type: 'object', properties: { '': { $ref: '#/$defs/loop' } } },
};
const leaf: fc.Arbitrary<JsonObject> = fc.constantFrom<JsonObject>(
  {},
  { type: 'object' },
  { type: 'string', format: 'uri' },
  { type: ['integer', 'null'] },
  { type: 'null' },
  { const: 1 },
  { minimum: 0, exclusiveMaximum: 9 },
  { $ref: '#/$defs/text' },
  { $ref: '#/$defs/loop', minimum: 1 },
);
const { anySchema } = fc.letrec<{ anySchema: JsonObject }>((tie) => ({
  anySchema: fc.oneof(
    { maxDepth: 3 },
    leaf,
    fc.record({
      type: fc.constant('object'),
      properties: fc.dictionary(fc.constantFrom('', 'a', 'b'), tie('anySchema')),
    }),
    fc.record({ items: tie('anySchema') }),
    fc.record({ anyOf: fc.array(tie('anySchema'), { minLength: 1, maxLength: 3 }) }),
    fc.record({ allOf: fc.array(tie('anySchema'), { maxLength: 2 }), minimum: fc.constant(2) }),
    // What is said in one place by several.
    fc.record(
      {
        $ref: fc.constantFrom('#/$defs/text', '#/$defs/loop'),
        allOf: fc.array(tie('anySchema'), { maxLength: 3 }),
        anyOf: fc.array(tie('anySchema'), { minLength: 1, maxLength: 2 }),
        oneOf: fc.array(tie('anySchema'), { minLength: 1, maxLength: 1 }),
        properties: fc.dictionary(fc.constantFrom('', 'a', 'b'), tie('anySchema')),
        required: fc.constantFrom(['a'], ['b']),
        type: fc.constantFrom('object', 'string', 'null', ['object', 'null']),
        enum: fc.constantFrom([1, null], ['', {}]),
      },
      { requiredKeys: [] },
    ),
    fc.record({ required: fc.constantFrom([], ['a']), additionalProperties: fc.constantFrom(true, false) }),
  ),
}));

const anyInput = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 2 },
    fc.constantFrom<unknown>(null, 1, 2, '', 'x'),
    fc.dictionary(fc.constantFrom('', 'a', 'b'), tie('value'), { noNullPrototype: true }),
    fc.array(tie('value'), { maxLength: 2 }),
  ),
})).value;

/** Just enough of JSON Schema, and of OpenAPI's `nullable`, for the schemas above. */
function allows(schema: unknown, input: unknown): boolean {
  if (!isJsonObject(schema)) return true;
  if (schema['nullable'] === true && input === null) return true;
  const list = (keyword: string) => (Array.isArray(schema[keyword]) ? (schema[keyword] as unknown[]) : null);
  const ref = schema['$ref'];
  const named = ref === '#/$defs/text' ? defs.text : ref === '#/$defs/loop' ? defs.loop : null;
  const types = [schema['type'] ?? []].flat();
  const properties = isJsonObject(schema['properties']) ? schema['properties'] : {};
  const entries = isJsonObject(input) ? Object.entries(input) : [];
  return (
    (named === null || allows(named, input)) &&
    (types.length === 0 || types.includes(typeOf(input)) || (types.includes('number') && typeof input === 'number')) &&
    (schema['const'] === undefined || schema['const'] === input) &&
    (list('enum')?.includes(input) ?? true) &&
    (typeof input !== 'number' || typeof schema['minimum'] !== 'number' || input >= schema['minimum']) &&
    (typeof input !== 'number' ||
      typeof schema['exclusiveMaximum'] !== 'number' ||
      input < schema['exclusiveMaximum']) &&
    (list('anyOf')?.some((each) => allows(each, input)) ?? true) &&
    (list('oneOf')?.some((each) => allows(each, input)) ?? true) &&
    (list('allOf')?.every((each) => allows(each, input)) ?? true) &&
    (!isJsonObject(input) || (list('required')?.every((name) => Object.hasOwn(input, String(name))) ?? true)) &&
    (schema['additionalProperties'] !== false || entries.every(([name]) => Object.hasOwn(properties, name))) &&
    entries.every(([name, value]) => !Object.hasOwn(properties, name) || allows(properties[name], value)) &&
    (!Array.isArray(input) || input.every((each) => allows(schema['items'], each)))
  );
}

function typeOf(input: unknown): string {
  if (input === null) return 'null';
  if (Array.isArray(input)) return 'array';
  if (typeof input === 'number') return Number.isInteger(input) ? 'integer' : 'number';
  return typeof input;
}
