import { describe, expect, test } from 'vitest';
import type { AnswerEvent } from '../stream-events.ts';
import { createEncoder } from '../responses/stream.ts';
import { aConversation } from './conversations.ts';
import { readResponsesStream } from './responses-grammar.ts';
import { eventsIn } from './sse-text.ts';

/** The checker itself: what the vendor's description forbids, it must refuse. */

const answer: AnswerEvent[] = [
  { type: 'start', id: 'r', model: 'm', usage: null },
  { type: 'block_start', index: 0, block: { kind: 'reasoning' } },
  { type: 'reasoning_delta', index: 0, text: 'hm' },
  { type: 'block_stop', index: 0 },
  { type: 'block_start', index: 1, block: { kind: 'text' } },
  { type: 'text_delta', index: 1, text: 'a' },
  { type: 'block_stop', index: 1 },
  { type: 'block_start', index: 2, block: { kind: 'tool_call', id: 'c', name: 'f' } },
  { type: 'arguments_delta', index: 2, json: '{}' },
  { type: 'block_stop', index: 2 },
  { type: 'finish', stop: 'tool', stopSequence: null, usage: null },
];

// oxlint-disable-next-line typescript/no-explicit-any
type Event = any;

function legal(): Event[] {
  const encoder = createEncoder({ createdS: 1, includeUsage: true, request: aConversation() });
  const text = answer.map((event) => encoder.write(event)).join('');
  return eventsIn(text).map(({ data }) => JSON.parse(data));
}

/** The events, numbered anew. */
function read(events: readonly Event[], numbered = true) {
  const written = events.map((event, i) => {
    const data = numbered ? { ...event, sequence_number: i } : event;
    return `event: ${event.type}\ndata: ${JSON.stringify(data)}\n\n`;
  });
  return readResponsesStream(written.join(''));
}

const at = (events: readonly Event[], type: string) => events.findIndex((event) => event.type === type);

describe('the checker of streams of a response', () => {
  test('takes a legal one', () => {
    expect(read(legal(), false)).toMatchObject({ ending: 'finished', stop: 'completed' });
  });

  test.each(legal().map(({ type }, i) => [type as string, i] as const))('misses any event: %s (%i)', (_type, i) => {
    const events = legal();
    const whole = () => {
      const { ending } = read(events.toSpliced(i, 1));
      if (ending !== 'finished') throw new Error('illegal stream: not finished');
    };
    expect(whole).toThrow('illegal stream');
  });

  test.each(legal().map(({ type }, i) => [type as string, i] as const))(
    'minds any event that comes twice: %s (%i)',
    (type, i) => {
      // A second delta is one more, and the text at the end is then another.
      expect(() => read(legal().toSpliced(i, 0, legal()[i]))).toThrow('illegal stream');
      expect(type).not.toBe('');
    },
  );

  // Only that the next item begins before this one ends is legal: items may be open side by side.
  const isFree = (i: number) => legal()[i + 1].type === 'response.output_item.added' && i > 1;
  const places = legal()
    .slice(1)
    .keys()
    .filter((i) => !isFree(i));

  test.each([...places])('minds any two that change places: event %i and the next', (i) => {
    const events = legal();
    expect(() => read(events.toSpliced(i, 2, events[i + 1], events[i]))).toThrow('illegal stream');
  });

  test.each<[string, (events: Event[]) => void]>([
    ['a gap in the numbers', (events) => (events[3].sequence_number += 1)],
    ['a name that is not the type', (events) => (events[4].type = 'response.of.tomorrow')],
    ['another response', (events) => (events.at(-1).response.id = 'other')],
    ['another item', (events) => (events[at(events, 'response.output_text.delta')].item_id = 'other')],
    ['a text that was not said', (events) => (events[at(events, 'response.output_text.done')].text = 'b')],
    ['an item that was not said', (events) => (events.at(-1).response.output[1].content[0].text = 'b')],
    ['an end that is still going on', (events) => (events.at(-1).response.status = 'in_progress')],
    ['an end that is incomplete, but not why', (events) => (events.at(-1).response.status = 'incomplete')],
    ['an end without a member of the type', (events) => delete events.at(-1).response.tools],
    [
      'an id that comes twice',
      (events) => (events[at(events, 'response.content_part.added') - 1].item.id = events[2].item.id),
    ],
  ])('minds %s', (_what, change) => {
    const events = legal();
    change(events);
    expect(() => read(events, false)).toThrow('illegal stream');
  });

  test('minds anything after the end, also after a failure', () => {
    const events = legal();
    expect(() => read([...events, events[3]])).toThrow('after the end');
    const failed = {
      type: 'response.failed',
      response: { id: 'r', object: 'response', status: 'failed', error: { code: 'c', message: 'm' } },
    };
    expect(read([...events.slice(0, 4), failed]).ending).toBe('failed');
    expect(() => read([...events.slice(0, 4), failed, events[4]])).toThrow('after the end');
    expect(() => read([...events.slice(0, 4), { ...failed, response: { ...failed.response, error: null } }])).toThrow(
      'without a code',
    );
  });
});
