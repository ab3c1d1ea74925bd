import type { Dialect } from '../../server/src/llm/dialect.ts';
import { type Members, adapted, mapped } from './outcome.ts';
import type { RequestFeature } from './request-matrix.ts';

/** Calls of tools and their results, in the history of a conversation. */

const hi = { role: 'user', content: 'Hi' };
const hiBlocks = { role: 'user', content: [{ type: 'text', text: 'Hi' }] };
const hiItem = { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Hi' }] };
const text = (value: string) => ({ type: 'text', text: value });
const png = 'iVBORw0KGgo=';

interface Round {
  readonly result: Partial<Readonly<Record<Dialect, unknown>>>;
  readonly isError?: true;
}

const first = { id: 'call_1', name: 'weather', arguments: '{"city":"Ulm"}' };
const second = { id: 'call_2', name: 'weather', arguments: '{"city":"Bonn"}' };
const toolUse = ({ id, name, arguments: json }: typeof first) => ({
  type: 'tool_use',
  id,
  name,
  input: JSON.parse(json) as object,
});
const toolCall = ({ id, ...fn }: typeof first) => ({ id, type: 'function', function: fn });
const functionCall = ({ id, ...fn }: typeof first) => ({ type: 'function_call', call_id: id, ...fn });

/** A call and its result. */
function round({ result, isError }: Round): Readonly<Record<Dialect, Members>> {
  return {
    anthropic: {
      messages: [
        hiBlocks,
        { role: 'assistant', content: [toolUse(first)] },
        {
          role: 'user',
          content: [
            {
              type: 'tool_result',
              tool_use_id: 'call_1',
              content: result.anthropic,
              ...(isError && { is_error: true }),
            },
          ],
        },
      ],
    },
    chat: {
      messages: [
        hi,
        { role: 'assistant', content: null, tool_calls: [toolCall(first)] },
        { role: 'tool', tool_call_id: 'call_1', content: result.chat },
      ],
    },
    responses: {
      input: [
        hiItem,
        functionCall(first),
        { type: 'function_call_output', call_id: 'call_1', output: result.responses },
      ],
    },
  };
}

const anthropicImage = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: png } };
const responsesImage = { type: 'input_image', image_url: `data:image/png;base64,${png}` };
const nextMessage = 'the result says that it is in the user message that follows, and there it is';
const imageResult = round({
  result: {
    anthropic: [anthropicImage],
    chat: 'The result is in the next message.',
    responses: [responsesImage],
  },
});
const shownApart: Members = {
  messages: [
    ...(imageResult.chat['messages'] as object[]),
    {
      role: 'user',
      content: [
        text('From the result of tool call "call_1":'),
        { type: 'image_url', image_url: { url: `data:image/png;base64,${png}` } },
      ],
    },
  ],
};

export const callFeatures: readonly RequestFeature[] = [
  {
    name: 'a call with its result as text',
    says: round({ result: { anthropic: [text('Sunny.')], chat: 'Sunny.', responses: 'Sunny.' } }),
    expected: mapped,
    throughGate: true,
  },
  {
    name: 'a call that failed',
    says: { anthropic: round({ result: { anthropic: [text('No such city.')] }, isError: true }).anthropic },
    expected: {
      anthropic: {
        chat: {
          kind: 'mapped',
          sent: round({ result: { chat: '[tool error]\nNo such city.' } }).chat,
        },
        responses: {
          kind: 'mapped',
          sent: round({ result: { responses: '[tool error]\nNo such city.' } }).responses,
        },
      },
    },
  },
  {
    name: 'an image in a result',
    says: (({ anthropic, responses }) => ({ anthropic, responses }))(imageResult),
    expected: {
      anthropic: { chat: adapted(nextMessage, shownApart), responses: mapped },
      responses: { anthropic: mapped, chat: adapted(nextMessage, shownApart) },
    },
    throughGate: true,
  },
  {
    name: 'parallel calls and their results',
    says: {
      anthropic: {
        messages: [
          hiBlocks,
          { role: 'assistant', content: [text('Both.'), toolUse(first), toolUse(second)] },
          {
            role: 'user',
            content: [
              { type: 'tool_result', tool_use_id: 'call_2', content: [text('Rain.')] },
              { type: 'tool_result', tool_use_id: 'call_1', content: [text('Sunny.')] },
              text('And now?'),
            ],
          },
        ],
      },
      chat: {
        messages: [
          hi,
          { role: 'assistant', content: 'Both.', tool_calls: [toolCall(first), toolCall(second)] },
          { role: 'tool', tool_call_id: 'call_2', content: 'Rain.' },
          { role: 'tool', tool_call_id: 'call_1', content: 'Sunny.' },
          { role: 'user', content: 'And now?' },
        ],
      },
      responses: {
        input: [
          hiItem,
          {
            type: 'message',
            role: 'assistant',
            content: [{ type: 'output_text', text: 'Both.', annotations: [] }],
          },
          functionCall(first),
          functionCall(second),
          { type: 'function_call_output', call_id: 'call_2', output: 'Rain.' },
          { type: 'function_call_output', call_id: 'call_1', output: 'Sunny.' },
          { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'And now?' }] },
        ],
      },
    },
    expected: mapped,
    throughGate: true,
  },
];
