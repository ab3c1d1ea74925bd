import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import type OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fullCapabilities } from './capabilities.ts';
import type { AssistantBlock, Target } from './conversation.ts';
import { type Dialect, dialects } from './dialect.ts';
import { Losses } from './losses.ts';
import { reasonedEvents } from './testing/arbitrary.ts';
import { aConversation } from './testing/conversations.ts';
import { type Reply, startSdkServer } from './testing/sdk-server.ts';
import { eventsIn } from './testing/sse-text.ts';
import { blocksOf } from './testing/stream-content.ts';
import { type TranslatedRequest, translateRequest } from './translate.ts';
import { wireFormats } from './wire-formats.ts';

/** Programs that stream an answer by the official SDK and go on with what it gave them, unchanged. */

let next: Reply = 'simulate';
/** The newest request, as it came in. */
let received: unknown;
let server: Awaited<ReturnType<typeof startSdkServer>>;

beforeAll(async () => {
  server = await startSdkServer((_, body) => {
    received = body;
    return next;
  });
});

afterAll(() => server.close());

const first = { role: 'user' as const, content: 'go' };
const on = { role: 'user' as const, content: 'on' };

/** Streams an answer, and sends the next request, which answers its calls. */
const programs: Readonly<Record<Dialect, () => Promise<void>>> = {
  async anthropic() {
    const asked = { model: 'm', max_tokens: 10, messages: [first] };
    const { content } = await server.anthropic.messages.stream(asked).finalMessage();
    const results = content.flatMap((block) =>
      block.type === 'tool_use' ? [{ type: 'tool_result' as const, tool_use_id: block.id, content: 'r' }] : [],
    );
    const turn = { role: 'user' as const, content: [...results, { type: 'text' as const, text: 'on' }] };
    await server.anthropic.messages
      .stream({ ...asked, messages: [first, { role: 'assistant', content }, turn] })
      .finalMessage();
  },
  async chat() {
    const asked = { model: 'm', max_tokens: 10, messages: [first] };
    const message = await server.openai.chat.completions.stream(asked).finalMessage();
    const results = (message.tool_calls ?? []).map(({ id }) => ({
      role: 'tool' as const,
      tool_call_id: id,
      content: 'r',
    }));
    await server.openai.chat.completions
      .stream({ ...asked, messages: [first, message, ...results, on] })
      .finalMessage();
  },
  async responses() {
    const asked = { model: 'm', max_output_tokens: 10, store: false };
    const { output } = await server.openai.responses.stream({ ...asked, input: [first] }).finalResponse();
    const results = output.flatMap((item) =>
      item.type === 'function_call'
        ? [{ type: 'function_call_output' as const, call_id: item.call_id, output: 'r' }]
        : [],
    );
    const input = [first, ...output, ...results, on] as OpenAI.Responses.ResponseInput;
    await server.openai.responses.stream({ ...asked, input }).finalResponse();
  },
};

/** Anthropic takes no blank text, and a chat stream is written with one of the names that reasoning has. */
function isSayable(block: AssistantBlock): boolean {
  if (block.type === 'text') return /\S/.test(block.text);
  const fields = block.type === 'reasoning' ? block.seal?.members['fields'] : undefined;
  return fields === undefined || isDeepStrictEqual(fields, ['reasoning_content']);
}

const target: Target = { model: 'm', capabilities: fullCapabilities, lossy: 'refuse' };
const pairs = dialects.flatMap((from) => dialects.map((to): [Dialect, Dialect] => [from, to]));

describe.each(pairs.filter(([from, to]) => from !== to))('a program of %s with a provider of %s', (from, to) => {
  const translated = (body: unknown): TranslatedRequest => translateRequest({ from, to, body, target });

  test('brings all that was said back to it, reasoning and seals too', async () => {
    const asked = JSON.parse(wireFormats[from].writeRequest(aConversation(), target, new Losses('refuse')));
    await fc.assert(
      fc.asyncProperty(reasonedEvents(to), async (events) => {
        const said = blocksOf(events);
        fc.pre(said.length > 0 && said.every(isSayable));
        const provider = wireFormats[to].createEncoder({
          createdS: 1,
          request: aConversation(),
          includeUsage: true,
        });
        const sent = events.map((event) => provider.write(event)).join('');
        const translator = translated(asked).stream({ includeUsage: true, requestId: 'req_1' });
        next = {
          stream:
            eventsIn(sent)
              .map((event) => translator.push(event))
              .join('') + translator.end(),
        };
        await programs[from]();
        const { body, dropped } = translated(received);
        expect(dropped).toEqual([]);
        const { turns } = wireFormats[to].parseRequest(JSON.parse(body), new Losses('refuse'));
        expect(turns.find(({ role }) => role === 'assistant')?.blocks).toEqual(said);
      }),
      { numRuns: 30 },
    );
  });
});
