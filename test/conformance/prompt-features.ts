import type { Dialect } from '../../server/src/llm/dialect.ts';
import { sealToText } from '../../server/src/llm/seal.ts';
import { type Members, alwaysRefused, mapped, partly, refused } from './outcome.ts';
import type { RequestFeature } from './request-matrix.ts';

/** What a prompt can hold: system prompts, content, and the history of a conversation. */

const hi = { role: 'user', content: 'Hi' };
const text = (value: string) => ({ type: 'text', text: value });
const input = (value: string) => ({ type: 'input_text', text: value });
const output = (value: string) => ({ type: 'output_text', text: value, annotations: [] });
const png = 'iVBORw0KGgo=';
const pdf = 'JVBERi0xLjQK';
const words = Buffer.from('Plain words.').toString('base64');

/** Messages as each dialect holds them. */
const messages = (list: readonly unknown[]): Members => ({ messages: list });
const items = (list: readonly unknown[]): Members => ({ input: list });

/** One user message with this content, in each dialect. */
function asked(content: Partial<Record<Dialect, readonly unknown[]>>): Partial<Record<Dialect, Members>> {
  const { anthropic, chat, responses } = content;
  return {
    ...(anthropic && { anthropic: messages([{ role: 'user', content: anthropic }]) }),
    ...(chat && { chat: messages([{ role: 'user', content: chat }]) }),
    ...(responses && { responses: items([{ type: 'message', role: 'user', content: responses }]) }),
  };
}

const hiItem = { type: 'message', role: 'user', content: [input('Hi')] };
const hiBlocks = { role: 'user', content: [text('Hi')] };

const system: readonly RequestFeature[] = [
  {
    name: 'a system prompt as a string',
    says: {
      anthropic: { system: 'Be brief.' },
      chat: messages([{ role: 'system', content: 'Be brief.' }, hi]),
      responses: { instructions: 'Be brief.' },
    },
    sent: {
      anthropic: { system: [text('Be brief.')] },
      responses: items([{ type: 'message', role: 'developer', content: [input('Be brief.')] }, hiItem]),
    },
    expected: mapped,
    throughGate: true,
  },
  {
    name: 'a system prompt in several blocks',
    says: {
      anthropic: { system: [text('Be brief.'), text('Be kind.')] },
      chat: messages([{ role: 'developer', content: [text('Be brief.'), text('Be kind.')] }, hi]),
      responses: items([
        { type: 'message', role: 'developer', content: [input('Be brief.'), input('Be kind.')] },
        hiItem,
      ]),
    },
    sent: { chat: messages([{ role: 'system', content: [text('Be brief.'), text('Be kind.')] }, hi]) },
    expected: mapped,
  },
  {
    name: 'a system message in mid-conversation',
    says: {
      anthropic: messages([hi, { role: 'assistant', content: 'Hello' }, { role: 'system', content: 'Be brief.' }, hi]),
      chat: messages([hi, { role: 'assistant', content: 'Hello' }, { role: 'system', content: 'Be brief.' }, hi]),
      responses: items([hi, { role: 'assistant', content: 'Hello' }, { role: 'developer', content: 'Be brief.' }, hi]),
    },
    sent: {
      anthropic: messages([
        hiBlocks,
        { role: 'assistant', content: [text('Hello')] },
        { role: 'system', content: [text('Be brief.')] },
        hiBlocks,
      ]),
      responses: items([
        hiItem,
        { type: 'message', role: 'assistant', content: [output('Hello')] },
        { type: 'message', role: 'developer', content: [input('Be brief.')] },
        hiItem,
      ]),
    },
    expected: mapped,
  },
];

const content: readonly RequestFeature[] = [
  {
    name: 'text in several parts',
    says: asked({
      anthropic: [text('Häh?'), text('日本')],
      chat: [text('Häh?'), text('日本')],
      responses: [input('Häh?'), input('日本')],
    }),
    expected: mapped,
  },
  {
    name: 'an image in base64',
    says: asked({
      anthropic: [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: png } }],
      chat: [{ type: 'image_url', image_url: { url: `data:image/png;base64,${png}` } }],
      responses: [{ type: 'input_image', image_url: `data:image/png;base64,${png}` }],
    }),
    expected: mapped,
    throughGate: true,
  },
  {
    name: 'an image by its address',
    says: asked({
      anthropic: [{ type: 'image', source: { type: 'url', url: 'https://example.com/a.png' } }],
      chat: [{ type: 'image_url', image_url: { url: 'https://example.com/a.png' } }],
      responses: [{ type: 'input_image', image_url: 'https://example.com/a.png' }],
    }),
    expected: mapped,
  },
  {
    name: 'the wanted detail of an image',
    says: asked({
      chat: [{ type: 'image_url', image_url: { url: 'https://example.com/a.png', detail: 'high' } }],
      responses: [{ type: 'input_image', image_url: 'https://example.com/a.png', detail: 'high' }],
    }),
    expected: {
      chat: { anthropic: imageWithoutDetail(), responses: mapped },
      responses: { anthropic: imageWithoutDetail(), chat: mapped },
    },
  },
  {
    name: 'a PDF in base64',
    says: asked({
      anthropic: [
        { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: pdf }, title: 'a.pdf' },
      ],
      chat: [{ type: 'file', file: { filename: 'a.pdf', file_data: `data:application/pdf;base64,${pdf}` } }],
      responses: [{ type: 'input_file', filename: 'a.pdf', file_data: `data:application/pdf;base64,${pdf}` }],
    }),
    expected: mapped,
    throughGate: true,
  },
  {
    name: 'a document by its address',
    says: asked({
      anthropic: [{ type: 'document', source: { type: 'url', url: 'https://example.com/a.pdf' } }],
      responses: [{ type: 'input_file', file_url: 'https://example.com/a.pdf' }],
    }),
    expected: {
      anthropic: { chat: noAddresses(), responses: mapped },
      responses: { anthropic: mapped, chat: noAddresses() },
    },
  },
  {
    name: 'a document of plain text',
    says: asked({
      anthropic: [
        { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'Plain words.' }, title: 'a.txt' },
      ],
      chat: [{ type: 'file', file: { filename: 'a.txt', file_data: `data:text/plain;base64,${words}` } }],
      responses: [{ type: 'input_file', filename: 'a.txt', file_data: `data:text/plain;base64,${words}` }],
    }),
    expected: mapped,
  },
  {
    name: 'the context of a document',
    says: asked({
      anthropic: [
        {
          type: 'document',
          source: { type: 'base64', media_type: 'application/pdf', data: pdf },
          title: 'a.pdf',
          context: 'Of 2026.',
        },
      ],
    }),
    sent: asked({
      chat: [
        text('Of 2026.'),
        { type: 'file', file: { filename: 'a.pdf', file_data: `data:application/pdf;base64,${pdf}` } },
      ],
      responses: [
        input('Of 2026.'),
        { type: 'input_file', filename: 'a.pdf', file_data: `data:application/pdf;base64,${pdf}` },
      ],
    }),
    expected: { anthropic: mapped },
  },
  {
    name: 'citations from a document',
    says: asked({
      anthropic: [
        {
          type: 'document',
          source: { type: 'text', media_type: 'text/plain', data: 'Plain words.' },
          citations: { enabled: true },
        },
      ],
    }),
    expected: { anthropic: refused('messages[0].content[0].citations') },
  },
  {
    name: 'a file by its id',
    says: asked({
      anthropic: [{ type: 'document', source: { type: 'file', file_id: 'file_1' } }, text('Hi')],
      chat: [{ type: 'file', file: { file_id: 'file_1' } }, text('Hi')],
      responses: [{ type: 'input_file', file_id: 'file_1' }, input('Hi')],
    }),
    expected: {
      anthropic: stored('messages[0].content[0].source.file_id', 'send the content itself'),
      chat: stored('messages[0].content[0].file.file_id', 'send the content itself'),
      responses: stored('input[0].content[0].file_id', 'send the content itself'),
    },
  },
  {
    name: 'audio',
    says: asked({ chat: [{ type: 'input_audio', input_audio: { data: 'UklGRg==', format: 'wav' } }, text('Hi')] }),
    expected: {
      chat: refused(
        'messages[0].content[0]',
        'is a part of type "input_audio", which has no counterpart on the other side',
      ),
    },
  },
  {
    name: 'a search result as content',
    says: asked({
      anthropic: [
        { type: 'search_result', source: 'https://example.com', title: 'T', content: [text('x')] },
        text('Hi'),
      ],
    }),
    expected: {
      anthropic: refused(
        'messages[0].content[0]',
        'is a block of type "search_result", which has no counterpart on the other side',
      ),
    },
  },
];

function imageWithoutDetail() {
  const image = { type: 'image', source: { type: 'url', url: 'https://example.com/a.png' } };
  return partly(['image.detail'], 'the image goes without it', asked({ anthropic: [image] }).anthropic);
}

function noAddresses() {
  return refused('document', 'is given by its address, and the model behind this name takes its content alone');
}

export function stored(field: string, advice: string) {
  return alwaysRefused(
    `The field "${field}" needs state that the provider stores, which the gate does not allow: ${advice}.`,
  );
}

/** A question, what the model said to it, and the next message. */
const reasoned: Readonly<Record<Dialect, Members>> = {
  anthropic: messages([
    hiBlocks,
    { role: 'assistant', content: [{ type: 'thinking', thinking: 'Hm.', signature: 'c2VhbA==' }, text('Hello')] },
    hiBlocks,
  ]),
  chat: messages([hi, { role: 'assistant', content: 'Hello', reasoning_content: 'Hm.' }, hi]),
  responses: items([
    hiItem,
    {
      type: 'reasoning',
      id: 'rs_1',
      summary: [{ type: 'summary_text', text: 'Hm.' }],
      encrypted_content: 'c2VhbA==',
    },
    { type: 'message', role: 'assistant', content: [output('Hello')] },
    hiItem,
  ]),
};

const unreasoned: Readonly<Record<Dialect, Members>> = {
  anthropic: messages([hiBlocks, { role: 'assistant', content: [text('Hello')] }, hiBlocks]),
  chat: messages([hi, { role: 'assistant', content: 'Hello' }, hi]),
  responses: items([hiItem, { type: 'message', role: 'assistant', content: [output('Hello')] }, hiItem]),
};

/** The seal of `reasoned`, as a caller of another dialect carries it. */
function carried(by: Dialect): string {
  const members = {
    anthropic: { signature: 'c2VhbA==' },
    chat: { fields: ['reasoning_content'] },
    responses: { id: 'rs_1', encrypted_content: 'c2VhbA==' },
  }[by];
  return sealToText({ dialect: by, members });
}

function withoutReasoning(dropped: string) {
  const by = (dialect: Dialect) => partly([dropped], 'what was said stays', unreasoned[dialect]);
  return {
    anthropic: { chat: by('chat'), responses: by('responses') },
    chat: { anthropic: by('anthropic'), responses: by('responses') },
    responses: { anthropic: by('anthropic'), chat: by('chat') },
  };
}

const history: readonly RequestFeature[] = [
  {
    name: 'reasoning that comes back to the provider that sealed it',
    says: {
      anthropic: (to) =>
        messages([
          hi,
          {
            role: 'assistant',
            content: [{ type: 'thinking', thinking: 'Hm.', signature: carried(to) }, text('Hello')],
          },
          hi,
        ]),
      chat: (to) =>
        messages([
          hi,
          {
            role: 'assistant',
            content: 'Hello',
            reasoning_content: 'Hm.',
            reasoning_details: [{ type: 'reasoning.text', text: 'Hm.', signature: carried(to) }],
          },
          hi,
        ]),
      responses: (to) =>
        items([
          hi,
          {
            type: 'reasoning',
            id: 'rs_9',
            summary: [{ type: 'summary_text', text: 'Hm.' }],
            encrypted_content: carried(to),
          },
          { role: 'assistant', content: 'Hello' },
          hi,
        ]),
    },
    sent: reasoned,
    expected: mapped,
    throughGate: true,
  },
  {
    name: 'reasoning of a provider of the caller’s own dialect',
    says: reasoned,
    expected: withoutReasoning('reasoning'),
  },
  {
    name: 'reasoning that only its provider can read',
    says: {
      anthropic: messages([
        hi,
        { role: 'assistant', content: [{ type: 'redacted_thinking', data: 'c2VhbA==' }, text('Hello')] },
        hi,
      ]),
      responses: items([
        hi,
        { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'c2VhbA==' },
        { role: 'assistant', content: 'Hello' },
        hi,
      ]),
    },
    expected: (({ anthropic, responses }) => ({ anthropic, responses }))(withoutReasoning('reasoning')),
  },
  {
    name: 'a refusal in the history',
    says: {
      chat: messages([hi, { role: 'assistant', content: null, refusal: 'I will not.' }, hi]),
      responses: items([hi, { role: 'assistant', content: [{ type: 'refusal', refusal: 'I will not.' }] }, hi]),
    },
    sent: {
      anthropic: messages([hiBlocks, { role: 'assistant', content: [text('I will not.')] }, hiBlocks]),
      chat: messages([hi, { role: 'assistant', content: 'I will not.' }, hi]),
      responses: items([hiItem, { type: 'message', role: 'assistant', content: [output('I will not.')] }, hiItem]),
    },
    expected: mapped,
  },
  {
    name: 'what a tool of the vendor did, in the history',
    says: {
      anthropic: messages([
        hi,
        { role: 'assistant', content: [{ type: 'server_tool_use', id: 's', name: 'web_search', input: {} }] },
        hi,
      ]),
      responses: items([hi, { type: 'web_search_call', id: 'ws_1', action: { type: 'search', query: 'x' } }, hi]),
    },
    expected: {
      anthropic: refused(
        'messages[1].content[0]',
        'is a block of type "server_tool_use", which has no counterpart on the other side',
      ),
      responses: refused(
        'input[1]',
        'is an item of type "web_search_call", which has no counterpart on the other side',
      ),
    },
  },
  {
    name: 'the beginning of the answer',
    says: { anthropic: messages([hi, { role: 'assistant', content: 'It is' }]) },
    expected: {
      anthropic: refused(
        'messages',
        'end with the beginning of an answer, and the model behind this name would begin anew',
      ),
    },
  },
  {
    name: 'a stored item by its id',
    says: { responses: items([hi, { type: 'item_reference', id: 'msg_1' }]) },
    expected: { responses: stored('input[1]', 'send the item itself') },
  },
  {
    name: 'the name of a participant',
    says: { chat: messages([{ role: 'user', name: 'bob', content: 'Hi' }]) },
    expected: { chat: refused('messages[0].name') },
  },
];

export const promptFeatures: readonly RequestFeature[] = [...system, ...content, ...history];
