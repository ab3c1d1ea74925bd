import type { Dialect } from '../../server/src/llm/dialect.ts';
import { anthropic } from '../support/mock-upstream/anthropic.ts';
import { type Asked, compose } from '../support/mock-upstream/answer.ts';
import { chat } from '../support/mock-upstream/chat.ts';
import type { MockDialect } from '../support/mock-upstream/dialect.ts';
import { responses } from '../support/mock-upstream/responses.ts';
import { type ScriptInput, scriptSchema } from '../support/mock-upstream/script.ts';
import type { Said } from './answer-matrix.ts';

/** Answers as providers give them: by the mock provider, which was written from the vendors' references. */

export const mocks: Readonly<Record<Dialect, MockDialect>> = { anthropic, chat, responses };

const asked: Asked = {
  model: 'served',
  stream: true,
  streamUsage: true,
  maxTokens: 4000,
  choices: 1,
  tools: [],
  endsWithToolResult: false,
};

/** The same answer in each dialect. */
export function mocked(input: ScriptInput): Readonly<Record<Dialect, Said>> {
  const answer = compose(asked, scriptSchema.parse(input), 1, 400);
  const said = (mock: MockDialect): Said => ({
    whole: mock.whole(answer),
    streamed: mock
      .events(answer, asked)
      .map(({ text }) => text)
      .join(''),
  });
  return { anthropic: said(anthropic), chat: said(chat), responses: said(responses) };
}

/** The same answer's stream, which goes on with `then` after so many events, or not at all. */
export function brokenOff(
  input: ScriptInput,
  after: Readonly<Record<Dialect, number>>,
  then: Readonly<Record<Dialect, string>> = { anthropic: '', chat: '', responses: '' },
): Readonly<Record<Dialect, Said>> {
  const whole = mocked(input);
  const said = (dialect: Dialect): Said => {
    const events = (whole[dialect].streamed ?? '').split(/(?<=\n\n)/);
    return { whole: null, streamed: events.slice(0, after[dialect]).join('') + then[dialect] };
  };
  return { anthropic: said('anthropic'), chat: said('chat'), responses: said('responses') };
}

/** A Chat Completion of this message, and a stream of these deltas. */
export function chatSaid(message: object, deltas: readonly object[], finish: string): Said {
  const envelope = { id: 'chatcmpl-1', created: 1, model: 'served' };
  const chunk = (delta: object, reason: string | null) =>
    `data: ${JSON.stringify({ ...envelope, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: reason }] })}\n\n`;
  const usage = {
    prompt_tokens: 1,
    completion_tokens: 1,
    total_tokens: 2,
    prompt_tokens_details: { cached_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0 },
  };
  return {
    whole: JSON.stringify({
      ...envelope,
      object: 'chat.completion',
      choices: [{ index: 0, message: { role: 'assistant', content: null, ...message }, finish_reason: finish }],
      usage,
    }),
    streamed: `${[{ role: 'assistant' }, ...deltas].map((delta) => chunk(delta, null)).join('')}${chunk({}, finish)}data: [DONE]\n\n`,
  };
}

/** A Message of this content, each block of which is streamed at once. */
export function anthropicSaid(content: readonly Record<string, unknown>[], stop = 'end_turn'): Said {
  const message = { id: 'msg_1', type: 'message', role: 'assistant', model: 'served' };
  const usage = { input_tokens: 1, output_tokens: 1 };
  const event = (type: string, rest: object) => `event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`;
  return {
    whole: JSON.stringify({ ...message, content, stop_reason: stop, stop_sequence: null, usage }),
    streamed: [
      event('message_start', { message: { ...message, content: [], stop_reason: null, stop_sequence: null, usage } }),
      ...content.flatMap((block, index) => [
        event('content_block_start', { index, content_block: block }),
        event('content_block_stop', { index }),
      ]),
      event('message_delta', { delta: { stop_reason: stop, stop_sequence: null }, usage: { output_tokens: 1 } }),
      event('message_stop', {}),
    ].join(''),
  };
}

/** A response of these items. */
export function responsesSaid(output: readonly Record<string, unknown>[]): Said {
  const response = { ...(JSON.parse(mocked({}).responses.whole ?? '') as object), output };
  let number = 0;
  const event = (type: string, rest: object) =>
    `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: number++, ...rest })}\n\n`;
  const begun = { ...response, status: 'in_progress', output: [], usage: null };
  return {
    whole: JSON.stringify(response),
    streamed: [
      event('response.created', { response: begun }),
      event('response.in_progress', { response: begun }),
      ...output.flatMap((item, index) => itemEvents(item, index, event)),
      event('response.completed', { response }),
    ].join(''),
  };
}

function itemEvents(
  item: Record<string, unknown>,
  index: number,
  event: (type: string, rest: object) => string,
): string[] {
  const parts = (Array.isArray(item['content']) ? item['content'] : []) as { type: string; refusal?: string }[];
  return [
    event('response.output_item.added', {
      output_index: index,
      item: { ...item, ...(parts.length > 0 && { content: [] }), status: 'in_progress' },
    }),
    ...parts.flatMap(({ type, refusal }, at) => {
      const place = { item_id: item['id'], output_index: index, content_index: at };
      return [
        event('response.content_part.added', { ...place, part: { type, refusal: '' } }),
        event('response.refusal.delta', { ...place, delta: refusal }),
        event('response.refusal.done', { ...place, refusal }),
        event('response.content_part.done', { ...place, part: { type, refusal } }),
      ];
    }),
    event('response.output_item.done', { output_index: index, item }),
  ];
}
