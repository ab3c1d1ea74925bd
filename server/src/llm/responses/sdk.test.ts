import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import OpenAI from 'openai';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PortcullisError } from '../../base/errors.ts';
import type { AnswerEvent } from '../stream-events.ts';
import { legalEvents } from '../testing/arbitrary.ts';
import { aConversation } from '../testing/conversations.ts';
import { readResponsesStream } from '../testing/responses-grammar.ts';
import { createEncoder } from './stream.ts';

/** What the official SDK, which checks every event, makes of the streams that are written. */

let stream = '';
const server = createServer((request, response) => {
  request.resume().on('end', () => response.writeHead(200, { 'content-type': 'text/event-stream' }).end(stream));
});
let openai: OpenAI;

beforeAll(async () => {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  openai = new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: 'none', maxRetries: 0 });
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const request = { model: 'm', input: 'hi' };

function encode(events: readonly AnswerEvent[]): string {
  const encoder = createEncoder({ createdS: 1, includeUsage: true, request: aConversation() });
  return events.map((event) => encoder.write(event)).join('');
}

test('the official SDK accumulates any stream to the response that it spells out', async () => {
  await fc.assert(
    fc.asyncProperty(legalEvents, async (events) => {
      stream = encode(events);
      const response = await openai.responses.stream(request).finalResponse();
      const { blocks, usage } = readResponsesStream(stream);
      const items = response.output.map((item) => {
        if (item.type === 'message') return item.content.map((part) => ('text' in part ? part.text : '')).join('');
        if (item.type === 'reasoning') return item.summary.map(({ text }) => text).join('');
        return item.type === 'function_call' ? item.arguments : item.type;
      });
      expect(items).toEqual(blocks.map((block) => (block.type === 'tool_call' ? block.argumentsJson : block.text)));
      expect(response.usage).toEqual(usage);
    }),
    { numRuns: 50 },
  );
});

test('the official SDK raises the failure of a stream, wherever it strikes, with its words and code', async () => {
  await fc.assert(
    fc.asyncProperty(legalEvents, fc.nat(), async (events, at) => {
      const encoder = createEncoder({ createdS: 1, includeUsage: true, request: aConversation() });
      const written = events.slice(0, at % events.length).map((event) => encoder.write(event));
      stream = written.join('') + encoder.fail(new PortcullisError('upstream_error', 'It broke.'), 'req_1');
      const failure = await openai.responses
        .stream(request)
        .finalResponse()
        .catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(OpenAI.APIError);
      expect(failure).toMatchObject({ code: 'upstream_error', message: expect.stringContaining('It broke.') });
    }),
    { numRuns: 50 },
  );
});
