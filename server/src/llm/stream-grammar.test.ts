import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PortcullisError } from '../base/errors.ts';
import type { Dialect } from './dialect.ts';
import { dialects } from './dialect.ts';
import { Losses } from './losses.ts';
import type { AssistantBlock } from './conversation.ts';
import { sealFromText } from './seal.ts';
import type { AnswerEvent, StreamEncoder, StreamEvent, WireEvent } from './stream-events.ts';
import { readAnthropicStream } from './testing/anthropic-grammar.ts';
import { anyEvents, legalEvents, reasonedEvents } from './testing/arbitrary.ts';
import { readChatStream } from './testing/chat-grammar.ts';
import { aConversation } from './testing/conversations.ts';
import { readResponsesStream } from './testing/responses-grammar.ts';
import { eventsIn } from './testing/sse-text.ts';
import { blocksOf, insist } from './testing/stream-content.ts';
import { asTold } from './testing/told-usage.ts';
import { wireFormats } from './wire-formats.ts';

const read = {
  anthropic: readAnthropicStream,
  chat: readChatStream,
  responses: readResponsesStream,
} satisfies Record<Dialect, unknown>;
const options = { createdS: 1, request: aConversation(), includeUsage: true };
/** What no stream may lack. */
const frames = {
  anthropic: /message_|content_block_st/,
  chat: /"role"|"finish_reason":"|\[DONE\]/,
  responses: /^event: /,
} satisfies Record<Dialect, RegExp>;
/** Answers of any provider, with reasoning that it has sealed. */
const anyAnswer = fc.constantFrom(...dialects).chain((dialect) => reasonedEvents(dialect));
const failure = new PortcullisError('killed', 'Stopped.');

/** Writes events as the translator does: what the encoder refuses becomes the one error event. */
function write(encoder: StreamEncoder, events: readonly AnswerEvent[]): string {
  let text = '';
  for (const event of events) {
    try {
      text += encoder.write(event);
    } catch (thrown) {
      text += encoder.fail(PortcullisError.from(thrown), 'req_1');
    }
  }
  return text;
}

/** To its own kind of provider a seal that we wrapped is one like any other: a caller brings back the seal that is in it. */
function unwrapped(block: AssistantBlock): AssistantBlock {
  if (block.type !== 'reasoning') return block;
  const { signature, encrypted_content: encrypted = signature } = block.seal?.members ?? {};
  return { ...block, seal: (typeof encrypted === 'string' ? sealFromText(encrypted) : null) ?? block.seal };
}

describe.each(dialects)('a stream in the %s dialect', (dialect) => {
  const format = wireFormats[dialect];
  // In chat reasoning is no block, but members of its own beside the text: `chat/stream.test.ts` looks at them.
  const spelledOut = dialect === 'chat' ? legalEvents : anyAnswer;
  const native = dialect === 'chat' ? legalEvents : reasonedEvents(dialect);

  test('spells out every legal answer, tool calls interleaved or not, with the reasoning of any provider', () => {
    fc.assert(
      fc.property(spelledOut, (events) => {
        const content = read[dialect](write(format.createEncoder(options), events));
        expect(content.ending).toBe('finished');
        expect(content.blocks).toEqual(blocksOf(events).map((block) => ({ ...block, closed: true })));
      }),
      { numRuns: 300 },
    );
  });

  test('is legal whatever events come, in whatever order, and wherever an error ends it', () => {
    fc.assert(
      fc.property(anyEvents, fc.nat(20), (events, failAt) => {
        const encoder = format.createEncoder(options);
        const text =
          write(encoder, events.slice(0, failAt)) +
          encoder.fail(failure, 'req_1') +
          write(encoder, events.slice(failAt));
        const { ending } = read[dialect](text);
        expect(ending).toBe(encoder.failed ? 'failed' : 'finished');
        expect(encoder.finished).toBe(!encoder.failed);
      }),
      { numRuns: 1000 },
    );
  });

  test('is legal when an error ends it after any event of a legal answer', () => {
    fc.assert(
      fc.property(anyAnswer, fc.double({ min: 0, max: 1, noNaN: true }), (events, share) => {
        const encoder = format.createEncoder(options);
        const part = events.slice(0, Math.floor(share * (events.length - 1)));
        const text = write(encoder, part) + encoder.fail(failure, 'req_1') + write(encoder, events);
        expect(read[dialect](text).ending).toBe('failed');
      }),
    );
  });

  test('is read back by its own decoder as the answer that was written', () => {
    fc.assert(
      fc.property(native, (events) => {
        const decoded = decode(eventsIn(write(format.createEncoder(options), events)));
        expect(blocksOf(decoded).map(unwrapped)).toEqual(blocksOf(events));
        const last = events.at(-1);
        expect(decoded.at(-1)).toEqual(
          last?.type === 'finish' ? { ...last, usage: asTold(dialect, last.usage) } : last,
        );
      }),
    );
  });

  test('that is cut after any of its events is reported as cut, unless nothing of the answer was missing', () => {
    fc.assert(
      fc.property(legalEvents, fc.nat(), (events, at) => {
        const frames = eventsIn(write(format.createEncoder(options), events));
        const kept = frames.slice(0, at % frames.length);
        const reasonTold = kept.some(({ data }) => /"(finish_reason|stop_reason)":"/.test(data));
        expect(decode(kept).at(-1)?.type).toBe(reasonTold ? 'finish' : 'error');
      }),
    );
  });

  test('is told from one that lacks any of its frame: the checkers of these tests notice', () => {
    fc.assert(
      fc.property(legalEvents, fc.nat(), (events, at) => {
        const blocks = write(format.createEncoder(options), events).match(/.+?\n\n/gs) ?? [];
        const frame = blocks.filter((block) => frames[dialect].test(block));
        const missing = frame[at % frame.length];
        const verdict = () => read[dialect](blocks.filter((block) => block !== missing).join('')).ending;
        expect(() => insist(verdict() === 'finished', 'not finished')).toThrow('illegal stream');
      }),
    );
  });

  function decode(frames: readonly WireEvent[]): StreamEvent[] {
    const decoder = format.createDecoder(new Losses('refuse', 'answer'));
    const decoded = [...frames.flatMap((frame) => decoder.event(frame)), ...decoder.end()];
    expect(decoder.event({ event: 'message', data: '{}' })).toEqual([]);
    expect(decoder.end()).toEqual([]);
    return decoded;
  }
});
