import fc from 'fast-check';
import { expect, test } from 'vitest';
import { freeformArguments, freeformInput, freeformNames } from './freeform-tools.ts';
import { parseArguments } from './tool-arguments.ts';
import { aConversation } from './testing/conversations.ts';

test('free text comes back from its arguments as it was', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(freeformInput(freeformArguments(text))).toBe(text);
      expect(Object.keys(parseArguments(freeformArguments(text)) ?? {})).toEqual(['input']);
    }),
  );
});

test('arguments that a model made up otherwise are handed on as they are', () => {
  for (const json of ['', 'ls -l', '{"input":1}', '{"command":"ls"}', '["x"]', '{"input":"cut']) {
    expect(freeformInput(json)).toBe(json);
  }
});

test('a request names the tools whose calls are free text', () => {
  const tool = { description: null, schema: {}, strict: null };
  const tools = [{ ...tool, name: 'patch', freeform: true } as const, { ...tool, name: 'read' }];
  expect([...freeformNames(aConversation({ tools }))]).toEqual(['patch']);
});
