import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { deriveKeys } from '../server/src/config/secrets.ts';
import { type EventType, eventSchema, eventTypes, isEventType } from '../server/src/outbox/catalogue.ts';
import { queryAsOwner } from './support/database.ts';
import { type Delivered, DeliveryTarget, verified } from './support/delivery-target.ts';
import { secretsKey, startGate, type TestGate } from './support/gate.ts';
import { addEndpoint, type MadeEndpoint } from './support/webhook-endpoints.ts';

/** What happens in a gate is told to its endpoints: every event of the catalogue that this part of the program knows. */

/** For a busy machine. */
const soon = { timeout: 30_000 };

let target: DeliveryTarget;
let gate: TestGate;
let endpoint: MadeEndpoint;
let projectId: string;

/** Those of approvals have tests of their own. */
const told: readonly string[] = eventTypes.filter(
  (type) => !type.startsWith('approval.') && type !== 'run.waiting_approval',
);

beforeAll(async () => {
  target = await DeliveryTarget.start();
  gate = await startGate({
    yaml: `
providers:
  gone: { kind: openai-compatible, base_url: 'http://127.0.0.1:9', allow_private: true, price: free }
models:
  gone: { targets: [{ provider: gone }] }
`,
    env: { EGRESS_ALLOW_PRIVATE: `127.0.0.1:${target.place.port}`, RATE_LIMIT_ADMIN_PER_MINUTE: '1000' },
  });
  const [project] = await queryAsOwner<{ id: string }>(gate.database, `SELECT id FROM projects WHERE name = 'default'`);
  projectId = project?.id ?? '';
  const key = deriveKeys(secretsKey).webhookSecrets;
  endpoint = await addEndpoint(gate.database, { url: target.url('/hook'), projectId, key });
});
afterAll(async () => {
  await gate.stop();
  await target.stop();
});

interface Body {
  readonly type: EventType;
  readonly project_id: string | null;
  readonly data: Readonly<Record<string, unknown>>;
}

const bodies = () => target.received.map(({ body }) => JSON.parse(body) as Body);
const dataOf = (type: EventType) =>
  bodies()
    .filter((body) => body.type === type)
    .map(({ data }) => data);
const ask = (model: string, secret: string) =>
  fetch(`${gate.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${secret}` },
    body: JSON.stringify({ model, messages: [{ role: 'user', content: 'hello' }] }),
  });

async function everythingHappens(): Promise<void> {
  const { agentId, keyId, secret } = await gate.agent('busy');
  for (const outcome of ['SUCCEEDED', 'FAILED']) {
    const { run } = await gate.api<{ run: { id: string } }>('RunService/StartRun', { workflow: 'w' }, secret);
    const error = outcome === 'FAILED' ? 'It broke.' : '';
    const end = { runId: run.id, outcome: `RUN_STATE_${outcome}`, summary: 'x'.repeat(500), error };
    // The same end told twice is one event.
    for (let time = 0; time < 2; time++) await gate.api('RunService/FinishRun', end, secret);
  }
  const more = await gate.agent('rotates');
  await gate.api('AgentService/RotateKey', { keyId: more.keyId });
  const ending = await gate.agent('expires');
  await queryAsOwner(
    gate.database,
    `UPDATE api_keys SET created_at = now() - interval '3 days', expires_at = now() + interval '4 hours' WHERE id = $1`,
    [ending.keyId],
  );
  for (const drill of [true, false]) {
    const engaged = await gate.api<{ killSwitch: { id: string } }>('PolicyService/EngageKillSwitch', {
      scope: 'KILL_SCOPE_WORKFLOW',
      value: 'w',
      reason: 'Test',
      ...(drill && { drill }),
    });
    if (!drill) await gate.api('PolicyService/ReleaseKillSwitch', { killSwitchId: engaged.killSwitch.id });
  }
  const rule = { name: 'none', actions: ['models.invoke'], condition: 'false', effect: 'RULE_EFFECT_DENY' };
  await gate.api('PolicyService/SetPolicy', { document: { rules: [rule] }, stage: 'POLICY_STAGE_ENFORCED' });
  await gate.budget({ name: 'small', unit: 'REQUESTS', limit: 10n, selector: { agentId }, mode: 'DRY_RUN' });
  for (let call = 0; call < 11; call++) await ask('sim', secret);
  const other = await gate.agent('other');
  for (let call = 0; call < 10; call++) await ask('gone', call % 2 === 0 ? secret : other.secret);
  await gate.api('AgentService/RevokeKey', { keyId });
}

test('what happens is told, signed, in the words of the catalogue', { timeout: 180_000 }, async () => {
  await everythingHappens();
  // The look for keys that end comes later, and the target of the breaker stays away.
  const expected = told.filter((type) => type !== 'key.expiring' && type !== 'breaker.closed').sort();
  await expect
    .poll(
      () => [...new Set<string>(bodies().map(({ type }) => type))].filter((type) => expected.includes(type)).sort(),
      {
        timeout: 60_000,
      },
    )
    .toEqual(expected);
  const ajv = new Ajv2020({ strict: true, allowUnionTypes: true });
  formats.default(ajv);
  const schemas = new Map(eventTypes.map((type) => [type, ajv.compile(eventSchema(type))]));
  for (const received of target.received) {
    const body = verified(endpoint.secret, received) as Body;
    expect(isEventType(body.type)).toBe(true);
    const validate = schemas.get(body.type);
    expect(validate?.(body), `${received.body} ${JSON.stringify(validate?.errors)}`).toBe(true);
    expect(body.project_id).toBe(body.type.startsWith('breaker.') ? null : projectId);
  }
  expect(dataOf('run.started')).toHaveLength(2);
  expect(dataOf('run.finished')).toMatchObject([{ outcome: 'succeeded', workflow: 'w' }]);
  expect(dataOf('run.failed')).toMatchObject([{ outcome: 'failed', error: 'It broke.' }]);
  expect(dataOf('kill.engaged')).toMatchObject([{ scope: 'workflow', value: 'w', reason: 'Test' }]);
  expect(dataOf('budget.threshold')).toMatchObject([{ name: 'small', percent: 80, limit: '10' }]);
  expect(dataOf('budget.exceeded')).toMatchObject([{ percent: 100, mode: 'dry_run' }]);
  expect(dataOf('policy.changed')).toMatchObject([{ version: 1, previous_version: null }]);
  expect(dataOf('breaker.opened')).toMatchObject([{ provider: 'gone', model: 'gone' }]);
  expect(new Set(target.received.map(({ id }: Delivered) => id)).size).toBe(target.received.length);
});

test('deliveries are counted and timed', async () => {
  const scrape = async () =>
    (await fetch(`${gate.url}/metrics`, { headers: { authorization: `Bearer ${gate.adminKey}` } })).text();
  await expect
    .poll(
      async () => Number(/^webhook_deliveries_total\{outcome="delivered"\} (\d+)$/m.exec(await scrape())?.[1]),
      soon,
    )
    .toBe(target.received.length);
  expect(await scrape()).toMatch(new RegExp(`^webhook_delivery_seconds_count ${target.received.length}$`, 'm'));
});

test('a key that ends soon is told of once, at the start of a gate as later', { timeout: 120_000 }, async () => {
  for (let start = 0; start < 2; start++) {
    await gate.end();
    await gate.start();
    await expect.poll(() => dataOf('key.expiring'), { timeout: 30_000 }).toMatchObject([{ name: 'expires' }]);
  }
  // Whatever is told of a start comes before what happens after it.
  await gate.agent('last');
  await expect.poll(() => dataOf('key.created').some(({ name }) => name === 'last'), soon).toBe(true);
  expect(dataOf('key.expiring')).toHaveLength(1);
});
