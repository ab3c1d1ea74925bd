import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { JsonObject } from '../conversation.ts';
import { schemaValue } from './schema-value.ts';

describe('the value made for a JSON Schema', () => {
  test.each<[string, JsonObject]>([
    [
      'required members only',
      { type: 'object', properties: { a: { type: 'string' }, b: { type: 'string' } }, required: ['a'] },
    ],
    [
      'nested objects',
      {
        type: 'object',
        properties: { a: { type: 'object', properties: { b: { type: 'boolean' } }, required: ['b'] } },
        required: ['a'],
      },
    ],
    ['enumerations', { enum: ['x', 'y'] }],
    ['constants', { const: 7 }],
    ['least numbers', { type: 'integer', minimum: 5, maximum: 9 }],
    ['numbers above a bound', { type: 'number', exclusiveMinimum: 2 }],
    ['numbers below zero', { type: 'integer', maximum: -3 }],
    ['multiples', { type: 'integer', minimum: 7, multipleOf: 5 }],
    ['lists of a least length', { type: 'array', items: { type: 'integer' }, minItems: 2 }],
    ['long strings', { type: 'string', minLength: 40 }],
    ['short strings', { type: 'string', maxLength: 3 }],
    ['formats', { type: 'string', format: 'date-time' }],
    ['alternatives', { anyOf: [{ type: 'integer' }, { type: 'null' }] }],
    ['lists of types', { type: ['null', 'string'] }],
    [
      'parts put together',
      {
        allOf: [
          { type: 'object', properties: { a: { type: 'string' } }, required: ['a'] },
          { properties: { b: { type: 'integer' } }, required: ['b'] },
        ],
      },
    ],
    [
      'references',
      {
        type: 'object',
        properties: { a: { $ref: '#/$defs/A' } },
        required: ['a'],
        $defs: { A: { type: 'integer', minimum: 2 } },
      },
    ],
  ])('meets %s', (_, schema) => {
    expect(
      z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]).safeParse(schemaValue(schema)),
    ).toMatchObject({ success: true });
  });

  test('ends where a schema refers to itself', () => {
    const schema = {
      $ref: '#/$defs/A',
      $defs: { A: { type: 'object', properties: { a: { $ref: '#/$defs/A' } }, required: ['a'] } },
    };
    expect(JSON.stringify(schemaValue(schema)).length).toBeLessThan(1000);
  });

  test('is any value where a reference names nothing', () => {
    const schema = { type: 'object', properties: { a: { $ref: '#/%' } }, required: ['a'] };
    expect(schemaValue(schema)).toHaveProperty('a');
  });

  test('is an empty object for a tool without arguments', () => {
    expect(schemaValue({ type: 'object', properties: {} })).toEqual({});
  });
});

const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];

test.each([
  ['lists', { type: 'array', minItems: 20, items: { $ref: '#' } }],
  [
    'members',
    {
      type: 'object',
      required: names,
      properties: Object.fromEntries(names.map((name) => [name, { $ref: '#' }])),
    },
  ],
  ['parts', { allOf: Array.from({ length: 50 }, () => ({ $ref: '#' })) }],
  [
    'texts',
    { type: 'array', minItems: 20, items: { type: 'array', minItems: 20, items: { type: 'string', minLength: 1000 } } },
  ],
  ['constants', { type: 'array', minItems: 20, items: { const: 'x'.repeat(1_000_000) } }],
  ['names', { type: 'object', required: ['x'.repeat(1_000_000), 'y'] }],
])('a schema that would give a vast value gives a small one: %s', (_what, schema) => {
  expect(JSON.stringify(schemaValue(schema)).length).toBeLessThan(100_000);
});
