import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { escapeIdentifier } from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { queryAsOwner } from './support/database.ts';
import {
  type Answer,
  bearer,
  chat,
  control,
  type Door,
  doors,
  everyScope,
  fromNewAddress,
  knock,
  messages,
  metrics,
} from './support/doors.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { type MockUpstream, startMockUpstream } from './support/mock-upstream/client.ts';
import { run } from './support/program.ts';

/** Each is planted where it belongs, and must be found nowhere else. */
const canaries: Record<string, string> = {
  PROVIDER_KEY: 'sk-ant-canaryprovider4f7a1c9e2b8d',
  SECRETS_KEY: 'canarymaster8Zq2vN5xW7rT1yU4iO9pL3',
  METRICS_API_KEY: 'canaryscraper1a2b3c4d5e6f7g8h9i0j1',
  API_KEY: 'canarystatic9k2m4n6p8r0t2v4x6z8b0d',
  AUTH_TOKEN: 'canaryshared5v7x9z1b3d5f7h9j1l3n5p',
  BASIC_AUTH_PASS: 'canarybasic3e5g7i9k1m3o5q7s9u1w3y5',
  prompt: 'canaryprompt-what-nobody-may-keep',
  'what a tool returned': 'canarytool-what-nobody-may-keep',
};

const yaml = (mock: string) => `
providers:
  claude: { kind: anthropic, base_url: "${mock}", api_key: "\${PROVIDER_KEY}", allow_private: true, price: free }
models:
  claude-*: { targets: [{ provider: claude }], attempts_max: 1 }
  gpt-*: { targets: [{ provider: claude, model: claude-x }], attempts_max: 1 }
`;

let mock: MockUpstream;
let gate: TestGate;
let env: Record<string, string>;
const errors: Answer[] = [];

beforeAll(async () => {
  mock = await startMockUpstream();
  const { prompt: _, 'what a tool returned': __, ...secrets } = canaries;
  env = { ...secrets, BASIC_AUTH_USER: 'ada', LOG_LEVEL: 'trace', TRUSTED_PROXIES: '127.0.0.1' };
  gate = await startGate({ yaml: yaml(mock.url), env });
  canaries['ADMIN_API_KEY'] = gate.adminKey;
  canaries['the password of the database'] = new URL(gate.database.appUrl).password;
});
afterAll(async () => {
  await gate?.stop();
  await mock?.stop();
});

async function come(door: Door, headers: Record<string, string>, body?: object): Promise<Answer> {
  const answer = await knock(gate.url, body ? { ...door, body: JSON.stringify(body) } : door, headers);
  if (answer.status >= 400) errors.push(answer);
  return answer;
}

const ask = (model: string, more: object = {}) => ({
  model,
  max_tokens: 20,
  messages: [
    { role: 'user', content: canaries['prompt'] },
    { role: 'assistant', content: canaries['what a tool returned'] },
    { role: 'user', content: 'go on' },
  ],
  ...more,
});

/** Which canaries are in there. */
function found(text: string): string[] {
  return Object.entries(canaries)
    .filter(([, canary]) =>
      [canary, encodeURIComponent(canary), Buffer.from(canary).toString('base64').slice(0, 30)].some((form) =>
        text.includes(form),
      ),
    )
    .map(([what]) => what);
}

it('calls of every kind, good and bad, are made with secrets in all the wrong places', async () => {
  const agent = await gate.agent('builder', { scopes: everyScope });
  canaries['the secret of an API key'] = agent.secret.slice(18);
  const key = bearer(agent.secret);
  for (const door of [messages, chat]) {
    const model = door === messages ? 'claude-x' : 'gpt-x';
    expect((await come(door, key, ask(model))).status).toBe(200);
    expect((await come(door, key, ask(model, { stream: true }))).status).toBe(200);
    for (const status of [400, 401, 429, 500]) {
      const error = { type: 'error', error: { type: 'e', message: `your key ${canaries['PROVIDER_KEY']} is bad` } };
      await mock.script({ times: 1, reply: { status, chunks: [JSON.stringify(error)] } });
      expect((await come(door, key, ask(model))).status).toBeGreaterThanOrEqual(400);
    }
    await mock.script({ times: 1, reset: true });
    expect((await come(door, key, ask(model))).status).toBe(502);
    await come(door, key, ask('no-such-model'));
    await come(door, key, { model, messages: canaries['prompt'], [canaries['prompt'] ?? '']: 1 });
    await come({ ...door, body: `{"model":"${model}",${canaries['prompt']}` }, key);
  }
  for (const door of doors) {
    for (const canary of Object.values(canaries)) {
      await come(door, { ...fromNewAddress(), ...bearer(`x${canary}`) });
      await come(door, { ...fromNewAddress(), authorization: `Digest ${canary}` });
      await come(door, { ...fromNewAddress(), ...key, 'user-agent': `curl (Bearer ${canary})`, cookie: canary });
      await come({ ...door, path: `${door.path}?api_key=${encodeURIComponent(canary)}` }, fromNewAddress());
      await come({ ...door, path: `/v1/${encodeURIComponent(canary).slice(0, 20)}` }, key);
    }
  }
  await gate.api('PolicyService/EngageKillSwitch', { scope: 'KILL_SCOPE_AGENT', value: agent.agentId, reason: 'test' });
  await come(messages, key, ask('claude-x'));
  expect(errors.length).toBeGreaterThan(100);
});

it('no error says one of them', () => {
  for (const { text, headers } of errors) expect(found(text + JSON.stringify(headers)), text).toEqual([]);
});

it('no metric and no line of the log or of the output has one, in the finest log', async () => {
  const { text, status } = await come(metrics, bearer(canaries['METRICS_API_KEY'] ?? ''));
  expect(status).toBe(200);
  expect(found(text)).toEqual([]);
  const log = await gate.settledLog();
  expect(log).toContain('claude-x');
  expect(found(log)).toEqual([]);
  expect(found(gate.output)).toEqual([]);
});

it('no row of any table has one', async () => {
  const tables = await queryAsOwner<{ name: string }>(
    gate.database,
    `SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'`,
  );
  expect(tables.length).toBeGreaterThan(10);
  for (const { name } of tables) {
    const rows = await queryAsOwner<{ row: string }>(
      gate.database,
      `SELECT t::text AS row FROM ${escapeIdentifier(name)} t`,
    );
    for (const { row } of rows) expect(found(row), name).toEqual([]);
  }
});

it('no answer of the control API has one', async () => {
  for (const method of [
    'AgentService/ListAgents',
    'AgentService/ListKeys',
    'SystemService/GetSelf',
    'AnalyticsService/ListAttempts',
  ]) {
    const { text } = await knock(gate.url, { ...control, path: `/portcullis.v1.${method}` }, bearer(gate.adminKey));
    expect(found(text), method).toEqual([]);
  }
});

it('`config print` and `config check` have none, also of a file that does not hold', async () => {
  const broken = join(gate.folder, 'broken.yaml');
  writeFileSync(broken, `providers: { x: { kind: anthropic, apikey: "${canaries['PROVIDER_KEY']}" } }`);
  const all = {
    ...env,
    SECRETS_KEY: canaries['SECRETS_KEY'] ?? '',
    ADMIN_API_KEY: gate.adminKey,
    DATABASE_URL: gate.database.appUrl,
  };
  for (const CONFIG_FILE of [gate.configFile, broken]) {
    for (const args of [['print'], ['print', '--json'], ['check'], ['check', '--json']]) {
      const { output } = await run(['config', ...args], { cwd: gate.folder, env: { ...all, CONFIG_FILE } });
      expect(output.length).toBeGreaterThan(10);
      expect(found(output), args.join(' ')).toEqual([]);
    }
  }
});

it('no page of the reference has one', () => {
  const folder = resolve(import.meta.dirname, '../docs/reference');
  for (const name of readdirSync(folder)) expect(found(readFileSync(join(folder, name), 'utf8')), name).toEqual([]);
});

it('a gate whose database goes away in the middle of it says none', async () => {
  await gate.database.drop();
  for (const door of doors) {
    const { status, text } = await come(
      door,
      { ...fromNewAddress(), ...bearer(canaries['API_KEY'] ?? '') },
      ask('claude-x'),
    );
    expect(status).toBeGreaterThanOrEqual(400);
    expect(found(text)).toEqual([]);
  }
  expect(await gate.end()).toBe(0);
  expect(found(gate.log)).toEqual([]);
  expect(found(gate.output)).toEqual([]);
});
