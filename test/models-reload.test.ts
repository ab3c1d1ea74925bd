import { renameSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TestGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { ask, doors, mockConfiguration, post, startGateWithMock } from './support/models.ts';

/** The configuration file is read again when it changes, and only a good one counts. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
let secret: string;

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock());
  ({ secret } = await gate.agent('caller'));
});

afterAll(() => stop());

const statusOf = async (model: string) =>
  (await post(gate, doors.chat.path, ask(model), { authorization: `Bearer ${secret}` })).status;

const withRoute = (name: string) => mockConfiguration(mock, { [name]: { targets: [{ provider: 'gpt' }] } });

test('a new route counts without a restart, and a stream of the old configuration goes on', async () => {
  await mock.script({ model: 'claude-long', tokens: 60, tokensPerSecond: 20 });
  const stream = post(gate, doors.anthropic.path, ask('claude-long', { stream: true, max_tokens: 60 }), {
    authorization: `Bearer ${secret}`,
  });
  await mock.until(([request]) => (request?.chunksSent ?? 0) > 3);
  expect(await statusOf('written')).toBe(404);
  const { pid } = gate;
  writeFileSync(gate.configFile, withRoute('written'));
  await expect.poll(() => statusOf('written'), { timeout: 10_000 }).toBe(200);
  expect((await stream).body.toString()).toContain('event: message_stop');
  expect(gate.pid).toBe(pid);
});

test('a file that takes the place of the old one counts, and what it leaves out is gone', async () => {
  writeFileSync(`${gate.configFile}.new`, withRoute('replaced'));
  renameSync(`${gate.configFile}.new`, gate.configFile);
  await expect.poll(() => statusOf('replaced'), { timeout: 10_000 }).toBe(200);
  expect(await statusOf('written')).toBe(404);
});

test.each([
  ['is no YAML', 'models: [', /portcullis\.yaml/],
  [
    'names an unknown provider',
    '{"models":{"x":{"targets":[{"provider":"nobody"}]}}}',
    /is not a provider of this file/,
  ],
  ['has an unknown key', '{"model":{}}', /model/],
  ['needs a secret that is not set', '{"providers":{"a":{"kind":"openai","api_key":"${NOT_SET}"}}}', /NOT_SET/],
  [
    'has a private address',
    '{"providers":{"a":{"kind":"openai-compatible","base_url":"http://10.0.0.1"}}}',
    /private address/,
  ],
])('a file that %s changes nothing, and the log says why', async (_name, text, why) => {
  const logged = gate.log.length;
  writeFileSync(gate.configFile, text);
  process.kill(gate.pid, 'SIGHUP');
  await expect.poll(() => gate.log.slice(logged), { timeout: 10_000 }).toMatch(/the old one stays in force/);
  expect((await gate.settledLog()).slice(logged)).toMatch(why);
  expect(await statusOf('replaced')).toBe(200);
});
