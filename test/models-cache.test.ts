import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { queryAsOwner } from './support/database.ts';
import { type TestGate, startGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { type RawAnswer, ask, doors, mockConfiguration, post, startGateWithMock } from './support/models.ts';

/** The exact response cache: off unless asked for, exact, apart for each project, and never wrong because of damage. */

let gate: TestGate;
let replica: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
let agentId: string;
let secret: string;

const models = {
  'claude-cached': { targets: [{ provider: 'claude' }], cache_ttl_s: 600 },
  'claude-cached-*': { targets: [{ provider: 'claude' }], cache_ttl_s: 600 },
  'gpt-cached': { targets: [{ provider: 'gpt' }], cache_ttl_s: 600 },
  'claude-brief': { targets: [{ provider: 'claude' }], cache_ttl_s: 1 },
};

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock({ models }));
  replica = await startGate({ yaml: mockConfiguration(mock, models), database: gate.database });
  ({ agentId, secret } = await gate.agent('asking'));
});
afterAll(async () => {
  await replica.stop();
  await stop();
});
afterEach(() => mock.reset());

let prompts = 0;
/** A question that nobody asked before. */
const question = (model = 'claude-cached', rest: object = {}) =>
  ask(model, { messages: [{ role: 'user', content: `question ${++prompts}` }], ...rest });

interface Asking {
  readonly path?: string;
  readonly by?: string;
  readonly through?: TestGate;
  readonly headers?: Record<string, string | string[]>;
}

const send = (body: string, { path = doors.anthropic.path, by = secret, through = gate, headers = {} }: Asking = {}) =>
  post(through, path, body, { authorization: `Bearer ${by}`, ...(headers as Record<string, string>) });

const verdict = ({ headers }: RawAnswer) => String(headers['portcullis-cache']).replace(/\d+$/, 'N');
const upstreamCalls = async () => (await mock.requests()).length;
const cacheHeader = (value: string) => ({ headers: { 'portcullis-cache': value } });

/** What each of these calls says of the cache. */
async function verdicts(...calls: readonly (readonly [body: string, asking?: Asking])[]): Promise<string[]> {
  const said: string[] = [];
  for (const [body, asking] of calls) {
    const answer = await send(body, asking);
    said.push(answer.status === 200 ? verdict(answer) : String(answer.status));
  }
  return said;
}

test('nothing is kept unless the route or the call asks for it', async () => {
  const body = question('claude-1');
  expect(await verdicts([body], [body])).toEqual(['undefined', 'undefined']);
  expect(await upstreamCalls()).toBe(2);
  expect(await queryAsOwner(gate.database, 'SELECT FROM cache_entries')).toEqual([]);
});

describe.each(['anthropic', 'chat'] as const)('a route that caches, asked in the %s dialect', (dialect) => {
  const { path } = doors[dialect];

  test.each(['claude-cached', 'gpt-cached'])(
    'answers %s again from every gate: the same bytes, no provider, no money',
    async (model) => {
      const { agentId: asker, secret: by } = await gate.agent(`${dialect}-${model}`);
      const budget = `budget-${asker}`;
      await gate.budget({ name: budget, unit: 'USD', limit: null, selector: { agentId: asker } });
      const body = question(model);
      const first = await send(body, { path, by });
      expect([first.status, verdict(first)]).toEqual([200, 'stored']);
      const { posted } = await gate.standing(budget);
      expect(posted).toBeGreaterThan(0n);
      for (const through of [gate, replica]) {
        const hit = await send(body, { path, by, through });
        expect([hit.status, verdict(hit), hit.body]).toEqual([200, 'hit; age=N', first.body]);
        expect(hit.headers['content-type']).toBe(first.headers['content-type']);
        expect(hit.headers['x-request-id']).not.toBe(first.headers['x-request-id']);
        expect(Object.keys(hit.headers).filter((name) => /anthropic-ratelimit|openai-/.test(name))).toEqual([]);
        const row = await gate.ledgerRow(String(hit.headers['x-request-id']));
        expect(row).toMatchObject({ provider: '(cache)', modelServed: model, outcome: 'ATTEMPT_OUTCOME_SUCCESS' });
        // Nothing was used, so nothing is told: the tokens in the answer are those of the first call.
        for (const amount of ['costNanousd', 'inputTokens', 'outputTokens', 'cacheReadTokens'] as const)
          expect(Number(row[amount] ?? 0)).toBe(0);
      }
      expect(await upstreamCalls()).toBe(1);
      expect(await gate.standing(budget)).toMatchObject({ posted, held: 0n });
    },
  );
});

test('totals by provider show the hits as a line of their own', async () => {
  const { agentId: asker, secret: by } = await gate.agent('totals');
  const body = question();
  await verdicts([body, { by }], [body, { by }], [body, { by }]);
  interface Usage {
    readonly rows: { readonly key: string; readonly totals: Record<string, string> }[];
  }
  await expect
    .poll(async () => {
      const filter = { agentId: asker };
      const { rows } = await gate.api<Usage>('AnalyticsService/GetUsage', { groupBy: 'USAGE_GROUP_PROVIDER', filter });
      return Object.fromEntries(rows.map(({ key, totals }) => [key, totals['attempts']]));
    })
    .toEqual({ claude: '1', '(cache)': '2' });
});

test('a call can ask for the cache where its route does not, and be without it where it does', async () => {
  const one = question('claude-1');
  expect(
    await verdicts([one, cacheHeader('ttl=60')], [one], [one, cacheHeader('ttl=60')], [one, cacheHeader('no-store')]),
  ).toEqual(['stored', 'undefined', 'hit; age=N', 'undefined']);
  const two = question();
  expect(await verdicts([two, cacheHeader('no-store')], [two, cacheHeader('bypass')], [two])).toEqual([
    'miss',
    'undefined',
    'stored',
  ]);
  expect(await verdicts([two, cacheHeader('no-store')], [two, cacheHeader('bypass')])).toEqual([
    'hit; age=N',
    'undefined',
  ]);
  for (const value of [
    '',
    'ttl',
    'ttl=0',
    'ttl=86401',
    'ttl=-1',
    'ttl=1.5',
    'ttl=60, no-store',
    'no-cache',
    'TTL=60',
  ]) {
    const answer = await send(two, cacheHeader(value));
    expect([answer.status, answer.body.toString()], value).toEqual([400, expect.stringContaining('portcullis-cache')]);
  }
});

test('an answer is served no longer than it was kept for', async () => {
  const body = question('claude-brief');
  expect(await verdicts([body])).toEqual(['stored']);
  await expect.poll(async () => verdict(await send(body)), { interval: 100, timeout: 10_000 }).toBe('stored');
});

test('whatever the answer depends on makes another entry', async () => {
  const messages = [{ role: 'user', content: 'the same for all of them' }];
  const variants: [string, Asking?][] = [
    [ask('claude-cached', { messages })],
    [ask('claude-cached', { messages, temperature: 0 })],
    [ask('claude-cached', { messages, system: 'be brief' })],
    [ask('claude-cached', { messages, metadata: { user_id: 'ada' } })],
    [ask('claude-cached', { messages, tools: [{ name: 'a', input_schema: { type: 'object' } }] })],
    [ask('claude-cached', { messages, tools: [{ name: 'b', input_schema: { type: 'object' } }] })],
    [ask('claude-cached-2', { messages })],
    [ask('gpt-cached', { messages })],
    [ask('claude-cached', { messages }), { path: doors.chat.path }],
    [ask('claude-cached', { messages }), { headers: { 'anthropic-beta': 'a' } }],
    [ask('claude-cached', { messages }), { headers: { 'anthropic-beta': ['a', 'b'] } }],
    [ask('claude-cached', { messages }), { headers: { 'anthropic-beta': ['a', 'c'] } }],
    [ask('claude-cached', { messages }), { headers: { 'anthropic-version': '2024-01-01' } }],
    [`${ask('claude-cached', { messages })} `],
  ];
  expect(await verdicts(...variants)).toEqual(variants.map(() => 'stored'));
  expect(await verdicts(...variants)).toEqual(variants.map(() => 'hit; age=N'));
});

describe('who shares an entry', () => {
  test('the agents of a project, with whatever client', async () => {
    const { secret: by } = await gate.agent('colleague');
    const body = question();
    expect(await verdicts([body], [body, { by, headers: { 'user-agent': 'other/2' } }])).toEqual([
      'stored',
      'hit; age=N',
    ]);
  });

  test('no other project', async () => {
    const { project } = await gate.api<{ project: { id: string } }>('ProjectService/CreateProject', { name: 'b' });
    const made = await gate.api<{ secret: string }>('AgentService/CreateKey', {
      projectId: project.id,
      kind: 'PRINCIPAL_KIND_SERVICE',
      name: 'of B',
      scopes: ['models:invoke'],
    });
    const body = question();
    expect(await verdicts([body], [body, { by: made.secret }], [body, { by: made.secret }])).toEqual([
      'stored',
      'stored',
      'hit; age=N',
    ]);
    // Not even when the rows themselves are swapped.
    await queryAsOwner(
      gate.database,
      `UPDATE cache_entries x SET entry = y.entry FROM cache_entries y
       WHERE x.key <> y.key AND (x.project_id = $1 AND y.stored_at = (SELECT max(stored_at) FROM cache_entries WHERE project_id <> $1))`,
      [project.id],
    );
    expect(await verdicts([body, { by: made.secret }])).toEqual(['stored']);
  });

  test('nobody who may not make the call', async () => {
    const body = question();
    await send(body);
    const limited = await gate.agent('limited', { models: ['gpt-*'] });
    const stopped = await gate.agent('stopped');
    await gate.api('PolicyService/EngageKillSwitch', {
      scope: 'KILL_SCOPE_AGENT',
      value: stopped.agentId,
      reason: 'test',
    });
    expect(await verdicts([body, { by: limited.secret }], [body, { by: stopped.secret }])).toEqual(['403', '503']);
  });
});

describe('what is not kept', () => {
  test('streams', async () => {
    const body = question('claude-cached', { stream: true });
    expect(await verdicts([body], [body])).toEqual(['undefined', 'undefined']);
  });

  test('refusals, failures, and answers that do not say what they used', async () => {
    const unmeasured = JSON.stringify({ type: 'message', role: 'assistant', content: [] });
    for (const script of [
      { error: 400 },
      { error: 529 },
      { reset: true },
      { reply: { status: 200, chunks: [unmeasured] } },
    ]) {
      const body = question();
      await mock.script({ model: 'claude-cached', ...script });
      await send(body);
      await mock.reset();
      expect(await verdicts([body], [body])).toEqual(['stored', 'hit; age=N']);
    }
  });

  test('answers that are too large', async () => {
    const body = question();
    await mock.script({ model: 'claude-cached', blocks: [{ type: 'text', text: 'x'.repeat(1_100_000) }] });
    expect(await verdicts([body], [body])).toEqual(['miss', 'miss']);
  });
});

describe('damage', () => {
  const damages = {
    digest: `UPDATE cache_entries SET entry = set_bit(entry, 1000, 1 - get_bit(entry, 1000))`,
    truncated: `UPDATE cache_entries SET entry = substr(entry, 1, octet_length(entry) / 2)`,
    version: `UPDATE cache_entries SET entry = set_byte(entry, 5, 2)`,
    malformed: `UPDATE cache_entries SET entry = 'not an entry'`,
  };

  test.each(Object.entries(damages))(
    'of the kind "%s" is put aside, counted and told, and the call is made',
    async (fault, sql) => {
      const metric = async () => {
        const headers = { authorization: `Bearer ${gate.adminKey}` };
        const text = await (await fetch(`${gate.url}/metrics`, { headers })).text();
        return Number(
          new RegExp(`^response_cache_quarantined_total\\{reason="${fault}"\\} (\\d+)$`, 'm').exec(text)?.[1] ?? 0,
        );
      };
      await mock.script({ model: 'claude-cached', blocks: [{ type: 'text', text: 'canary-answer-of-cache' }] });
      const body = question();
      expect(await verdicts([body])).toEqual(['stored']);
      const before = await metric();
      await queryAsOwner(gate.database, `${sql} WHERE stored_at = (SELECT max(stored_at) FROM cache_entries)`);
      const answer = await send(body);
      expect([answer.status, verdict(answer)]).toEqual([200, 'stored']);
      expect(answer.body.toString()).toContain('canary-answer-of-cache');
      expect(await upstreamCalls()).toBe(2);
      expect(await metric()).toBe(before + 1);
      const [row] = await queryAsOwner(gate.database, 'SELECT reason FROM cache_quarantine ORDER BY id DESC LIMIT 1');
      expect(row).toEqual({ reason: fault });
      const log = await gate.settledLog();
      expect(log).toContain(`"reason":"${fault}"`);
      expect(log).not.toContain('canary');
      expect(await verdicts([body])).toEqual(['hit; age=N']);
    },
  );
});

test('a gate whose cache cannot be read or written makes the call', async () => {
  const body = question();
  await queryAsOwner(gate.database, 'ALTER TABLE cache_entries RENAME TO cache_entries_away');
  try {
    expect(await verdicts([body], [body])).toEqual(['miss', 'miss']);
  } finally {
    await queryAsOwner(gate.database, 'ALTER TABLE cache_entries_away RENAME TO cache_entries');
  }
});

test('a hit under an Idempotency-Key is replayed as what it was', async () => {
  const body = question();
  const first = await send(body);
  const headers = { 'idempotency-key': 'of-a-hit' };
  const hit = await send(body, { headers });
  expect([verdict(hit), hit.headers['idempotency-replayed'], hit.body]).toEqual(['hit; age=N', undefined, first.body]);
  await queryAsOwner(gate.database, 'DELETE FROM cache_entries');
  const again = await send(body, { headers });
  expect([again.headers['idempotency-replayed'], again.body]).toEqual(['true', first.body]);
  expect(await upstreamCalls()).toBe(1);
});

test('/v1/metrics tells hits and misses', async () => {
  interface Told {
    readonly cache: { readonly cache_hits: number; readonly cache_misses: number; readonly hit_rate: number };
  }
  const read = async () => {
    const answer = await fetch(`${gate.url}/v1/metrics`, { headers: { authorization: `Bearer ${gate.adminKey}` } });
    return ((await answer.json()) as Told).cache;
  };
  const before = await read();
  const body = question();
  await verdicts([body], [body], [body], [body, cacheHeader('bypass')]);
  const after = await read();
  expect([after.cache_hits - before.cache_hits, after.cache_misses - before.cache_misses]).toEqual([2, 1]);
  expect(after.hit_rate).toBeCloseTo(after.cache_hits / (after.cache_hits + after.cache_misses));
});

test('no row has what was asked or answered', async () => {
  await mock.script({ model: 'claude-cached', blocks: [{ type: 'text', text: 'canary-answer-88' }] });
  const body = ask('claude-cached', { messages: [{ role: 'user', content: 'canary-prompt-88' }] });
  expect(await verdicts([body], [body])).toEqual(['stored', 'hit; age=N']);
  const rows = await queryAsOwner<{ entry: Buffer }>(gate.database, 'SELECT entry FROM cache_entries');
  for (const { entry } of rows) expect(entry.toString('latin1')).not.toContain('canary');
  expect(agentId).toBeTruthy();
});
