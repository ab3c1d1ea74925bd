import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type TestGate, startGate } from './support/gate.ts';
import { type MockUpstream, startMockUpstream } from './support/mock-upstream/client.ts';
import { type RawAnswer, ask, mockConfiguration, post } from './support/models.ts';

/**
 * A stream that used more than was held for it is ended, as soon as the provider says so and goes on all the same. What a
 * provider says only at the end is recorded then, and blocks the next call: nothing is ended on a guess.
 */

let gate: TestGate;
let mock: MockUpstream;

beforeAll(async () => {
  mock = await startMockUpstream();
  const yaml = JSON.parse(mockConfiguration(mock)) as { providers: { gpt: object }; models: object };
  const openai = { ...yaml.providers.gpt, dialects: ['responses'] };
  gate = await startGate({
    yaml: JSON.stringify({
      providers: { ...yaml.providers, openai },
      models: { ...yaml.models, 'openai-*': { targets: [{ provider: 'openai' }], attempts_max: 1 } },
    }),
  });
});

afterAll(() => Promise.all([gate.stop(), mock.stop()]));
beforeEach(() => mock.reset());

const paths = { anthropic: '/v1/messages', chat: '/v1/chat/completions', responses: '/v1/responses' } as const;
type Client = keyof typeof paths;
const clients = ['anthropic', 'chat', 'responses'] as const;
const heldOutput = 50;

/** Events of a stream by each kind of provider: `said` in so many pieces, and what it used so far where that is not null. */
interface Script {
  begin(): string[];
  piece(text: string): string;
  usage(output: number): string;
  /** A piece with its usage so far in one event. */
  end(output: number): string[];
}

const event = (data: { readonly type: string }) => `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
const chunk = (delta: object | null, rest: object = {}) => {
  const choices = delta === null ? [] : [{ index: 0, delta, finish_reason: null }];
  return `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm', choices, ...rest })}\n\n`;
};
const chatUsage = (output: number) => ({
  usage: { prompt_tokens: 5, completion_tokens: output, total_tokens: output + 5 },
});
const response = (status: string, rest: object = {}) => ({
  id: 'resp_1',
  object: 'response',
  status,
  output: [],
  ...rest,
});
const message = { id: 'item_1', type: 'message', role: 'assistant', status: 'in_progress', content: [] };
const part = { type: 'output_text', text: '', annotations: [] };

const scripts = {
  claude: {
    begin: () => [
      event({
        type: 'message_start',
        message: {
          id: 'm',
          type: 'message',
          role: 'assistant',
          model: 'm',
          content: [],
          usage: { input_tokens: 5, output_tokens: 1 },
        },
      } as never),
      event({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } } as never),
    ],
    piece: (text) => event({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } } as never),
    usage: (output) =>
      event({
        type: 'message_delta',
        delta: { stop_reason: null, stop_sequence: null },
        usage: { output_tokens: output },
      } as never),
    end: (output) => [
      event({ type: 'content_block_stop', index: 0 } as never),
      event({ type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: output } } as never),
      event({ type: 'message_stop' }),
    ],
  },
  // As vLLM's `continuous_usage_stats` has it: with each piece.
  gpt: {
    begin: () => [chunk({ role: 'assistant', content: '' }, { usage: null })],
    piece: (content) => chunk({ content }, { usage: null }),
    usage: (output) => chunk({ content: 'counted ' }, chatUsage(output)),
    end: (output) => [
      `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })}\n\n`,
      chunk(null, chatUsage(output)),
      'data: [DONE]\n\n',
    ],
  },
  openai: {
    begin: () => [
      event({
        type: 'response.created',
        sequence_number: 0,
        response: response('in_progress', { usage: null }),
      } as never),
      event({ type: 'response.output_item.added', sequence_number: 1, output_index: 0, item: message } as never),
      event({
        type: 'response.content_part.added',
        sequence_number: 2,
        item_id: 'item_1',
        output_index: 0,
        content_index: 0,
        part,
      } as never),
    ],
    piece: (delta) =>
      event({
        type: 'response.output_text.delta',
        sequence_number: 3,
        item_id: 'item_1',
        output_index: 0,
        content_index: 0,
        delta,
      } as never),
    usage: () => '',
    end: (output) => [
      event({
        type: 'response.completed',
        sequence_number: 9,
        response: response('completed', {
          model: 'm',
          output: [{ ...message, status: 'completed', content: [{ ...part, text: 'said' }] }],
          usage: { input_tokens: 5, output_tokens: output, total_tokens: output + 5 },
        }),
      } as never),
    ],
  },
} satisfies Record<string, Script>;

let callers = 0;

async function stream(client: Client, provider: keyof typeof scripts, chunks: readonly string[], script: object = {}) {
  const { agentId, secret } = await gate.agent(`overrunner-${callers++}`);
  await gate.budget({ name: agentId, unit: 'TOKENS', limit: 2_000n, selector: { agentId } });
  const model = `${provider}-overrun`;
  await mock.script({
    model,
    reply: { headers: { 'content-type': 'text/event-stream' }, chunks: [...chunks] },
    ...script,
  });
  const body =
    client === 'responses'
      ? JSON.stringify({ model, input: 'hello', max_output_tokens: heldOutput, stream: true })
      : ask(model, { max_tokens: heldOutput, stream: true });
  const headers = { authorization: `Bearer ${secret}` };
  const answer = await post(gate, paths[client], body, headers);
  const again = () => post(gate, paths[client], body, headers);
  return {
    answer,
    again,
    text: answer.body.toString(),
    row: await gate.ledgerRow(String(answer.headers['x-request-id'])),
  };
}

function lastEvent({ body }: RawAnswer): string {
  return body.toString().trimEnd().split('\n\n').at(-1) ?? '';
}

const pieces = (provider: keyof typeof scripts, count: number, word = 'w ') =>
  Array.from({ length: count }, () => scripts[provider].piece(word));

const ending = {
  anthropic: /^event: error\ndata: .*"error_code":"budget_exceeded"/,
  chat: /^data: \{"error":.*"code":"budget_exceeded"/,
  responses: /^event: response\.failed\ndata: .*"status":"failed","error":\{"code":"insufficient_quota"/,
} as const;

describe.each(clients)('a stream to a %s client', (client) => {
  test.each(['claude', 'gpt'] as const)(
    'is ended once %s tells of more than was held, and goes on',
    async (provider) => {
      const { begin, usage, piece } = scripts[provider];
      const chunks = [...begin(), piece('first '), usage(2_500), piece('beyond '), piece('late '), piece('late ')];
      // It would go on for ever.
      const { answer, text, row, again } = await stream(client, provider, chunks, { stallAfter: chunks.length });
      expect(answer.status).toBe(200);
      expect(text).toContain('first');
      expect(text).not.toContain('late');
      expect(lastEvent(answer)).toMatch(ending[client]);
      await mock.until((requests) => requests.every(({ outcome }) => outcome === 'client_aborted'));
      expect(row).toMatchObject({
        outcome: 'ATTEMPT_OUTCOME_BUDGET',
        errorClass: 'budget_exceeded',
        rule: 'overrun',
        overrun: true,
      });
      expect(Number(row.outputTokens)).toBeGreaterThanOrEqual(2_500);
      // What was used counts, so that there is nothing left for another call.
      expect((await again()).status).toBe(429);
    },
  );

  test.each(['claude', 'gpt', 'openai'] as const)(
    'of %s, which tells only at its end, goes on to it, and is recorded as an overrun',
    async (provider) => {
      const { begin, end } = scripts[provider];
      const chunks = [...begin(), ...pieces(provider, 200), ...end(2_500)];
      const { answer, text, row, again } = await stream(client, provider, chunks);
      expect(answer.status).toBe(200);
      expect(text.split('w ').length).toBeGreaterThan(200);
      expect(text).not.toContain('"error":{');
      expect(row).toMatchObject({ outcome: 'ATTEMPT_OUTCOME_SUCCESS', overrun: true, outputTokens: '2500' });
      expect((await again()).status).toBe(429);
    },
  );

  test.each(['claude', 'gpt'] as const)(
    'of %s within what was held is not ended, however often it tells',
    async (provider) => {
      const { begin, usage, piece, end } = scripts[provider];
      const told = Array.from({ length: heldOutput }, (_, i) => [piece('w '), usage(i + 1)]).flat();
      const { answer, row } = await stream(client, provider, [...begin(), ...told, ...end(heldOutput)]);
      expect(answer.status).toBe(200);
      expect(lastEvent(answer)).not.toMatch(ending[client]);
      expect(row).toMatchObject({
        outcome: 'ATTEMPT_OUTCOME_SUCCESS',
        overrun: false,
        outputTokens: String(heldOutput),
      });
    },
  );
});
