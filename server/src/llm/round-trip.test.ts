import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SseFrames } from '../net/sse.ts';
import { fullCapabilities } from './capabilities.ts';
import type { Answer, AnswerContext, Conversation, Target } from './conversation.ts';
import { type Dialect, dialects } from './dialect.ts';
import { Losses } from './losses.ts';
import type { StreamEvent, WireEvent } from './stream-events.ts';
import { answerIn, conversationIn, legalEvents, reasonedAnswer, reasonedEvents } from './testing/arbitrary.ts';
import { eventsIn } from './testing/sse-text.ts';
import { aConversation } from './testing/conversations.ts';
import { blocksOf } from './testing/stream-content.ts';
import { asTold } from './testing/told-usage.ts';
import { translateRequest } from './translate.ts';
import { wireFormats } from './wire-formats.ts';

/** Marks are written as they are, and not made up. */
const capabilities = { ...fullCapabilities, promptCaching: 'explicit' } as const;
const target: Target = { model: 'm', capabilities, lossy: 'refuse' };
const context: AnswerContext = { createdS: 1, request: aConversation() };

const pairs = dialects.flatMap((from) => dialects.map((to): [Dialect, Dialect] => [from, to]));
const translations = pairs.filter(([from, to]) => from !== to);

function through(dialect: Dialect, value: Conversation): Conversation {
  const losses = new Losses('refuse');
  const format = wireFormats[dialect];
  const parsed = format.parseRequest(JSON.parse(format.writeRequest(value, target, losses)), losses);
  expect(losses.names).toEqual([]);
  // Whether usage is asked for is the writer's affair: it always is.
  return { ...parsed, streamUsage: true };
}

function answerThrough(dialect: Dialect, value: Answer): Answer {
  const losses = new Losses('refuse', 'answer');
  const format = wireFormats[dialect];
  const parsed = format.parseAnswer(JSON.parse(format.writeAnswer(value, context)), losses);
  expect(losses.names).toEqual([]);
  return parsed;
}

describe.each(pairs)('from %s to %s and back', (from, to) => {
  test('a conversation keeps all that both can say', () => {
    fc.assert(
      fc.property(conversationIn([from, to]), (value) => {
        expect(through(from, through(to, through(from, value)))).toEqual(value);
      }),
      { numRuns: 200 },
    );
  });

  test('an answer keeps all that both can say', () => {
    fc.assert(
      fc.property(answerIn([from, to]), (value) => {
        const told = { ...value, usage: asTold(from, value.usage) };
        expect(answerThrough(from, answerThrough(to, answerThrough(from, value)))).toEqual(told);
      }),
      { numRuns: 200 },
    );
  });
});

/** What a caller makes of an answer when it goes on: the messages or items that it sends back, unchanged. */
// oxlint-disable-next-line typescript/no-explicit-any
const asHistory: Readonly<Record<Dialect, (body: any) => unknown[]>> = {
  anthropic: ({ content }) => [{ role: 'assistant', content }],
  chat: ({ choices }) => [choices[0].message],
  responses: ({ output }) => output,
};

/** The request with this history, and results for its calls. */
function goingOn(dialect: Dialect, history: readonly unknown[], callIds: readonly string[]): object {
  const first = { role: 'user', content: 'go' };
  const results = callIds.map((id) => ({ type: 'tool_result', tool_use_id: id, content: 'r' }));
  switch (dialect) {
    case 'anthropic':
      return {
        model: 'm',
        max_tokens: 10,
        messages: [first, ...history, { role: 'user', content: [...results, text] }],
      };
    case 'chat': {
      const told = callIds.map((id) => ({ role: 'tool', tool_call_id: id, content: 'r' }));
      return { model: 'm', max_tokens: 10, messages: [first, ...history, ...told, { role: 'user', content: 'on' }] };
    }
    default: {
      const told = callIds.map((id) => ({ type: 'function_call_output', call_id: id, output: 'r' }));
      return {
        model: 'm',
        max_output_tokens: 10,
        input: [first, ...history, ...told, { role: 'user', content: 'on' }],
      };
    }
  }
}

const text = { type: 'text', text: 'on' };

describe.each(translations)('a caller of %s with a provider of %s', (from, to) => {
  const ask = () => {
    const body = JSON.parse(wireFormats[from].writeRequest(aConversation(), target, new Losses('refuse')));
    return translateRequest({ from, to, body, target });
  };

  test('gets the same answer whole and as a stream', () => {
    fc.assert(
      fc.property(legalEvents, (events) => {
        const provider = wireFormats[to].createEncoder({ ...context, includeUsage: true });
        const sent = events.map((event) => provider.write(event)).join('');
        const translator = ask().stream({ includeUsage: true, requestId: 'req_1' });
        const streamed = decode(
          from,
          eventsIn(
            eventsIn(sent)
              .map((event) => translator.push(event))
              .join('') + translator.end(),
          ),
        );

        expect(translator.finished).toBe(true);
        const finish = events.at(-1);
        if (finish?.type !== 'finish') throw new Error('no finish');
        const { stop, stopSequence, usage: used } = finish;
        const blocks = blocksOf(events);
        const whole = wireFormats[to].writeAnswer(
          { id: 'a', model: 'm', blocks, stop, stopSequence, usage: used },
          context,
        );
        const { body, usage } = ask().answer(JSON.parse(whole));
        expect(translator.usage).toEqual(usage);
        const told = wireFormats[from].parseAnswer(JSON.parse(body), new Losses('refuse', 'answer'));
        expect(told.blocks).toEqual(blocksOf(streamed));
        expect(streamed.at(-1)).toMatchObject({ type: 'finish', stop: told.stop, stopSequence: told.stopSequence });
      }),
    );
  });

  test('carries the reasoning back to it, and with it all else that it said', () => {
    fc.assert(
      fc.property(reasonedAnswer(to), (said) => {
        // Anthropic takes no empty message, and no blank text.
        fc.pre(said.blocks.length > 0);
        fc.pre(said.blocks.every((block) => block.type !== 'text' || /\S/.test(block.text)));
        const told = ask().answer(JSON.parse(wireFormats[to].writeAnswer(said, context)));
        const { blocks } = said;
        const calls = blocks.filter((block) => block.type === 'tool_call').map(({ id }) => id);
        const body = goingOn(from, asHistory[from](JSON.parse(told.body)), calls);
        const next = translateRequest({ from, to, body, target });
        expect(next.dropped).toEqual([]);
        const { turns } = wireFormats[to].parseRequest(JSON.parse(next.body), new Losses('refuse'));
        expect(turns.find(({ role }) => role === 'assistant')?.blocks ?? []).toEqual(blocks);
      }),
    );
  });
});

describe.each(dialects)('a stream of %s', (dialect) => {
  const streams = fc.oneof(legalEvents, reasonedEvents(dialect)).map((events) => {
    const encoder = wireFormats[dialect].createEncoder({ ...context, includeUsage: true });
    return Buffer.from(events.map((event) => encoder.write(event)).join(''));
  });

  test('gives the same events wherever its bytes are cut, within a character too', () => {
    fc.assert(
      fc.property(streams, (bytes) => {
        const events = bytes.toString().split(/(?<=\n\n)/);
        for (const [i, event] of events.entries()) {
          const two = Buffer.from(event + (events[i + 1] ?? ''));
          const whole = JSON.stringify(frames(two));
          const wrong = [...two.keys()].filter(
            (at) => JSON.stringify(frames(two.subarray(0, at), two.subarray(at))) !== whole,
          );
          expect(wrong).toEqual([]);
        }
      }),
      { numRuns: 5 },
    );
  });

  test('gives the same answer byte by byte, and as the whole that it is', () => {
    fc.assert(
      fc.property(streams, (bytes) => {
        const single = Array.from({ length: bytes.length }, (_, i) => bytes.subarray(i, i + 1));
        expect(decode(dialect, frames(...single))).toEqual(decode(dialect, frames(bytes)));
      }),
      { numRuns: 20 },
    );
  });
});

function frames(...chunks: readonly Buffer[]): WireEvent[] {
  const parser = new SseFrames();
  const read = chunks.flatMap((chunk) => parser.push(chunk));
  return [...read, ...parser.end().frames]
    .filter(({ data }) => data !== '')
    .map(({ event, data }) => ({ event: event || 'message', data }));
}

function decode(dialect: Dialect, events: readonly WireEvent[]): StreamEvent[] {
  const decoder = wireFormats[dialect].createDecoder(new Losses('refuse', 'answer'));
  const decoded = [...events.flatMap((event) => decoder.event(event)), ...decoder.end()];
  expect(decoded.at(-1)?.type).toBe('finish');
  return decoded;
}
