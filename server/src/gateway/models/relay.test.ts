import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SseFrames } from '../../net/sse.ts';
import { passThrough } from './relay.ts';

/** What a pass-through says to a stream of these bytes. */
function pass(text: string): string {
  const relay = passThrough({ dialect: 'chat', choices: 1, hideUsage: false });
  const frames = new SseFrames().push(Buffer.from(text));
  return frames.map((frame) => relay.push(frame)?.toString() ?? '').join('');
}

const event = fc.dictionary(fc.string({ unit: fc.constantFrom('a', '"', '\\\\', '{', '}', '日') }), fc.jsonValue());

describe('the events of a stream that passes', () => {
  test('keep their bytes, however they are written', () => {
    const frame = fc.constantFrom(
      'data: %\n\n',
      'data:%\n\n',
      'event: e\ndata: % \n\n',
      ': "{\ndata: %\n: }\n\n',
      'data: %\r\n\r\n',
    );
    fc.assert(
      fc.property(event, frame, (object, form) => {
        const text = form.replace('%', () => JSON.stringify(object));
        expect(pass(text)).toBe(text);
      }),
    );
  });

  test('are refused when they are cut anywhere, also behind an inner brace', () => {
    fc.assert(
      fc.property(event, fc.nat(), (object, at) => {
        const json = JSON.stringify({ ...object, last: { a: 1 } });
        const cut = json.slice(0, 1 + (at % (json.length - 1)));
        expect(() => pass(`data: ${cut}\n\n`)).toThrow('not JSON');
      }),
    );
  });

  test.each(['7', '[]', '"x"', 'null', 'oops', '{"a":1} {', '{"a":1}}'])('are refused when they are %s', (data) => {
    expect(() => pass(`data: ${data}\n\n`)).toThrow('not JSON');
  });
});
