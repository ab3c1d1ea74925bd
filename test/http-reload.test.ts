import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { bearer, eventually, knock, messages, send } from './support/doors.ts';
import { startGate, type TestGate } from './support/gate.ts';

const configuration = (model: string) => `
providers: { lab: { kind: sim, price: free } }
models: { ${model}: { targets: [{ provider: lab, model: sim }] } }
`;

let gate: TestGate;
let key: Record<string, string>;
beforeAll(async () => {
  gate = await startGate({ yaml: configuration('first') });
  key = bearer((await gate.agent('builder')).secret);
});
afterAll(() => gate?.stop());

async function models(): Promise<string[]> {
  const { json } = await send(gate.url, { path: '/v1/models', headers: key });
  return json.data.map(({ id }: { id: string }) => id).filter((id: string) => id !== 'sim');
}

const call = (model: string, more: object = {}) =>
  knock(gate.url, { ...messages, body: JSON.stringify({ ...JSON.parse(messages.body ?? ''), model, ...more }) }, key);

it('a changed file is in force a moment later, and a stream on the old one goes on', async () => {
  const streaming = call('sim-rate-20-tokens-60', { max_tokens: 60, stream: true });
  expect(await models()).toEqual(['first']);
  writeFileSync(gate.configFile, configuration('second'));
  await eventually(async () => expect(await models()).toEqual(['second']));
  expect((await call('second')).status).toBe(200);
  expect((await call('first')).status).toBe(404);
  expect((await streaming).text).toContain('message_stop');
});

it('SIGHUP reads it at once', async () => {
  writeFileSync(gate.configFile, configuration('third'));
  process.kill(gate.pid, 'SIGHUP');
  await eventually(async () => expect(await models()).toEqual(['third']), 5_000);
});

it('a file that does not hold changes nothing, and the log says what is wrong with it', async () => {
  for (const [text, complaint] of [
    ['models: [', 'portcullis.yaml: '],
    ['models: { x: { targets: [{ provider: nowhere }] } }', '\\"nowhere\\" is not a provider'],
    ['providers: { x: { kind: openai-compatible, base_url: "http://10.0.0.1/" } }', 'has a private address'],
    ['providers: { x: { kind: openai, api_key: "${NOT_SET}" } }', '${NOT_SET} is not set'],
  ] as const) {
    writeFileSync(gate.configFile, text);
    process.kill(gate.pid, 'SIGHUP');
    await eventually(() => expect(gate.log).toContain(complaint));
    expect(await models()).toEqual(['third']);
  }
  expect(await gate.settledLog()).toContain('the old one stays in force');
});

it('each version that came into force is in the audit log by its digest', async () => {
  await eventually(async () => {
    const { rows } = await gate.database.pool.query<{ digest: string }>(
      `SELECT payload ->> 'sha256' AS digest FROM audit_entries WHERE action = 'config.loaded'`,
    );
    expect(new Set(rows.map(({ digest }) => digest)).size).toBe(3);
  });
});
