import { expect, test } from 'vitest';
import type { JsonObject } from './conversation.ts';
import { hasOptionalMembers } from './strict-schema.ts';

const whole = { type: 'object', properties: { properties: { type: 'string' }, a: {} }, required: ['a', 'properties'] };
const open = { type: 'object', properties: { a: {}, b: {} }, required: ['a'] };

test.each<[boolean, JsonObject]>([
  [false, {}],
  [false, whole],
  [true, open],
  [true, { properties: { a: true } }],
  ...[whole, open].flatMap((inner): [boolean, JsonObject][] => {
    const nested: JsonObject[] = [
      { type: 'object', properties: { x: inner }, required: ['x'] },
      { items: inner },
      { anyOf: [{ type: 'null' }, inner] },
      { allOf: [inner] },
      { additionalProperties: inner },
      { $defs: { x: inner } },
      { items: { oneOf: [{ definitions: { required: inner } }] } },
    ];
    return nested.map((schema) => [inner === open, schema]);
  }),
])('that a member may be left out is %s of %j', (expected, schema) => {
  expect(hasOptionalMembers(schema)).toBe(expected);
});

test('is found as deep as a body goes', () => {
  let schema: JsonObject = open;
  for (let depth = 0; depth < 100_000; depth++) schema = { items: schema };
  expect(hasOptionalMembers(schema)).toBe(true);
});
