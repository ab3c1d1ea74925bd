import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Dialect } from '../../server/src/llm/dialect.ts';
import { type TestGate, startGate } from '../support/gate.ts';
import { type MockUpstream, startMockUpstream } from '../support/mock-upstream/client.ts';
import { type RawAnswer, post } from '../support/models.ts';
import { streamView, wholeView } from './caller-view.ts';
import { answerCells, errorCells, requestCells } from './cells.ts';
import { errorBody, errorView, expectedError } from './error-matrix.ts';
import type { Direction, Members } from './outcome.ts';
import { leastRequests, requestBody } from './request-matrix.ts';
import { byTitle, gateTitle } from './titles.ts';

/** The main rows of the conformance matrix once more: through a running gate, before a provider of each dialect. */

let gate: TestGate;
let mock: MockUpstream;
let secret: string;

const doors: Readonly<Record<Dialect, string>> = {
  anthropic: '/v1/messages',
  chat: '/v1/chat/completions',
  responses: '/v1/responses',
};

/** The cells that are proven here, asked for whole and as a stream. */
function bothWays<C extends { feature: { name: string; throughGate?: true }; direction: Direction }>(
  cells: readonly C[],
): (C & { streamed: boolean })[] {
  return cells
    .filter(({ feature }) => feature.throughGate)
    .flatMap((cell) =>
      [false, true].map((streamed) => ({
        ...cell,
        streamed,
        title: gateTitle(cell.feature, cell.direction, streamed),
      })),
    );
}

const requests = bothWays(requestCells);
const refused = requests.flatMap(({ expected, ...cell }) =>
  expected.kind === 'refused' ? [{ ...cell, expected }] : [],
);
const sent = requests.flatMap(({ expected, ...cell }) => (expected.kind === 'refused' ? [] : [{ ...cell, expected }]));
const answered = answerCells
  .filter(({ feature }) => feature.throughGate)
  .flatMap(({ expected, ...cell }) => {
    const title = gateTitle(cell.feature, cell.direction, cell.streamed);
    return expected.kind === 'refused' ? [] : [{ ...cell, title, told: expected.told }];
  });
/** Each of a model of its own: one that fails in a row, or asks for a rest, is left alone for a while. */
const errors = bothWays(errorCells).map((cell, i) => ({ ...cell, model: `refusing-${i}` }));

beforeAll(async () => {
  mock = await startMockUpstream();
  const price = { input: 1, output: 2, cache_read: 1, cache_write_5m: 1, cache_write_1h: 1 };
  const common = { api_key: 'provider-key-of-conformance', allow_private: true, price };
  const route = (provider: string, model = 'served') => ({
    targets: [{ provider, model, capabilities: { reasoning: 'effort', prompt_caching: 'explicit' } }],
    attempts_max: 1,
  });
  gate = await startGate({
    yaml: JSON.stringify({
      providers: {
        anthropic: { kind: 'anthropic', base_url: mock.url, ...common },
        chat: { kind: 'openai-compatible', dialects: ['chat'], base_url: `${mock.url}/v1`, ...common },
        responses: { kind: 'openai-compatible', dialects: ['responses'], base_url: `${mock.url}/v1`, ...common },
      },
      models: {
        'to-anthropic': route('anthropic'),
        'to-chat': route('chat'),
        'to-responses': route('responses'),
        ...Object.fromEntries(errors.map(({ model, direction }) => [model, route(direction.to, model)])),
      },
    }),
  });
  ({ secret } = await gate.agent('conformance'));
});

afterAll(() => Promise.all([gate.stop(), mock.stop()]));
beforeEach(() => mock.reset());

function call({ from, to }: Direction, body: Members, streamed: boolean, model = `to-${to}`): Promise<RawAnswer> {
  const asked = {
    ...body,
    model,
    ...(streamed && { stream: true, ...(from === 'chat' && { stream_options: { include_usage: true } }) }),
  };
  return post(gate, doors[from], JSON.stringify(asked), { authorization: `Bearer ${secret}` });
}

test.each(byTitle(refused))('%s', async (_, { feature, direction, streamed, expected }) => {
  const answer = await call(direction, requestBody(feature, direction) ?? {}, streamed);
  expect([answer.status, await mock.requests()]).toEqual([400, []]);
  expect(errorView(answer.status, answer.body.toString()).message).toBe(expected.message);
});

test.each(byTitle(sent))('%s', async (_, { feature, direction, streamed, expected }) => {
  const answer = await call(direction, requestBody(feature, direction) ?? {}, streamed);
  expect(answer.status).toBe(200);
  expect(answer.headers['portcullis-dropped']).toBe(expected.kind === 'hint' ? expected.dropped.join(', ') : undefined);
  const [seen] = await mock.requests();
  const { stream, stream_options: options, ...body } = JSON.parse(String(seen?.body)) as Members;
  const { stream: alwaysStreams, stream_options: _options, ...wanted } = expected.body;
  // Servers that imitate OpenAI know one of its two names for the output limit, and are told both.
  const older = direction.to === 'chat' && { max_tokens: wanted['max_completion_tokens'] };
  expect(body).toEqual({ ...wanted, ...older });
  const streams = streamed || alwaysStreams === true;
  expect(stream).toBe(streams ? true : undefined);
  expect(options).toEqual(streams && direction.to === 'chat' ? { include_usage: true } : undefined);
});

test.each(byTitle(answered))('%s', async (_, { feature, direction, streamed, told }) => {
  const said = feature.said[direction.to]?.[streamed ? 'streamed' : 'whole'] ?? '';
  const type = streamed ? 'text/event-stream' : 'application/json';
  const reply = { headers: { 'content-type': type }, chunks: said.split(/(?<=\n\n)/) };
  await mock.script({ model: 'served', reply });
  const answer = await call(
    direction,
    { ...leastRequests[direction.from], ...feature.asks?.[direction.from] },
    streamed,
  );
  expect(answer.status).toBe(200);
  const read = streamed ? streamView : wholeView;
  expect(read(direction.from, answer.body.toString())).toMatchObject(told);
});

test.each(byTitle(errors))('%s', async (_, { feature, direction, streamed, model }) => {
  const { from, to } = direction;
  const headers = { 'content-type': 'application/json', 'retry-after': '7' };
  const reply = { status: feature.status[to], headers, chunks: [errorBody(feature, to)] };
  await mock.script({ model, reply });
  const answer = await call(direction, leastRequests[from], streamed, model);
  expect(errorView(answer.status, answer.body.toString())).toEqual(expectedError(feature, direction));
  expect(answer.headers['retry-after']).toBe('7');
  expect(answer.headers['x-request-id']).toMatch(/^req_/);
});
