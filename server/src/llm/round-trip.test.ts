import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Answer, AssistantBlock, Conversation, Target } from './conversation.ts';
import type { Dialect } from './dialect.ts';
import { Losses } from './losses.ts';
import { answer, conversation, legalEvents } from './testing/arbitrary.ts';
import { readAnthropicStream } from './testing/anthropic-grammar.ts';
import { readChatStream } from './testing/chat-grammar.ts';
import type { ContentBlock } from './testing/stream-content.ts';
import { eventsIn } from './testing/sse-text.ts';
import { translateRequest } from './translate.ts';
import { wireFormats } from './wire-formats.ts';

const target: Target = { model: 'm', maxOutputTokens: null, lossy: 'refuse' };
const directions: readonly [Dialect, Dialect][] = [
  ['anthropic', 'chat'],
  ['chat', 'anthropic'],
  ['anthropic', 'anthropic'],
  ['chat', 'chat'],
];

function through(dialect: Dialect, value: Conversation): Conversation {
  const losses = new Losses('refuse');
  const format = wireFormats[dialect];
  const parsed = format.parseRequest(JSON.parse(format.writeRequest(value, target, losses)), losses);
  expect(losses.names).toEqual([]);
  // Whether usage is asked for is the writer's affair: it always is.
  return { ...parsed, streamUsage: true };
}

function toAnswerBlock(block: ContentBlock): AssistantBlock {
  if (block.type === 'text') return { type: 'text', text: block.text };
  const { id, name, argumentsJson } = block;
  return { type: 'tool_call', id, name, argumentsJson };
}

function answerThrough(dialect: Dialect, value: Answer): Answer {
  const losses = new Losses('refuse', 'answer');
  const format = wireFormats[dialect];
  const parsed = format.parseAnswer(JSON.parse(format.writeAnswer(value, 1)), losses);
  expect(losses.names).toEqual([]);
  return parsed;
}

describe.each(directions)('from %s to %s and back', (from, to) => {
  test('a conversation keeps all that it holds', () => {
    fc.assert(
      fc.property(conversation, (value) => {
        expect(through(from, through(to, through(from, value)))).toEqual(value);
      }),
      { numRuns: 200 },
    );
  });

  test('an answer keeps all that it holds', () => {
    fc.assert(
      fc.property(answer, (value) => {
        expect(answerThrough(from, answerThrough(to, answerThrough(from, value)))).toEqual(value);
      }),
      { numRuns: 200 },
    );
  });
});

describe.each([
  ['anthropic', 'chat', readAnthropicStream],
  ['chat', 'anthropic', readChatStream],
] as const)('an %s client of a provider that speaks %s', (from, to, read) => {
  test('gets the same answer whole and as a stream', () => {
    fc.assert(
      fc.property(conversation, legalEvents, (asked, events) => {
        const losses = new Losses('refuse');
        const request = JSON.parse(wireFormats[from].writeRequest(asked, target, losses));
        const translated = translateRequest({ from, to, body: request, target });
        const provider = wireFormats[to].createEncoder({ createdS: 1, includeUsage: true });
        const translator = translated.stream({ includeUsage: true, requestId: 'req_1' });
        const sent = events.map((event) => provider.write(event)).join('');
        const text =
          eventsIn(sent)
            .map((event) => translator.push(event))
            .join('') + translator.end();

        const streamed = read(text);
        expect(streamed.ending).toBe('finished');
        expect(translator.finished).toBe(true);
        const finish = events.at(-1);
        if (finish?.type !== 'finish') throw new Error('no finish');
        const { stop, stopSequence, usage: used } = finish;
        const blocks = streamed.blocks.map(toAnswerBlock);
        const whole = wireFormats[to].writeAnswer({ id: 'a', model: 'm', blocks, stop, stopSequence, usage: used }, 1);
        const { body, usage } = translated.answer(JSON.parse(whole));
        expect(translator.usage).toEqual(usage);
        expect(wireFormats[from].parseAnswer(JSON.parse(body), losses).blocks).toEqual(
          blocks.filter((block) => block.type === 'tool_call' || block.text !== ''),
        );
      }),
    );
  });
});
