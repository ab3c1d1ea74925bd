import { describe, expect, test } from 'vitest';
import { type Capabilities, fullCapabilities } from './capabilities.ts';
import { fitWindow } from './context-window.ts';
import type { AssistantBlock, ReasoningBlock } from './conversation.ts';
import { type Dialect, dialects } from './dialect.ts';
import { aConversation } from './testing/conversations.ts';
import { draftRequest, translateRequest } from './translate.ts';
import { wireFormats } from './wire-formats.ts';

/** What a client of a dialect makes of the conversation so far. */
interface Client {
  asks(text: string, marked: boolean): object;
  shows(url: string): object;
  /** The messages or items that it appends for an answer. */
  // oxlint-disable-next-line typescript/no-explicit-any
  keeps(answer: any): object[];
  answers(callId: string, result: string): object;
  request(messages: readonly object[]): object;
}

const schema = { type: 'object', properties: { path: { type: 'string' } } };
const mark = (marked: boolean) => marked && { cache_control: { type: 'ephemeral' } };
const toolNames = ['read', 'edit', 'fs.list'];

const clients: Readonly<Record<Dialect, Client>> = {
  anthropic: {
    asks: (text, marked) => ({ role: 'user', content: [{ type: 'text', text, ...mark(marked) }] }),
    shows: (url) => ({ role: 'user', content: [{ type: 'image', source: { type: 'url', url } }] }),
    keeps: ({ content }) => [{ role: 'assistant', content }],
    answers: (tool_use_id, content) => ({ role: 'user', content: [{ type: 'tool_result', tool_use_id, content }] }),
    request: (messages) => ({
      model: 'm',
      max_tokens: 1000,
      system: [{ type: 'text', text: 'be brief' }],
      tools: toolNames.map((name) => ({ name, input_schema: schema })),
      messages,
    }),
  },
  chat: {
    asks: (text, marked) => ({ role: 'user', content: [{ type: 'text', text, ...mark(marked) }] }),
    shows: (url) => ({ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }),
    keeps: ({ choices }) => [choices[0].message],
    answers: (tool_call_id, content) => ({ role: 'tool', tool_call_id, content }),
    request: (messages) => ({
      model: 'm',
      max_completion_tokens: 1000,
      tools: toolNames.map((name) => ({ type: 'function', function: { name, parameters: schema } })),
      messages: [{ role: 'system', content: 'be brief' }, ...messages],
    }),
  },
  responses: {
    asks: (text) => ({ role: 'user', content: [{ type: 'input_text', text }] }),
    shows: (image_url) => ({ role: 'user', content: [{ type: 'input_image', image_url, detail: 'auto' }] }),
    keeps: ({ output }) => output,
    answers: (call_id, output) => ({ type: 'function_call_output', call_id, output }),
    request: (input) => ({
      model: 'm',
      max_output_tokens: 1000,
      store: false,
      include: ['reasoning.encrypted_content'],
      instructions: 'be brief',
      tools: toolNames.map((name) => ({ type: 'function', name, parameters: schema, strict: false })),
      input,
    }),
  },
};

const proofs: Readonly<Record<Dialect, (n: number) => object>> = {
  anthropic: (n) => ({ signature: `proof-${n}-` }),
  chat: (n) => ({
    fields: ['reasoning_content'],
    reasoning_details: [{ type: 'reasoning.encrypted', data: `proof-${n}-` }],
  }),
  responses: (n) => ({ id: `rs_${n}`, encrypted_content: `proof-${n}-` }),
};

/** The requests that a provider gets while a client talks with its model, and each answer calls a tool or does not. */
function talk(from: Dialect, to: Dialect, capabilities: Capabilities, marked: boolean): string[] {
  const client = clients[from];
  const messages: object[] = [client.asks('question 0', marked)];
  return Array.from({ length: 20 }, (_, n) => {
    const asked = JSON.parse(JSON.stringify(client.request(messages)));
    const target = { model: 'served', capabilities, lossy: 'refuse' } as const;
    const translated = translateRequest({ from, to, body: asked, target });
    const reasoning = { type: 'reasoning', text: `thought ${n}`, seal: { dialect: to, members: proofs[to](n) } };
    const calls = n % 3 !== 2;
    const blocks: AssistantBlock[] = [
      reasoning as ReasoningBlock,
      { type: 'text', text: `answer ${n}` },
      // Some servers count their calls anew in each answer.
      ...(calls ? [{ type: 'tool_call', id: 'call_0', name: 'read', argumentsJson: `{"path":"${n}"}` } as const] : []),
    ];
    const answer = JSON.parse(
      wireFormats[to].writeAnswer(
        { id: `a${n}`, model: 'served', blocks, stop: calls ? 'tool' : 'end', stopSequence: null, usage: null },
        { createdS: 1, request: aConversation() },
      ),
    );
    // As the vendor gives it; what we write for a caller has the seal wrapped.
    if (to === 'responses') Object.assign(answer.output[0], proofs[to](n));
    const told = translated.answer(answer);
    for (const message of messages) unmark(message);
    messages.push(...client.keeps(JSON.parse(told.body)));
    messages.push(calls ? client.answers('call_0', `result ${n}`) : client.asks(`question ${n + 1}`, marked));
    if (!calls) messages.push(client.shows(`https://x.test/${n}.png`));
    return translated.body;
  });
}

/** A client marks the newest message only. */
function unmark(message: object): void {
  const { content } = message as { content?: unknown };
  if (!Array.isArray(content)) return;
  for (const block of content) delete block.cache_control;
}

/** The body up to the end of its last message: the rest (limits, options) is not part of the prompt. */
function promptOf(body: string): string {
  const { messages, input } = JSON.parse(body);
  const list = JSON.stringify(messages ?? input);
  expect(body).toContain(list);
  return body.slice(0, body.indexOf(list) + list.length - 1);
}

const withoutMarks = (body: string) => body.replaceAll(',"cache_control":{"type":"ephemeral"}', '');

const directions = dialects.flatMap((from) => dialects.filter((to) => to !== from).map((to) => [from, to] as const));

describe.each(directions)('a conversation that grows, from %s to %s', (from, to) => {
  test('sends its earlier part as the same bytes every time, so that the provider’s prompt cache knows it', () => {
    const bodies = talk(from, to, fullCapabilities, false);
    for (const [n, body] of bodies.slice(0, -1).entries()) {
      expect(bodies[n + 1]?.startsWith(promptOf(body)), `${body}\n${bodies[n + 1]}`).toBe(true);
    }
  });

  test('brings its provider all the reasoning back that it wrote, in its place', () => {
    const last = talk(from, to, fullCapabilities, false).at(-1) ?? '';
    const places = Array.from({ length: 19 }, (_, n) =>
      [`proof-${n}-`, `answer ${n}`].map((each) => last.indexOf(each)),
    );
    for (const place of places.flat()) expect(place).toBeGreaterThan(0);
    expect(places.map(([proof]) => proof)).toEqual(places.map(([proof]) => proof).toSorted((a = 0, b = 0) => a - b));
  });
});

test('a chat client’s cache marks move to its newest message at Anthropic, and nothing else changes', () => {
  const bodies = talk('chat', 'anthropic', { ...fullCapabilities, promptCaching: 'explicit' }, true);
  expect(bodies.filter((body) => body.includes('"cache_control"')).length).toBeGreaterThan(5);
  for (const [n, body] of bodies.slice(0, -1).entries()) {
    expect(withoutMarks(bodies[n + 1] ?? '').startsWith(promptOf(withoutMarks(body)))).toBe(true);
  }
});

/** The prompt as it goes to a small window; null where all of it does. */
async function trimmedPrompt(to: Dialect, messages: readonly object[]): Promise<string | null> {
  const capabilities = { ...fullCapabilities, contextTokens: 5_000 };
  const target = { model: 'served', capabilities, lossy: 'refuse' } as const;
  const draft = draftRequest({ from: 'anthropic', to, body: clients.anthropic.request(messages), target });
  const { conversation, maxOutputTokens, trimmed } = await fitWindow(draft.conversation, {
    dialect: 'anthropic',
    capabilities,
    trim: 'oldest_turns',
    promptTokensMax: null,
    signal: new AbortController().signal,
  });
  return trimmed && promptOf(draft.write(conversation, maxOutputTokens).body);
}

const said = (n: number) => `${n} ${'word '.repeat(40)}`;
const toolUse = (id: string) => ({ type: 'tool_use', id, name: 'read', input: { path: id } });

/** What a client appends for its n-th call: a person's next request, or a round of work on one request. */
const kinds: Readonly<Record<'requests' | 'rounds', (n: number) => object[]>> = {
  requests: (n) => [{ role: 'assistant', content: said(n) }, clients.anthropic.asks(said(n), false)],
  rounds: (n) => [
    { role: 'assistant', content: [toolUse(`call_${n}`)] },
    clients.anthropic.answers(`call_${n}`, said(n) + said(n)),
  ],
};

describe.each(dialects)('a conversation past its window, to %s', (to) => {
  test.each(['requests', 'rounds'] as const)('begins alike in most calls while its %s go on', async (kind) => {
    const messages: object[] = [clients.anthropic.asks('begin', false)];
    const prompts: string[] = [];
    for (let n = 0; prompts.length <= 30; n++) {
      messages.push(...kinds[kind](n));
      const prompt = await trimmedPrompt(to, messages);
      if (prompt !== null) prompts.push(prompt);
    }
    const alike = prompts.filter((prompt, i) => prompts[i + 1]?.startsWith(prompt));
    expect(alike.length).toBeGreaterThanOrEqual(25);
  });
});
