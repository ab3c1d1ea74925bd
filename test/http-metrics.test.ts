import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { queryAsOwner } from './support/database.ts';
import {
  bearer,
  control,
  eventually,
  everyScope,
  fromNewAddress,
  knock,
  messages,
  metrics,
  send,
} from './support/doors.ts';
import type { TestGate } from './support/gate.ts';
import { type SigningKey, sign, signingKey, TestIssuer } from './support/issuer.ts';
import { type MtlsGate, serverAuthority, startMtlsGate, whoIs } from './support/mtls.ts';

const scraperKey = 'scraper-1a2b3c4d5e6f7g8h9i0j1k2l3m4n5';
const audience = 'https://portcullis.example';

let key: SigningKey;
let issuer: TestIssuer;
let gate: TestGate;
let tls: MtlsGate;
beforeAll(async () => {
  key = await signingKey('k1', 'ES256');
  issuer = await new TestIssuer([key]).listen();
  tls = await startMtlsGate({
    yaml: `
providers:
  priced: { kind: sim, price: { input: 3, output: 15 } }
  gone: { kind: openai-compatible, base_url: 'http://127.0.0.1:9', allow_private: true, price: free }
models:
  sim-*: { targets: [{ provider: priced }] }
  gone: { targets: [{ provider: gone }] }
`,
    env: {
      METRICS_API_KEY: scraperKey,
      AUTH_ISSUER: issuer.url,
      AUTH_AUDIENCE: audience,
      JWKS_URI: issuer.jwksUri,
      RATE_LIMIT_ADMIN_PER_MINUTE: '3',
      TRUSTED_PROXIES: '127.0.0.1',
    },
  });
  ({ gate } = tls);
});
afterAll(async () => {
  await tls?.stop();
  await issuer?.close();
});

/** The names that the reference lists. */
function listed(): string[] {
  const page = readFileSync(resolve(import.meta.dirname, '../docs/reference/metrics.md'), 'utf8');
  return [...page.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name ?? '');
}

/** The sum of each metric over its labels (of a histogram, how often it was observed), and how many series there are. */
async function scrape(): Promise<{ totals: Map<string, number>; series: number }> {
  const { text } = await knock(gate.url, metrics, bearer(scraperKey));
  const totals = new Map<string, number>();
  const samples = [...text.matchAll(/^(\w+?)(?:\{[^\n]*\})? (\S+)$/gm)];
  for (const [, name = '', value] of samples) {
    const metric = name.replace(/_count$/, '');
    totals.set(metric, (totals.get(metric) ?? 0) + Number(value));
  }
  return { totals, series: samples.length };
}

const call = (model: string, more: object = {}) =>
  JSON.stringify({ ...JSON.parse(messages.body ?? ''), model, ...more });

async function budgetIdOf(name: string): Promise<string> {
  const { status } = await gate.api<{ status: { budget: { id: string } } }>('BudgetService/GetBudget', { name });
  return status.budget.id;
}

it('every metric of the reference moves, or can be read, when everything happens once', async () => {
  const names = listed();
  expect(names.length).toBeGreaterThan(15);
  const before = (await scrape()).totals;
  const { secret, agentId } = await gate.agent('builder', { scopes: everyScope });
  const token = await sign(
    { iss: issuer.url, aud: audience, sub: 's', scope: 'models:invoke', exp: Date.now() / 1000 + 300 },
    key,
  );
  expect((await knock(gate.url, { ...messages, body: call('sim-tokens-9') }, bearer(secret))).status).toBe(200);
  expect((await knock(gate.url, { ...messages, body: call('sim-tokens-9') }, bearer(token))).status).toBe(200);
  for (let i = 0; i < 4; i++) await knock(gate.url, metrics, bearer(secret));
  // What nobody serves is tried again, until its breaker opens.
  for (let i = 0; i < 2; i++) await knock(gate.url, { ...messages, body: call('gone') }, bearer(secret));
  await knock(gate.url, control, { ...fromNewAddress(), ...bearer('nobody') });
  await fetch(`${gate.url}/sign-in`, {
    method: 'POST',
    headers: { ...fromNewAddress(), origin: gate.url },
    body: new URLSearchParams({ key: 'wrong' }),
  });
  await fetch(`${gate.url}/oauth/token`, {
    method: 'POST',
    headers: fromNewAddress(),
    body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: 'none' }),
  });
  tls.files.putServer(serverAuthority.server());
  await whoIs(tls.url, {});
  const unsigned = { 'signature-input': 'sig=();tag="portcullis"' };
  expect((await knock(gate.url, control, { ...fromNewAddress(), ...bearer(secret), ...unsigned })).status).toBe(401);

  const kept = { ...bearer(secret), 'portcullis-cache': 'ttl=60' };
  const once = { ...kept, 'idempotency-key': 'one' };
  for (const headers of [once, once, kept]) {
    expect((await knock(gate.url, { ...messages, body: call('sim-tokens-7') }, headers)).status).toBe(200);
    await queryAsOwner(gate.database, `UPDATE cache_entries SET entry = 'damaged'`);
  }

  const during = await (async () => {
    const body = call('sim-rate-10-tokens-500', { max_tokens: 500, stream: true });
    const streaming = knock(gate.url, { ...messages, body }, bearer(secret));
    const seen = await eventually(async () => {
      const { totals } = await scrape();
      expect(totals.get('calls_in_flight')).toBe(1);
      return totals;
    });
    await gate.api('PolicyService/EngageKillSwitch', { scope: 'KILL_SCOPE_AGENT', value: agentId, reason: 'test' });
    expect((await streaming).text).toContain('event: error');
    expect((await scrape()).totals.get('kill_switch_engaged')).toBe(1);
    return seen;
  })();
  const other = await gate.agent('spender');
  await gate.api('BudgetService/CreateBudget', {
    name: 'nothing',
    selector: { agentId: other.agentId },
    unit: 'BUDGET_UNIT_USD',
    window: 'BUDGET_WINDOW_DAY',
    limitAmount: '0',
    mode: 'BUDGET_MODE_ENFORCE',
  });
  expect((await knock(gate.url, { ...messages, body: call('sim-tokens-9') }, bearer(other.secret))).status).toBe(429);

  await gate.budget({
    name: 'told',
    unit: 'REQUESTS',
    limit: 1n,
    selector: { agentId: other.agentId },
    mode: 'DRY_RUN',
  });
  await gate.setLimit(await budgetIdOf('nothing'), 1_000_000_000n);
  expect((await knock(gate.url, { ...messages, body: call('sim-tokens-9') }, bearer(other.secret))).status).toBe(200);
  await gate.api('ReconciliationService/ImportBill', {
    source: 'BILL_SOURCE_CSV',
    figures: [{ provider: 'priced', model: 'sim-1', day: '2026-11-01', costNanousd: '1000000000' }],
  });
  // A condition that fails denies; and names of tools that take six times their length as JSON are too long to be recorded.
  const judged = await gate.agent('judged');
  const fails = { name: 'fails', actions: ['models.invoke'], condition: `principal.name == 'judged' && args.none > 1` };
  await gate.api('PolicyService/SetPolicy', {
    document: { rules: [{ ...fails, effect: 'RULE_EFFECT_DENY' }] },
    stage: 'POLICY_STAGE_ENFORCED',
  });
  const tools = Array.from({ length: 8 }, (_, at) => ({ name: at + '\u0001'.repeat(4_000), input_schema: {} }));
  const unrecorded = { ...messages, body: call('sim-tokens-9', { tools }) };
  expect((await knock(gate.url, unrecorded, bearer(judged.secret))).status).toBe(403);
  const after = await eventually(async () => {
    const { totals } = await scrape();
    expect(totals.get('budget_thresholds_reached_total')).toBeGreaterThan(0);
    expect(totals.get('tls_reloads_total')).toBeGreaterThan(0);
    return totals;
  });
  const still = names.filter((name) => ![before, during, after].some((totals) => (totals.get(name) ?? 0) > 0));
  expect(still).toEqual([]);
});

it('money and tokens are those of the ledger', async () => {
  const { text } = await knock(gate.url, metrics, bearer(scraperKey));
  const ledger = await gate.ledger();
  const sum = (amounts: readonly (string | undefined)[]) =>
    amounts.reduce((all, amount) => all + Number(amount ?? 0), 0);
  const told = (pattern: RegExp) => sum([...text.matchAll(pattern)].map(([, amount]) => amount));
  expect(told(/^model_cost_nanousd_total\{.*\} (\d+)/gm)).toBe(sum(ledger.map(({ costNanousd }) => costNanousd)));
  expect(told(/^model_tokens_total\{class="output"\} (\d+)/gm)).toBe(
    sum(ledger.map(({ outputTokens }) => outputTokens)),
  );
});

it('no label is what a caller made up: thousands of paths, models, methods and keys add no series', async () => {
  const { secret } = await gate.agent('flood', { scopes: everyScope });
  const post = (path: string, body: string, headers: Record<string, string>) =>
    fetch(gate.url + path, { method: 'POST', headers: { ...messages.headers, ...headers }, body }).then((answer) =>
      answer.arrayBuffer(),
    );
  const round = async (n: number) => {
    const odd = Math.random().toString(36).slice(2);
    await Promise.all([
      post(`/${odd}/${n}`, '{}', bearer(secret)),
      post(`/v1/${odd}`, '{}', bearer(secret)),
      post('/v1/messages', call(odd), bearer(secret)),
      post('/v1/chat/completions', call(`sim-${odd}`), bearer(secret)),
      post(`/portcullis.v1.${odd}/Method`, '{}', bearer(secret)),
      post('/v1/messages', call('sim'), { ...fromNewAddress(), 'x-api-key': `key-${odd}` }),
    ]);
  };
  await round(0);
  const before = (await scrape()).series;
  for (let n = 0; n < 1_000; n += 20) await Promise.all(Array.from({ length: 20 }, (_, i) => round(n + i)));
  const after = (await scrape()).series;
  expect(after - before).toBeLessThan(40);
  expect(after).toBeLessThan(1_500);
  expect((await send(gate.url, { path: '/healthz' })).status).toBe(200);
});
