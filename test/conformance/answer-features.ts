import type { Dialect } from '../../server/src/llm/dialect.ts';
import type { Seal } from '../../server/src/llm/conversation.ts';
import type { AnswerFeature } from './answer-matrix.ts';
import type { View, ViewBlock } from './caller-view.ts';
import { type Direction, type Expected, type Outcome, adapted, mapped, partly } from './outcome.ts';
import { anthropicSaid, brokenOff, chatSaid, mocked, responsesSaid } from './said.ts';

/** What an answer can hold, how it can end, and what it can cost. */

const hello = { type: 'text' as const, text: 'Hello, häh?' };
const helloScript = { blocks: [hello] };

/** The words of each dialect for an answer's end. */
const stops = {
  end: { anthropic: 'end_turn', chat: 'stop', responses: 'completed' },
  tool: { anthropic: 'tool_use', chat: 'tool_calls', responses: 'completed' },
  length: { anthropic: 'max_tokens', chat: 'length', responses: 'max_output_tokens' },
  refusal: { anthropic: 'refusal', chat: 'content_filter', responses: 'content_filter' },
  stop_sequence: { anthropic: 'stop_sequence', chat: 'stop', responses: 'completed' },
} satisfies Record<string, Record<Dialect, string>>;

/** The mock provider's calls have the ids of its dialect. */
function call({ to }: Direction, id: string, input: object): ViewBlock {
  return { type: 'tool_call', id: `${to === 'anthropic' ? 'toolu' : 'call'}_${id}`, name: 'weather', input };
}

const spokenCall = (id: string, input: Record<string, unknown>) => ({
  type: 'tool_call' as const,
  id,
  name: 'weather',
  input,
});

const idOf = (to: Dialect): string => (JSON.parse(mocked(helloScript)[to].whole ?? '') as { id: string }).id;

const seals: Readonly<Record<Dialect, Seal>> = {
  anthropic: { dialect: 'anthropic', members: { signature: 'c2VhbA==' } },
  chat: { dialect: 'chat', members: { fields: ['reasoning_content'] } },
  responses: { dialect: 'responses', members: { id: 'rs_0', encrypted_content: 'c2VhbA==' } },
};

/** An Anthropic caller gets the vendor's own form of a seal only from the vendor; from others, ours. */
const reasoned = ({ to }: Direction): Partial<View> => ({
  blocks: [{ type: 'reasoning', text: 'Let me see.', seal: seals[to] }, hello],
});

const freeformTool = {
  chat: { tools: [{ type: 'custom', custom: { name: 'weather' } }] },
  responses: { tools: [{ type: 'custom', name: 'weather' }] },
};

const content: readonly AnswerFeature[] = [
  {
    name: 'text',
    said: mocked(helloScript),
    told: ({ from }) => ({ blocks: [hello], stop: stops.end[from] }),
    expected: mapped,
    throughGate: true,
  },
  {
    name: 'the provider’s id and model',
    said: mocked(helloScript),
    told: ({ to }) => ({ id: idOf(to), model: 'served' }),
    expected: mapped,
  },
  {
    name: 'a tool call in pieces',
    said: mocked({ blocks: [hello, spokenCall('1', { city: 'Ulm', days: [1, 2, null] })] }),
    told: (direction) => ({
      blocks: [hello, call(direction, '1', { city: 'Ulm', days: [1, 2, null] })],
      stop: stops.tool[direction.from],
    }),
    expected: mapped,
    throughGate: true,
  },
  {
    name: 'a tool call without arguments',
    said: mocked({ blocks: [spokenCall('1', {})] }),
    told: (direction) => ({ blocks: [call(direction, '1', {})], stop: stops.tool[direction.from] }),
    expected: mapped,
  },
  {
    name: 'parallel calls',
    said: mocked({ blocks: [spokenCall('1', { city: 'Ulm' }), spokenCall('2', { city: 'Bonn' })] }),
    told: (direction) => ({
      blocks: [call(direction, '1', { city: 'Ulm' }), call(direction, '2', { city: 'Bonn' })],
      stop: stops.tool[direction.from],
    }),
    expected: mapped,
    throughGate: true,
  },
  {
    name: 'parallel calls whose pieces come interleaved',
    said: { chat: { ...interleaved(), whole: null } },
    told: ({ from }) => ({
      blocks: [
        { type: 'tool_call', id: 'a', name: 'weather', input: { city: 'Ulm' } },
        { type: 'tool_call', id: 'b', name: 'weather', input: { city: 'Bonn' } },
      ],
      stop: stops.tool[from],
    }),
    expected: mapped,
  },
  {
    name: 'two calls of one id',
    said: {
      chat: chatSaid(
        { tool_calls: [chatCall('a', '{}'), chatCall('a', '{}')] },
        [
          { tool_calls: [{ index: 0, ...chatCall('a', '{}') }] },
          { tool_calls: [{ index: 1, ...chatCall('a', '{}') }] },
        ],
        'tool_calls',
      ),
    },
    told: () => ({
      blocks: [
        { type: 'tool_call', id: 'a', name: 'weather', input: {} },
        { type: 'tool_call', id: 'a', name: 'weather', input: {} },
      ],
    }),
    expected: adapted('the second gets an id of its own', {
      blocks: [
        { type: 'tool_call', id: 'a', name: 'weather', input: {} },
        { type: 'tool_call', id: 'a_1', name: 'weather', input: {} },
      ],
    }),
  },
  {
    name: 'a call of a tool with free text',
    asks: freeformTool,
    said: mocked({ blocks: [spokenCall('1', { input: 'Ulm, please' })] }),
    told: (direction) => ({
      blocks: [call(direction, '1', { input: 'Ulm, please' })],
      stop: stops.tool[direction.from],
    }),
    expected: mapped,
  },
  {
    name: 'a call of a tool by a name that not every provider takes',
    asks: {
      anthropic: { tools: [{ name: 'fs.read', input_schema: { type: 'object' } }] },
      chat: { tools: [{ type: 'function', function: { name: 'fs.read' } }] },
      responses: { tools: [{ type: 'function', name: 'fs.read' }] },
    },
    said: mocked({ blocks: [{ ...spokenCall('1', {}), name: 'fs_read_4074bc025755' }] }),
    told: (direction) => ({ blocks: [{ ...call(direction, '1', {}), name: 'fs.read' }] }),
    expected: mapped,
    throughGate: true,
  },
  {
    name: 'text after a call',
    said: textLast(),
    told: (direction) => ({ blocks: [call(direction, '1', { city: 'Ulm' }), hello] }),
    expected: {
      anthropic: mapped,
      chat: { anthropic: textFirst('anthropic'), responses: textFirst('responses') },
      responses: mapped,
    },
  },
  {
    name: 'reasoning with its seal',
    said: mocked({
      blocks: [{ type: 'thinking', thinking: 'Let me see.', signature: 'c2VhbA==' }, hello],
    }),
    told: reasoned,
    expected: mapped,
    throughGate: true,
  },
  {
    name: 'reasoning that only its provider can read',
    said: {
      anthropic: anthropicSaid([
        { type: 'redacted_thinking', data: 'c2VhbA==' },
        { type: 'text', text: 'Hello, häh?' },
      ]),
      responses: responsesSaid([{ type: 'reasoning', id: 'rs_0', summary: [], encrypted_content: 'c2VhbA==' }]),
    },
    told: ({ to }) =>
      to === 'anthropic'
        ? {
            blocks: [
              { type: 'reasoning', text: '', seal: { dialect: 'anthropic', members: { redacted: 'c2VhbA==' } } },
              hello,
            ],
          }
        : { blocks: [{ type: 'reasoning', text: '', seal: seals.responses }] },
    expected: mapped,
  },
  {
    name: 'a refusal in words',
    said: {
      chat: chatSaid({ refusal: 'I will not.' }, [{ refusal: 'I will ' }, { refusal: 'not.' }], 'stop'),
      responses: responsesSaid([
        {
          id: 'msg_0',
          type: 'message',
          status: 'completed',
          role: 'assistant',
          content: [{ type: 'refusal', refusal: 'I will not.' }],
        },
      ]),
    },
    told: ({ from }) => ({ blocks: [{ type: 'text', text: 'I will not.' }], stop: stops.refusal[from] }),
    expected: mapped,
  },
  {
    name: 'citations',
    said: {
      anthropic: anthropicSaid([
        { type: 'text', text: hello.text, citations: [{ type: 'char_location', cited_text: 'x' }] },
      ]),
      chat: chatSaid(
        { content: hello.text, annotations: [{ type: 'url_citation', url_citation: { url: 'https://example.com' } }] },
        [
          {
            content: hello.text,
            annotations: [{ type: 'url_citation', url_citation: { url: 'https://example.com' } }],
          },
        ],
        'stop',
      ),
    },
    told: () => ({ blocks: [hello], cited: true }),
    expected: {
      anthropic: { chat: uncited('choices.message.annotations') },
      chat: { anthropic: uncited('content.citations') },
      responses: { anthropic: uncited('content.citations'), chat: uncited('choices.message.annotations') },
    },
    expectedStreamed: adapted('left out; the header that lists it is gone by then', { cited: false }),
  },
  {
    name: 'what a tool of the vendor found',
    said: {
      anthropic: anthropicSaid([{ type: 'server_tool_use', id: 's', name: 'web_search', input: {} }]),
      responses: responsesSaid([{ type: 'web_search_call', id: 'ws_0', status: 'completed' }]),
    },
    told: () => ({ blocks: [] }),
    expected: byVendorTool(false),
    expectedStreamed: byVendorTool(true),
  },
];

/** In a whole chat message nothing says which was first. */
function textLast() {
  const said = mocked({ blocks: [spokenCall('1', { city: 'Ulm' }), hello] });
  return { ...said, chat: { ...said.chat, whole: null } };
}

function textFirst(to: Dialect) {
  const blocks = [hello, call({ from: 'chat', to }, '1', { city: 'Ulm' })];
  return adapted('the text stands before the calls, as this dialect has no order between them', { blocks });
}

function untranslatable(path: string, what: string, dropped: readonly string[] | null): Outcome {
  return {
    kind: 'refused',
    message: `The provider's answer cannot be translated: "${path}" ${what}.`,
    dropped,
  };
}

/** The names of what is dropped stand in a header, and that of a stream is gone by then. */
function byVendorTool(streamed: boolean): Expected {
  const anthropic = untranslatable(
    streamed ? 'content_block' : 'content[0]',
    'is a block of type "server_tool_use"',
    streamed ? [] : ['content'],
  );
  const item = 'output.web_search_call';
  const responses = untranslatable(item, 'is an item that nobody asked for', streamed ? [] : [item]);
  return { anthropic: { responses }, chat: { anthropic, responses }, responses: { anthropic } };
}

function uncited(dropped: string) {
  return partly([dropped], 'the text stays', { cited: false });
}

function chatCall(id: string, json: string) {
  return { id, type: 'function', function: { name: 'weather', arguments: json } };
}

function interleaved() {
  const part = (index: number, json: string) => ({ tool_calls: [{ index, function: { arguments: json } }] });
  return chatSaid(
    {},
    [
      { tool_calls: [{ index: 0, ...chatCall('a', '') }] },
      { tool_calls: [{ index: 1, ...chatCall('b', '') }] },
      part(0, '{"city":'),
      part(1, '{"city":'),
      part(0, '"Ulm"}'),
      part(1, '"Bonn"}'),
    ],
    'tool_calls',
  );
}

/** Chat servers say which sequence it was as vLLM does, or not at all. */
function stopped() {
  const { anthropic } = mocked({ ...helloScript, stop: 'stop_sequence', stopSequence: 'END' });
  const { whole, streamed } = chatSaid({ content: hello.text }, [{ content: hello.text }], 'stop');
  const named = (text: string | null) =>
    text?.replace('"finish_reason":"stop"', '"finish_reason":"stop","stop_reason":"END"') ?? null;
  return { anthropic, chat: { whole: named(whole), streamed: named(streamed) } };
}

const unknownReason = {
  anthropic: untranslatable(
    'stop_reason',
    'must be one of end_turn, max_tokens, model_context_window_exceeded, tool_use, stop_sequence, refusal',
    null,
  ),
  chat: untranslatable(
    'finish_reason',
    'must be one of stop, length, tool_calls, function_call, content_filter, eos_token, eos, model_length',
    null,
  ),
};

const endings: readonly AnswerFeature[] = [
  {
    name: 'the end of the output limit',
    said: mocked({ ...helloScript, stop: 'length' }),
    told: ({ from }) => ({ blocks: [hello], stop: stops.length[from] }),
    expected: mapped,
    throughGate: true,
  },
  {
    name: 'the end of the context window',
    said: { anthropic: anthropicSaid([{ type: 'text', text: hello.text }], 'model_context_window_exceeded') },
    told: ({ from }) => ({ blocks: [hello], stop: stops.length[from] }),
    expected: mapped,
  },
  {
    name: 'the end by a stop sequence',
    said: stopped(),
    told: ({ from }) => ({ blocks: [hello], stop: stops.stop_sequence[from], stopSequence: 'END' }),
    expected: {
      anthropic: { chat: mapped },
      chat: mapped,
      responses: adapted('as a natural end, since this dialect has no stop sequences', { stopSequence: null }),
    },
  },
  {
    name: 'the end by a refusal or a filter',
    said: mocked({ ...helloScript, stop: 'refusal' }),
    told: ({ from }) => ({ blocks: [hello], stop: stops.refusal[from] }),
    expected: mapped,
    throughGate: true,
  },
  {
    name: 'a reason that nobody knows',
    said: {
      anthropic: anthropicSaid([{ type: 'text', text: 'x' }], 'tomorrow'),
      chat: chatSaid({ content: 'x' }, [{ content: 'x' }], 'tomorrow'),
    },
    told: () => ({}),
    expected: {
      anthropic: { chat: unknownReason.chat },
      chat: { anthropic: unknownReason.anthropic },
      responses: unknownReason,
    },
  },
];

const usage = { input: 100, output: 20, cacheRead: 50, cacheWrite5m: 30, cacheWrite1h: 10 };
const counted = { input: 100, output: 20, cacheRead: 50, written: 0, writtenLong: 0, reasoning: 0 };
const zeros = { input: 0, output: 0, cacheRead: 0, written: 0, writtenLong: 0, reasoning: 0 };

const costs: readonly AnswerFeature[] = [
  {
    name: 'tokens of input and output, and those read from the cache',
    said: mocked({ ...helloScript, usage: { ...usage, cacheWrite5m: 0, cacheWrite1h: 0 } }),
    told: () => ({ usage: counted }),
    expected: mapped,
    throughGate: true,
  },
  {
    name: 'tokens of reasoning',
    said: (({ chat, responses }) => ({ chat, responses }))(
      mocked({ ...helloScript, usage: { ...usage, cacheWrite5m: 0, cacheWrite1h: 0, reasoning: 5 } }),
    ),
    told: () => ({ usage: { ...counted, reasoning: 5 } }),
    expected: mapped,
  },
  {
    name: 'tokens written to the cache, by how long they stay',
    said: (({ anthropic }) => ({ anthropic }))(mocked({ ...helloScript, usage })),
    told: () => ({ usage: { ...counted, written: 30, writtenLong: 10 } }),
    expected: {
      chat: adapted('in one number', { usage: { ...counted, written: 40 } }),
      responses: mapped,
    },
  },
  {
    name: 'no usage',
    said: { chat: withoutUsage() },
    told: () => ({ usage: null }),
    expected: {
      anthropic: adapted('as zeros, which clients need; the ledger keeps the difference', { usage: zeros }),
      responses: mapped,
    },
  },
];

function withoutUsage() {
  const { whole, streamed } = chatSaid({ content: 'x' }, [{ content: 'x' }], 'stop');
  const { usage: _usage, ...body } = JSON.parse(whole ?? '{}') as Record<string, unknown>;
  return { whole: JSON.stringify(body), streamed };
}

const overloaded = 'Overloaded.';
const faults: readonly AnswerFeature[] = [
  {
    name: 'an error in mid-stream',
    said: brokenOff(
      helloScript,
      { anthropic: 5, chat: 3, responses: 6 },
      {
        anthropic: `event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"${overloaded}"}}\n\n`,
        chat: `data: {"error":{"message":"${overloaded}","type":"server_error","code":"overloaded_error"}}\n\n`,
        responses: `event: error\ndata: {"type":"error","sequence_number":6,"code":"server_is_overloaded","message":"${overloaded}","param":null}\n\n`,
      },
    ),
    told: ({ from }) => ({
      blocks: [{ type: 'text', text: 'Hello, häh?' }],
      error: {
        kind: { anthropic: 'overloaded_error', chat: 'unavailable', responses: 'server_error' }[from],
        message: overloaded,
      },
    }),
    expected: mapped,
  },
  {
    name: 'a stream cut short',
    said: brokenOff(helloScript, { anthropic: 5, chat: 3, responses: 6 }),
    told: ({ from }) => ({
      error: {
        kind: { anthropic: 'api_error', chat: 'upstream_error', responses: 'server_error' }[from],
        message: 'The provider ended the stream before the answer was complete.',
      },
    }),
    expected: mapped,
    throughGate: true,
  },
];

export const answerFeatures = { content, endings, costs, faults };
