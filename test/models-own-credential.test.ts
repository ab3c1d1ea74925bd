import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { runCommand } from './support/cli.ts';
import { queryAsOwner } from './support/database.ts';
import type { TestGate } from './support/gate.ts';
import { type SigningKey, TestIssuer, sign, signingKey } from './support/issuer.ts';
import type { MockUpstream, SeenRequest } from './support/mock-upstream/client.ts';
import { type RawAnswer, ask, doors, post, providerKeys, startGateWithMock } from './support/models.ts';

/** A caller's own credential, a subscription say, goes to the one provider that is called with it, and nowhere else. */

let gate: TestGate;
let mock: MockUpstream;
let issuer: TestIssuer;
let signing: SigningKey;
let stop: () => Promise<void>;
let secret: string;
let agentId: string;

const metricsKey = 'metrics-key-of-the-operator-0123456789';
const own = 'sk-ant-oat01-own-subscription-9f8e7d6c5b4a';

/** The mock's own configuration with another provider beside. */
function withOwn(yaml: string, url: string): string {
  const file = JSON.parse(yaml) as { providers: object; models: object };
  const subscription = { kind: 'anthropic', base_url: url, allow_private: true, credential: 'caller' };
  return JSON.stringify({
    providers: { ...file.providers, subscription },
    models: {
      ...file.models,
      'own-*': { targets: [{ provider: 'subscription' }], attempts_max: 1 },
      known: { targets: [{ provider: 'subscription', model: 'claude-haiku-4-5' }] },
      both: {
        targets: [
          { provider: 'subscription', model: 'own-first' },
          { provider: 'claude', model: 'second', weight: 0 },
        ],
      },
      other: {
        targets: [
          { provider: 'claude', model: 'gate-first' },
          { provider: 'subscription', model: 'own-second', weight: 0 },
        ],
        attempts_max: 2,
      },
    },
  });
}

beforeAll(async () => {
  signing = await signingKey('k1', 'ES256');
  issuer = await new TestIssuer([signing]).listen();
  const env = {
    METRICS_API_KEY: metricsKey,
    AUTH_ISSUER: issuer.url,
    AUTH_AUDIENCE: 'https://gate.example',
    JWKS_URI: issuer.jwksUri,
    ENABLE_BASIC_AUTH_FALLBACK: 'true',
    BASIC_AUTH_USER: 'dev',
    BASIC_AUTH_PASS: 'basic-password-1234567890',
  };
  ({ gate, mock, stop } = await startGateWithMock({ extend: withOwn, env }));
  ({ secret, agentId } = await gate.agent('subscriber'));
  await gate.budget({
    name: 'money',
    unit: 'USD',
    limit: 1n,
    selector: { providerType: 'PROVIDER_TYPE_SUBSCRIPTION' },
  });
  await gate.budget({ name: 'tokens', unit: 'TOKENS', limit: null, selector: { agentId } });
});
afterAll(async () => {
  await stop();
  await issuer.close();
});
beforeEach(() => mock.reset());

const call = (model: string, headers: Record<string, string>, rest = {}, client: keyof typeof doors = 'anthropic') =>
  post(gate, doors[client].path, ask(model, rest), headers);

const sentHeaders = ({ headers }: SeenRequest) =>
  Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value]));

describe.each([
  ['Authorization', { authorization: `Bearer ${own}` }],
  ['x-api-key', { 'x-api-key': own }],
])("a caller's own credential as %s", (_name, credential: Record<string, string>) => {
  test.each([true, false])('goes upstream as it came, and the gate key does not (stream: %s)', async (stream) => {
    const answer = await call('own-1', { ...credential, 'x-portcullis-key': secret }, { stream });
    expect(answer.status).toBe(200);
    const [seen] = await mock.requests();
    expect(seen && sentHeaders(seen)).toMatchObject(credential);
    expect(JSON.stringify(seen?.headers)).not.toContain(secret);
    expect(seen && Object.keys(sentHeaders(seen))).not.toContain('x-portcullis-key');
  });
});

test('it counts in tokens and never in money', async () => {
  const headers = { authorization: `Bearer ${own}`, 'x-portcullis-key': secret };
  const before = await gate.standing('tokens');
  const answer = await call('own-counted', headers);
  const row = await gate.ledgerRow(String(answer.headers['x-request-id']));
  expect(row).toMatchObject({ agentId, provider: 'subscription', costNanousd: '0', provenance: 'PROVENANCE_MEASURED' });
  const used = BigInt(row.inputTokens ?? '0') + BigInt(row.outputTokens ?? '0');
  expect(used).toBeGreaterThan(0n);
  expect((await gate.standing('tokens')).posted - before.posted).toBe(used);
  // A budget of a billionth of a dollar let all of these calls through.
  expect(await gate.standing('money')).toMatchObject({ posted: 0n, held: 0n });
});

test('what it would have cost is told beside, and no budget counts it', async () => {
  const headers = { authorization: `Bearer ${own}`, 'x-portcullis-key': secret };
  await mock.script({ model: 'claude-haiku-4-5', usage: { input: 1_000, output: 100 } });
  const answer = await call('known', headers);
  const row = await gate.ledgerRow(String(answer.headers['x-request-id']));
  // A dollar and five for a million tokens.
  const cost = String(1_000 * 1_000 + 100 * 5_000);
  expect([row.costNanousd, row.notionalNanousd]).toEqual(['0', cost]);
  const { rows } = await gate.api<{ rows: { totals: object }[] }>('AnalyticsService/GetUsage', {
    groupBy: 'USAGE_GROUP_MODEL',
    filter: { model: 'known' },
  });
  expect(rows[0]?.totals).toMatchObject({ notionalNanousd: cost });
  expect(rows[0]?.totals).not.toHaveProperty('costNanousd', cost);
  expect(await gate.standing('money')).toMatchObject({ posted: 0n, held: 0n });
  const environment = { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: gate.adminKey };
  const told = await runCommand(['usage', '--by', 'model', '--model', 'known'], { environment });
  expect(told.stdout).toMatch(/^MODEL +COST +ESTIMATED +NOTIONAL +ATTEMPTS/);
  expect(told.stdout).toMatch(/^known +\$0\.00 +\$0\.00 +\$0\.0015 +1 /m);
});

test('the provider that does not know it says so to the caller, whose affair it is', async () => {
  await mock.script({ model: 'own-expired', error: 401 });
  for (let i = 0; i < 7; i++) {
    const answer = await call('own-expired', { authorization: `Bearer ${own}`, 'x-portcullis-key': secret });
    expect(answer.status).toBe(401);
    expect(answer.body.toString()).toContain('The mock was told to answer 401.');
  }
  // Nor is its rate limit anybody else's.
  await mock.script({ model: 'own-expired', error: 429, headers: { 'retry-after': '30' } });
  for (let i = 0; i < 7; i++) {
    const answer = await call('own-expired', { authorization: `Bearer ${own}`, 'x-portcullis-key': secret });
    expect(answer.status).toBe(429);
  }
});

describe('without a credential of its own', () => {
  const refused = async (headers: Record<string, string>, client: keyof typeof doors = 'anthropic') => {
    const answer = await call('own-1', headers, {}, client);
    expect(answer.status).toBe(400);
    expect(await mock.requests()).toEqual([]);
    return answer.body.toString();
  };

  test('a call is refused, and the key for the gate is never sent on', async () => {
    expect(await refused({ authorization: `Bearer ${secret}` })).toContain('x-portcullis-key');
    expect(await refused({ 'x-api-key': secret })).toContain('x-portcullis-key');
    expect(await refused({ 'x-portcullis-key': secret })).toContain('send that as Authorization');
    expect(await refused({ 'x-portcullis-key': secret, authorization: `Bearer ${secret}` })).toContain('must not');
    expect(await refused({ 'x-portcullis-key': secret, 'x-api-key': secret })).toContain('must not');
    const { secret: another } = await gate.agent('another');
    expect(await refused({ 'x-portcullis-key': secret, authorization: `Bearer ${another}` })).toContain('must not');
  });

  test('a call with any other credential of this gate is refused, however it is wrapped', async () => {
    const nowS = Math.floor(Date.now() / 1000);
    const claims = { iss: issuer.url, aud: 'https://gate.example', sub: 'somebody', iat: nowS, exp: nowS + 300 };
    const token = await sign(claims, signing);
    const basic = (text: string) => `Basic ${btoa(text)}`;
    const { secret: another } = await gate.agent('wrapped');
    const wrapped = [
      ...[gate.adminKey, metricsKey, token, another].flatMap((text) => [
        { authorization: `Bearer ${text}` },
        { authorization: `bearer   ${text}` },
        { authorization: text },
        { authorization: `Token x, ${text}` },
        { authorization: basic(`user:${text}`) },
        { authorization: basic(`${text}:`) },
        { 'x-api-key': text },
        { authorization: `Bearer ${own}`, 'x-api-key': text },
        { authorization: `Bearer ${own}`, 'openai-organization': text },
      ]),
      { authorization: basic('dev:basic-password-1234567890') },
      { authorization: basic(`user:${secret}`) },
    ];
    for (const headers of wrapped) {
      await mock.reset();
      expect(await refused({ 'x-portcullis-key': secret, ...headers }), JSON.stringify(headers)).toContain('must not');
    }
  });

  test('a token of the same identity provider that is for somebody else passes', async () => {
    const nowS = Math.floor(Date.now() / 1000);
    const claims = { iss: issuer.url, aud: 'https://models.example', sub: 'somebody', iat: nowS, exp: nowS + 300 };
    const token = await sign(claims, signing);
    const answer = await call('own-1', { 'x-portcullis-key': secret, authorization: `Bearer ${token}` });
    expect(answer.status).toBe(200);
  });

  test('a call in another dialect is refused: the credential is for another vendor', async () => {
    const headers = { authorization: `Bearer ${own}`, 'x-portcullis-key': secret };
    expect(await refused(headers, 'chat')).toContain('another dialect');
  });
});

describe('a provider that is called with the credential of the gate', () => {
  test.each(['claude-1', 'gpt-1'])('never gets it (%s)', async (model) => {
    const headers = { authorization: `Bearer ${own}`, 'x-api-key': own, 'x-portcullis-key': secret };
    expect((await call(model, headers)).status).toBe(200);
    const [seen] = await mock.requests();
    expect(JSON.stringify(seen?.headers)).not.toContain(own);
    expect(JSON.stringify(seen?.headers)).toContain(model === 'gpt-1' ? providerKeys.gpt : providerKeys.claude);
  });

  test('takes over without it when the other fails', async () => {
    await mock.script({ model: 'own-first', error: 503 });
    const answer = await call('both', { authorization: `Bearer ${own}`, 'x-portcullis-key': secret });
    expect(answer.status).toBe(200);
    const [first, second] = (await mock.requests()).map((request) => JSON.stringify(request.headers));
    expect([first?.includes(own), second?.includes(own)]).toEqual([true, false]);
  });

  test('is the only one for a caller who has none', async () => {
    await mock.script({ model: 'gate-first', error: 503 });
    const answer = await call('other', { authorization: `Bearer ${secret}` });
    expect(answer.status).toBe(503);
    expect((await mock.requests()).map(({ model }) => model)).toEqual(['gate-first', 'gate-first']);
  });
});

describe('a repeated call under one Idempotency-Key', () => {
  const repeated = (model: string, key: string, credential: string) =>
    call(model, { 'x-portcullis-key': secret, authorization: `Bearer ${credential}`, 'idempotency-key': key });

  test.each(['own-1', 'both', 'other'])('of %s gets its answer with the same credential alone', async (model) => {
    const first = await repeated(model, `key-of-${model}`, own);
    expect(first.status).toBe(200);
    const again = await repeated(model, `key-of-${model}`, own);
    expect([again.headers['idempotency-replayed'], again.body]).toEqual(['true', first.body]);
    const other = await repeated(model, `key-of-${model}`, `${own}-of-another-account`);
    expect(other.status).toBe(422);
    expect(await mock.requests()).toHaveLength(1);
  });

  test('of a model that no caller pays for himself does not depend on it', async () => {
    expect((await repeated('claude-1', 'key-of-claude', own)).status).toBe(200);
    const again = await repeated('claude-1', 'key-of-claude', 'another');
    expect([again.status, again.headers['idempotency-replayed']]).toEqual([200, 'true']);
  });
});

test('a redirect is not followed with it', async () => {
  const away = { status: 307, headers: { location: `${mock.url}/v1/messages` }, chunks: ['{}'] };
  await mock.script({ model: 'own-away', reply: away });
  const answer = await call('own-away', { authorization: `Bearer ${own}`, 'x-portcullis-key': secret });
  expect([answer.status, (await mock.requests()).length]).toEqual([502, 1]);
});

test('two credentials without x-portcullis-key are refused as ever', async () => {
  const answer = await call('own-1', { authorization: `Bearer ${own}`, 'x-api-key': secret });
  expect(answer.status).toBe(401);
});

test('at other doors x-portcullis-key is a credential like the others', async () => {
  const list = (headers: Record<string, string>) =>
    fetch(`${gate.url}/portcullis.v1.ProjectService/ListProjects`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: '{}',
    }).then(({ status }) => status);
  const key = { 'x-portcullis-key': gate.adminKey };
  expect(await list(key)).toBe(200);
  expect(await list({ ...key, authorization: `Bearer ${gate.adminKey}` })).toBe(200);
  expect(await list({ ...key, authorization: `Bearer ${own}` })).toBe(401);
});

test('it is in no log, no ledger and no audit entry', async () => {
  const bad = await call('own-1', { authorization: `Bearer ${own}`, 'x-portcullis-key': 'pcl_nobody' });
  expect(bad.status).toBe(401);
  const log = await gate.settledLog();
  expect(log).toContain('"auth_reason"');
  expect(log + gate.output).not.toContain(own);
  const tables = await queryAsOwner<{ name: string }>(
    gate.database,
    `SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) AS name FROM pg_tables
     WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`,
  );
  expect(tables.length).toBeGreaterThan(8);
  for (const { name } of tables) {
    const [row] = await queryAsOwner<{ found: boolean }>(
      gate.database,
      `SELECT exists (SELECT 1 FROM ${name} AS each WHERE strpos(each::text, $1) > 0) AS found`,
      [own],
    );
    expect([name, row?.found]).toEqual([name, false]);
  }
});

describe('a query', () => {
  const path = (answer: Promise<RawAnswer>) => answer.then(async () => (await mock.requests()).at(-1)?.path);
  const headers = () => ({ authorization: `Bearer ${secret}` });

  test('passes as far as it is known, to a provider of the same dialect', async () => {
    const messages = doors.anthropic.path;
    expect(await path(post(gate, `${messages}?beta=true`, ask('claude-1'), headers()))).toBe(`${messages}?beta=true`);
    expect(await path(post(gate, `${messages}?debug=1&beta=true&x=%2e%2e`, ask('claude-1'), headers()))).toBe(
      `${messages}?beta=true`,
    );
    for (const query of ['?', '?x=1', '?beta', '?beta=', '?beta=a%26admin=1', `?beta=${'a'.repeat(65)}`])
      expect(await path(post(gate, messages + query, ask('claude-1'), headers()))).toBe(messages);
    const chat = doors.chat.path;
    expect(await path(post(gate, `${messages}?beta=true`, ask('gpt-1'), headers()))).toBe(chat);
  });
});
