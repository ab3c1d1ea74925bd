import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { TestGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { clientsOf, startGateWithMock } from './support/models.ts';

/** What has to do with one SDK alone. What programs of every language see is in the other files of this name. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
let anthropic: Anthropic;
let openai: OpenAI;

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock());
  ({ anthropic, openai } = clientsOf(gate, (await gate.agent('sdk')).secret));
});
afterAll(() => stop());
beforeEach(() => mock.reset());

const messages = [{ role: 'user' as const, content: 'hello' }];

test.each(
  ['sim', 'claude-1', 'gpt-1'].flatMap((model) => [
    { model, include: false, usages: 0, choices: [1] },
    { model, include: true, usages: 1, choices: [1, 0] },
  ]),
)('a stream of $model has its usage in a chunk of its own, if asked for: $include', async (expected) => {
  const { model, include } = expected;
  const stream = await openai.chat.completions.create({
    model,
    max_completion_tokens: 50,
    messages,
    stream: true,
    ...(include && { stream_options: { include_usage: true } }),
  });
  const usages: unknown[] = [];
  const choices = new Set<number>();
  for await (const chunk of stream) {
    if (chunk.usage) usages.push(chunk.usage);
    choices.add(chunk.choices.length);
  }
  expect([usages.length, [...choices]]).toEqual([expected.usages, expected.choices]);
});

test.each(['claude-slow', 'gpt-slow'])('an abort by the SDK ends the call to %s', async (model) => {
  await mock.script({ model, tokens: 1000, tokensPerSecond: 20 });
  const byAnthropic = anthropic.messages.stream({ model, max_tokens: 2000, messages });
  byAnthropic.on('text', () => byAnthropic.abort());
  await expect(byAnthropic.finalMessage()).rejects.toBeInstanceOf(Anthropic.APIUserAbortError);
  const byOpenai = await openai.chat.completions.create({
    model,
    max_completion_tokens: 2000,
    messages,
    stream: true,
  });
  for await (const chunk of byOpenai) if (chunk.choices[0]?.delta.content) break;
  const seen = await mock.until((requests) => requests.every(({ outcome }) => outcome !== 'open'));
  expect(seen.map(({ outcome }) => outcome)).toEqual(['client_aborted', 'client_aborted']);
  await expect.poll(async () => (await gate.holds()).held).toBeUndefined();
});

test("Anthropic's beta client, which Claude Code uses, gets its messages and its beta headers through", async () => {
  const message = await anthropic.beta.messages.create({
    model: 'claude-1',
    max_tokens: 50,
    betas: ['context-1m-2025-08-07'],
    messages,
  });
  expect(message.stop_reason).toBe('end_turn');
  const [seen] = await mock.requests();
  expect(new Map(seen?.headers).get('anthropic-beta')).toBe('context-1m-2025-08-07');
});

test('what the gate does not have is an exception of each SDK, in the shape that it reads', async () => {
  const byAnthropic = await anthropic.models.retrieve('sim').catch((error: unknown) => error);
  expect(byAnthropic).toBeInstanceOf(Anthropic.NotFoundError);
  expect(byAnthropic).toMatchObject({ type: 'not_found_error', requestID: expect.stringMatching(/^req_/) });
  const byOpenai = await openai.models.retrieve('sim').catch((error: unknown) => error);
  expect(byOpenai).toBeInstanceOf(OpenAI.NotFoundError);
  expect(byOpenai).toMatchObject({ code: 'not_found', requestID: expect.stringMatching(/^req_/) });
});
