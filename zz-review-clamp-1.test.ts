import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { type TestGate, startGate } from './test/support/gate.ts';
import { type MockUpstream, startMockUpstream } from './test/support/mock-upstream/client.ts';
import { ask, mockConfiguration, post } from './test/support/models.ts';
let gate: TestGate; let mock: MockUpstream; let n = 0;
const log = (...a: unknown[]) => console.log(...a.map((x) => typeof x === 'string' ? x : JSON.stringify(x, (k, v) => typeof v === 'bigint' ? `${v}n` : v)));
beforeAll(async () => {
  mock = await startMockUpstream();
  const yaml = JSON.parse(mockConfiguration(mock)) as any;
  const targets = (...names: string[]) => ({ targets: names.map((provider) => ({ provider })) });
  const clamp = { max_tokens: 'clamp', attempts_max: 1 };
  gate = await startGate({ yaml: JSON.stringify({ providers: { ...yaml.providers, openai: { ...yaml.providers.gpt, kind: 'openai' } },
    models: { ...yaml.models,
      'claude-clamp-*': { ...targets('claude'), ...clamp },
      'gpt-clamp-*': { ...targets('gpt'), ...clamp },
      'openai-clamp-*': { ...targets('openai'), ...clamp },
      'claude-many-*': { ...targets('claude'), attempts_max: 3 },
      'budget-clamp-*': { targets: [{ provider: 'claude', capabilities: { reasoning: 'budget' } }], ...clamp },
    } }) });
});
afterAll(async () => { await gate.stop(); await mock.stop(); });
beforeEach(() => mock.reset());
async function caller(...budgets: any[]) {
  const { agentId, secret } = await gate.agent(`a-${n++}`);
  const ids: string[] = [];
  for (const [i, b] of budgets.entries()) ids.push(await gate.budget({ name: `${agentId}-${i}`, unit: 'TOKENS', limit: null, selector: { agentId }, ...b }));
  return { secret, agentId, ids, headers: { authorization: `Bearer ${secret}` } };
}
test('A sdk retries on latency cap', async () => {
  for (const attempts of ['claude-1', 'claude-many-1']) {
    await mock.reset();
    const { secret } = await caller({ unit: 'LATENCY_MS', limit: 400n, window: 'ATTEMPT' });
    await mock.script({ never: true });
    const c = new Anthropic({ baseURL: gate.url, apiKey: secret });
    const t = performance.now();
    const e: any = await c.messages.create({ model: attempts, max_tokens: 500, messages: [{ role: 'user', content: 'hi' }] }).catch((x) => x);
    log('A anthropic', attempts, 'requests at provider', (await mock.requests()).length, e.status, e.message?.slice(0, 200), Object.fromEntries(e.headers ?? []), `${Math.round(performance.now() - t)}ms`);
    await mock.reset();
    await mock.script({ never: true });
    const o = new OpenAI({ baseURL: gate.url + '/v1', apiKey: secret });
    const e2: any = await o.chat.completions.create({ model: attempts, max_tokens: 500, messages: [{ role: 'user', content: 'hi' }] }).catch((x) => x);
    log('A openai', attempts, 'requests at provider', (await mock.requests()).length, e2.status, e2.headers?.get?.('x-should-retry'), e2.error);
  }
});
test('B dry-run latency on refused / failed', async () => {
  for (const script of [{ latencyMs: 600, error: 503 }, { latencyMs: 600, error: 429 }, { latencyMs: 600, error: 500 }, { latencyMs: 600 }] as any[]) {
    await mock.reset(); await mock.script(script);
    const { headers } = await caller({ unit: 'LATENCY_MS', limit: 200n, window: 'ATTEMPT', mode: 'DRY_RUN' });
    const a = await post(gate, '/v1/messages', ask('claude-1'), headers);
    const row = await gate.ledgerRow(String(a.headers['x-request-id']));
    log('B', script, a.status, row.outcome, 'shadows', row.shadowVerdicts ?? []);
  }
});
test('C clamp number forms', async () => {
  for (const mt of ['0', '-1', '1e4', '10000.0', '1.5', '1e400', '9007199254740991', '9007199254740993', '1e15', '"10000"', 'null', '-0', '0.0', '10000000000000000000', 'true', '1E+4']) {
    for (const [path, model, field] of [['/v1/messages', 'claude-clamp-1', 'max_tokens'], ['/v1/chat/completions', 'gpt-clamp-1', 'max_completion_tokens'], ['/v1/responses', 'openai-clamp-1', 'max_output_tokens'], ['/v1/chat/completions', 'claude-clamp-1', 'max_tokens']] as const) {
      await mock.reset(); await mock.script({ tokens: 5 });
      const { headers } = await caller({ unit: 'TOKENS', limit: 1_500n });
      const rest = path === '/v1/responses' ? '"input":"hi"' : '"messages":[{"role":"user","content":"hi"}]';
      const a = await post(gate, path, `{"model":"${model}",${rest},"${field}":${mt}}`, headers);
      const [seen] = await mock.requests();
      log('C', mt.padEnd(20), path, model, a.status, a.headers['portcullis-max-tokens'] ?? '', a.status >= 400 ? a.body.toString().slice(0, 160) : '', seen ? seen.body!.toString().slice(-130) : '(nothing sent)');
    }
  }
});
test('D reasoning with clamp, translated', async () => {
  for (const limit of [700n, 1500n, 3000n, 6000n]) for (const path of ['/v1/chat/completions', '/v1/responses']) {
    await mock.reset(); await mock.script({ tokens: 5 });
    const { headers } = await caller({ unit: 'TOKENS', limit });
    const body = path === '/v1/responses' ? { model: 'budget-clamp-1', input: 'hi', max_output_tokens: 20000, reasoning: { effort: 'high' } } : { model: 'budget-clamp-1', messages: [{ role: 'user', content: 'hi' }], max_tokens: 20000, reasoning_effort: 'high' };
    const a = await post(gate, path, JSON.stringify(body), headers);
    const [seen] = await mock.requests();
    log('D', limit, path, a.status, a.headers['portcullis-max-tokens'] ?? '', a.headers['portcullis-dropped'] ?? '', a.status >= 400 ? a.body.toString().slice(0, 160) : '', seen?.body?.toString() ?? '(nothing)');
  }
});
test('E idempotency with clamp', async () => {
  const { headers } = await caller({ unit: 'TOKENS', limit: 1_500n, name: 'idem' });
  await mock.script({ tokens: 50 });
  const h = { ...headers, 'idempotency-key': 'k1' };
  const one = await post(gate, '/v1/messages', ask('claude-clamp-1', { max_tokens: 9000 }), h);
  await gate.setLimit((await gate.api<any>('BudgetService/GetBudget', { name: 'idem' })).status.budget.id, 1_000_000n);
  const two = await post(gate, '/v1/messages', ask('claude-clamp-1', { max_tokens: 9000 }), h);
  log('E', one.status, one.headers['portcullis-max-tokens'], two.status, two.headers['portcullis-max-tokens'], two.headers['idempotent-replayed'], (await mock.requests()).length);
});
test('F contention: refused though what is left would be of use', async () => {
  const { headers } = await caller({ unit: 'TOKENS', limit: 50_000n, name: 'contend' });
  await mock.script({ tokens: 20, latencyMs: 2000 });
  const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => post(gate, '/v1/messages', ask('claude-clamp-1', { max_tokens: 3_000 + i * 200 }), headers)));
  const standing = await gate.standing('contend');
  log('F', answers.map((a) => `${a.status}${a.headers['portcullis-max-tokens'] ? 'c' : ''}`).join(' '), standing);
  const r = answers.find((a) => a.status === 429);
  if (r) log(r.body.toString(), r.headers['retry-after'], r.headers['x-should-retry']);
});
test('G relaxed clamp', async () => {
  const { project } = await gate.api<any>('ProjectService/UpdateProject', { updateMask: 'durability', durability: 'DURABILITY_RELAXED' }).catch((e) => ({ project: String(e) }));
  log('G', project);
  const { headers } = await caller({ unit: 'TOKENS', limit: 3_000n, name: 'rel' });
  await mock.script({ tokens: 20 });
  for (let i = 0; i < 8; i++) {
    const a = await post(gate, '/v1/messages', ask('claude-clamp-1', { max_tokens: i % 2 ? 300 : 20_000 }), headers);
    log('G', i, a.status, a.headers['portcullis-max-tokens'], a.status >= 400 ? a.body.toString() : '', await gate.standing('rel'));
  }
  await gate.api('ProjectService/UpdateProject', { updateMask: 'durability', durability: 'DURABILITY_STRICT' });
});
