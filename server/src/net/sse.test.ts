import { Stream } from '@anthropic-ai/sdk/core/streaming';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PortcullisError } from '../base/errors.ts';
import { SseFrames } from './sse.ts';

/** Everything that comes of a stream given in these chunks. */
function read(chunks: readonly Buffer[]) {
  const parser = new SseFrames();
  const frames = chunks.flatMap((chunk) => parser.push(chunk));
  const end = parser.end();
  return { frames: [...frames, ...end.frames], rest: end.rest };
}

const readText = (text: string) => read([Buffer.from(text)]);

describe('frames', () => {
  it('have their event, their data and their exact bytes', () => {
    const { frames, rest } = readText('event: ping\ndata: {"a":1}\n\ndata:x\n\n');
    expect(frames.map(({ event, data, raw }) => [event, data, raw.toString()])).toEqual([
      ['ping', '{"a":1}', 'event: ping\ndata: {"a":1}\n\n'],
      ['', 'x', 'data:x\n\n'],
    ]);
    expect(rest.length).toBe(0);
  });

  it.each([
    ['CR LF', 'event: a\r\ndata: x\r\n\r\ndata: y\r\n\r\n'],
    ['CR', 'event: a\rdata: x\r\rdata: y\r\r'],
    ['a mix', 'event: a\r\ndata: x\n\r\ndata: y\r\n\n'],
    ['another mix', 'event: a\rdata: x\r\n\rdata: y\n\r\n'],
  ])('end with lines that end in %s', (_name, text) => {
    const { frames, rest } = readText(text);
    expect(frames.map(({ event, data }) => [event, data])).toEqual([
      ['a', 'x'],
      ['', 'y'],
    ]);
    expect(rest.length).toBe(0);
  });

  it('wait after the CR of a blank line for the LF that belongs to it', () => {
    const parser = new SseFrames();
    expect(parser.push(Buffer.from('data: x\r\n\r'))).toEqual([]);
    expect(parser.push(Buffer.from('\ndata: y')).map(({ raw }) => raw.toString())).toEqual(['data: x\r\n\r\n']);
    expect(parser.end()).toEqual({ frames: [], rest: Buffer.from('data: y') });
  });

  it('mean the same whatever ends their lines', () => {
    const line = fc.constantFrom(
      'data: {"日":1}',
      'data:x',
      'data',
      'data:  y',
      'dat: no',
      'event: e',
      'event',
      ': hm',
      'datax: no',
      'id: 1',
    );
    fc.assert(
      fc.property(fc.array(line, { minLength: 1 }), (lines) => {
        const fields = ['\n', '\r\n', '\r'].map((end) => {
          const { frames } = readText([...lines, '', ''].join(end));
          return frames.map(({ event, data }) => [event, data]);
        });
        expect(fields[1]).toEqual(fields[0]);
        expect(fields[2]).toEqual(fields[0]);
      }),
    );
  });

  it.each([
    ['a comment', ': keepalive\n\n', '', ''],
    ['data in several lines', 'data: a\ndata:\ndata:  b\n\n', '', 'a\n\n b'],
    ['a field without a colon', 'event\ndata\n\n', '', ''],
    ['fields of other names', 'id: 7\nretry: 5\ndatabase: no\ndata : no\ndata: yes\n\n', '', 'yes'],
    ['two events, of which the last counts', 'event: a\nevent: b\ndata: x\n\n', 'b', 'x'],
    ['a byte order mark', '\uFEFFevent: a\ndata: x\n\n', 'a', 'x'],
    ['only a blank line', '\n', '', ''],
    ['an empty object in Japanese', 'data: {"日本":"語"}\n\n', '', '{"日本":"語"}'],
  ])('read %s', (_name, text, event, data) => {
    expect(readText(text).frames).toEqual([{ event, data, raw: Buffer.from(text) }]);
  });

  it('ignore a byte order mark in the first frame only', () => {
    expect(readText('data: x\n\n\uFEFFdata: y\n\n').frames.map(({ data }) => data)).toEqual(['x', '']);
  });

  it('tell where a stream was cut', () => {
    expect(readText('data: x\n\ndata: y\n').rest.toString()).toBe('data: y\n');
  });

  it('pass bytes that are not UTF-8 as they came', () => {
    const bytes = Buffer.from([0x64, 0x61, 0x74, 0x61, 0x3a, 0xff, 0x0a, 0x0a]);
    expect(read([bytes]).frames).toEqual([{ event: '', data: '\uFFFD', raw: bytes }]);
  });
});

describe('a frame that is too long', () => {
  const tooLong = expect.objectContaining({ code: 'upstream_error' });

  it('is refused while it comes', () => {
    const parser = new SseFrames(16);
    parser.push(Buffer.from('data: 0123456789'));
    expect(() => parser.push(Buffer.from('x'))).toThrow(PortcullisError);
    expect(() => new SseFrames(16).push(Buffer.from('data: 0123456789x'))).toThrow(tooLong);
  });

  it('is refused when it comes whole', () => {
    expect(() => new SseFrames(16).push(Buffer.from('data: 0123456789\n\n'))).toThrow(tooLong);
    expect(new SseFrames(18).push(Buffer.from('data: 0123456789\n\n'))).toHaveLength(1);
  });
});

const line = fc.oneof(
  fc.constantFrom('', '', ':', 'data', 'data:', 'event: a', 'event:b', ': c', '\uFEFF', 'id: 1', 'data: [DONE]'),
  fc.string({ unit: 'grapheme' }).map((text) => `data: ${text.replaceAll(/[\r\n]/g, '')}`),
);
const stream = fc
  .array(fc.tuple(line, fc.constantFrom('\n', '\n', '\r\n', '\r')), { maxLength: 40 })
  .map((lines) => Buffer.from(lines.flat().join('')));

function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].toSorted((a, b) => a - b);
  return ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end));
}

describe('however a stream is cut into chunks', () => {
  it('the frames are the same, and their bytes are the stream', () => {
    fc.assert(
      fc.property(stream, fc.array(fc.nat(10_000), { maxLength: 30 }), (bytes, cuts) => {
        const whole = read([bytes]);
        expect(read(cutAt(bytes, cuts))).toEqual(whole);
        expect(read(Array.from(bytes, (byte) => Buffer.of(byte)))).toEqual(whole);
        expect(Buffer.concat([...whole.frames.map(({ raw }) => raw), whole.rest])).toEqual(bytes);
      }),
      { numRuns: 500 },
    );
  });

  it('the frames with data are those that the Anthropic SDK sees', async () => {
    const withoutMarks = stream.filter((bytes) => !bytes.includes('\uFEFF'));
    await fc.assert(
      fc.asyncProperty(withoutMarks, async (bytes) => {
        const seen: { event: string; data: string }[] = [];
        for await (const { event, data } of Stream.rawEvents(new Response(bytes)))
          seen.push({ event: event ?? '', data });
        const dispatched = ({ data }: { data: string }) => data !== '';
        const ours = read([bytes]).frames.map(({ event, data }) => ({ event, data }));
        expect(ours.filter(dispatched)).toEqual(seen.filter(dispatched));
      }),
      { numRuns: 200 },
    );
  });
});
