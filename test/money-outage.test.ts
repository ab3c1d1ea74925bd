import { Client, escapeIdentifier } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type TestGate, startGate } from './support/gate.ts';
import { type MockUpstream, startMockUpstream } from './support/mock-upstream/client.ts';
import { ask, mockConfiguration, nanoPerToken, post } from './support/models.ts';

/**
 * The database goes away while answers are on their way: nobody gets the end of an answer that is not paid for, nobody
 * is invited to have it made again, and afterwards each is paid for once.
 */

let gate: TestGate;
let mock: MockUpstream;
let admin: Client;
let secret: string;

beforeAll(async () => {
  mock = await startMockUpstream();
  const yaml = JSON.parse(mockConfiguration(mock)) as { providers: { gpt: object }; models: object };
  const openai = { ...yaml.providers.gpt, dialects: ['responses'] };
  gate = await startGate({
    yaml: JSON.stringify({
      providers: { ...yaml.providers, openai },
      models: { ...yaml.models, 'openai-*': { targets: [{ provider: 'openai' }], attempts_max: 1 } },
    }),
    // Streams in flight end when control state is too old, which is another matter.
    env: { CONTROL_AGE_MAX_MS: '60000' },
  });
  ({ secret } = await gate.agent('caller'));
  await gate.budget({ name: 'all', unit: 'USD', limit: 10n ** 12n });
  const url = new URL(gate.database.ownerUrl);
  url.pathname = '/postgres';
  admin = new Client({ connectionString: url.href });
  await admin.connect();
});

afterAll(async () => {
  await database('back');
  await admin.end();
  await Promise.all([gate.stop(), mock.stop()]);
});

/** Takes the database away from whoever is connected, and lets nobody in; or lets them in again. */
async function database(state: 'gone' | 'back'): Promise<void> {
  const name = new URL(gate.database.ownerUrl).pathname.slice(1);
  await admin.query(`ALTER DATABASE ${escapeIdentifier(name)} ALLOW_CONNECTIONS ${state === 'back'}`);
  if (state === 'gone')
    await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [name]);
}

const paths = { anthropic: '/v1/messages', chat: '/v1/chat/completions', responses: '/v1/responses' } as const;
const clients = ['anthropic', 'chat', 'responses'] as const;
const pairs = clients.flatMap((client) => ['claude', 'gpt', 'openai'].map((provider) => ({ client, provider })));
const errorEvents = {
  anthropic: /^event: error\ndata: .*"type":"api_error",.*"error_code":"unavailable"/,
  chat: /^data: \{"error":.*"code":"unavailable"/,
  responses: /^event: response\.failed\ndata: .*"status":"failed"/,
} as const;
const terminal = /message_stop|\[DONE\]|response\.completed/;

function stream(client: keyof typeof paths, provider: string, requestId: string) {
  const model = `${provider}-last`;
  const body =
    client === 'responses'
      ? JSON.stringify({ model, input: 'hello', max_output_tokens: 1_000, stream: true })
      : ask(model, { max_tokens: 1_000, stream: true });
  return post(gate, paths[client], body, { authorization: `Bearer ${secret}`, 'x-request-id': requestId });
}

test('a stream that cannot be settled ends with an error that says not to repeat it, and is settled once', async () => {
  await mock.script({ tokens: 40, tokensPerSecond: 20 });
  const answers = pairs.map(({ client, provider }) => stream(client, provider, `late-${client}-${provider}`));
  await mock.until((seen) => seen.length === pairs.length && seen.every(({ chunksSent }) => chunksSent > 5));
  await database('gone');

  // The answers end while the database is still away.
  for (const [i, answer] of (await Promise.all(answers)).entries()) {
    const { client } = pairs[i] ?? { client: 'chat' };
    const text = answer.body.toString();
    expect(answer.status).toBe(200);
    expect(text).toContain('word40');
    expect(text).not.toMatch(terminal);
    const last = text.trimEnd().split('\n\n').at(-1) ?? '';
    expect(last).toMatch(errorEvents[client]);
    expect(last).toContain('do not repeat it');
  }
  const refused = await stream('chat', 'gpt', 'refused');
  expect([refused.status, refused.headers['x-should-retry']]).toEqual([503, undefined]);
  expect(refused.headers['retry-after']).toMatch(/^\d+$/);
  expect(await mock.requests()).toHaveLength(pairs.length);

  // While the process cannot write, what is left in the database is what it held.
  process.kill(gate.pid, 'SIGSTOP');
  try {
    await database('back');
    await expect.poll(() => gate.holds().catch(() => null)).toEqual({ held: pairs.length });
  } finally {
    process.kill(gate.pid, 'SIGCONT');
  }
  await expect.poll(() => gate.holds().catch(() => null), { timeout: 20_000 }).toEqual({});
  let spent = 0n;
  for (const { client, provider } of pairs) {
    const row = await gate.ledgerRow(`late-${client}-${provider}`);
    expect(row).toMatchObject({ provenance: 'PROVENANCE_MEASURED', outputTokens: '40', overrun: false });
    spent += BigInt(row.inputTokens ?? 0) * nanoPerToken.input + 40n * nanoPerToken.output;
  }
  expect(await gate.standing('all')).toMatchObject({ posted: spent, held: 0n });
});
