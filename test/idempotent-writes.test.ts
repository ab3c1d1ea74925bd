import { Client } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { runCommand } from './support/cli.ts';
import { queryAsOwner } from './support/database.ts';
import { openFaultyLink } from './support/faulty-link.ts';
import { type TestGate, startGate } from './support/gate.ts';

/** A write of the control API happens once under its Idempotency-Key, whichever replica is asked, and whatever dies. */

let gate: TestGate;
let replica: TestGate;
let agentId: string;
let key: string;
let keys = 0;

beforeAll(async () => {
  gate = await startGate();
  replica = await startGate({ database: gate.database, env: { ADMIN_API_KEY: gate.adminKey } });
  ({ agentId } = await gate.agent('writer'));
});
afterAll(async () => {
  await replica.stop();
  await gate.stop();
});
beforeEach(() => {
  key = `key-${++keys}`;
});

interface Answer {
  readonly status: number;
  readonly isReplay: boolean;
  readonly code: string | null;
  readonly body: { key?: { id: string; name: string }; secret?: string; agent?: { id: string }; code?: string };
}

async function send(
  on: TestGate,
  method: string,
  body: object,
  more: { key?: string; bearer?: string } = {},
): Promise<Answer> {
  const answer = await fetch(`${on.url}/portcullis.v1.${method}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${more.bearer ?? gate.adminKey}`,
      'idempotency-key': more.key ?? key,
    },
    body: JSON.stringify(body),
  });
  const told = (await answer.json()) as Answer['body'] & { details?: { type: string; debug?: { code?: string } }[] };
  const code = told.details?.find(({ type }) => type === 'portcullis.v1.ErrorInfo')?.debug?.code ?? told.code ?? null;
  return { status: answer.status, isReplay: answer.headers.get('idempotency-replayed') === 'true', code, body: told };
}

const newKey = (name: string) => ({ agentId, name, kind: 'PRINCIPAL_KIND_AGENT', scopes: ['models:invoke'] });
const createKey = (on: TestGate, name: string, more?: Parameters<typeof send>[3]) =>
  send(on, 'AgentService/CreateKey', newKey(name), more);

async function keysNamed(name: string): Promise<number> {
  const rows = await queryAsOwner(gate.database, 'SELECT FROM api_keys WHERE name = $1', [name]);
  return rows.length;
}

/** Keeps every write between its effect and its commit while `work` runs: an entry in the audit log is its last statement but few. */
async function whileNothingCommits<T>(work: () => Promise<T>): Promise<T> {
  const blocker = new Client({ connectionString: gate.database.ownerUrl });
  await blocker.connect();
  try {
    await blocker.query('BEGIN; LOCK TABLE audit_entries IN SHARE MODE');
    return await work();
  } finally {
    await blocker.end();
  }
}

/** Waits until a write is kept from its commit. */
const effectIsDone = () =>
  vi.waitFor(
    async () => {
      const rows = await queryAsOwner(
        gate.database,
        `SELECT FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%INTO audit_entries%'`,
      );
      if (rows.length === 0) throw new Error('nothing waits yet');
    },
    { timeout: 20_000, interval: 20 },
  );

test('sent to both replicas fifty times at once it happens once, and all get the one answer', async () => {
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, index) => createKey(index % 2 === 0 ? gate : replica, 'fifty')),
  );
  expect(answers.map(({ status }) => status)).toEqual(Array(50).fill(200));
  expect(new Set(answers.map(({ body }) => body.key?.id)).size).toBe(1);
  expect(answers.filter(({ isReplay }) => !isReplay)).toHaveLength(1);
  expect(answers.filter(({ body }) => body.secret !== '')).toEqual(answers.filter(({ isReplay }) => !isReplay));
  expect(await keysNamed('fifty')).toBe(1);
});

test('an answer is given again without its secret, and no secret is kept', async () => {
  const first = await createKey(gate, 'secretive');
  const again = await createKey(replica, 'secretive');
  expect(first.body.secret).toMatch(/^pcl_/);
  expect(again).toEqual({ ...first, isReplay: true, body: { ...first.body, secret: '' } });
  const rotate = { keyId: first.body.key?.id };
  const [rotated, rotatedAgain] = [
    await send(gate, 'AgentService/RotateKey', rotate),
    await send(gate, 'AgentService/RotateKey', rotate),
  ];
  expect(rotated.body.secret).toMatch(/^pcl_/);
  expect(rotatedAgain).toEqual({ ...rotated, isReplay: true, body: { ...rotated.body, secret: '' } });
});

test('a replica that gives an answer again obeys it before', async () => {
  const { body } = await createKey(gate, 'at once');
  await createKey(replica, 'at once');
  await expect(replica.api('SystemService/GetSelf', {}, body.secret)).resolves.toBeTruthy();
});

test('another payload is a mismatch, which tells nothing of the first one', async () => {
  await createKey(gate, 'first');
  const other = await createKey(replica, 'other');
  expect(other).toMatchObject({ status: 400, code: 'idempotency_mismatch', isReplay: false });
  expect(JSON.stringify(other.body)).not.toContain('first');
  expect(await keysNamed('other')).toBe(0);
});

test('the same key of two principals, or for two methods, is two keys', async () => {
  const operator = async (name: string) => {
    const made = await gate.api<{ secret: string }>('AgentService/CreateKey', {
      name,
      kind: 'PRINCIPAL_KIND_OPERATOR',
      scopes: ['admin'],
    });
    return made.secret;
  };
  const one = await createKey(gate, 'shared', { bearer: await operator('op one') });
  const two = await createKey(gate, 'shared', { bearer: await operator('op two') });
  const agent = await send(gate, 'AgentService/CreateAgent', { name: 'shared' });
  for (const answer of [one, two, agent]) expect(answer).toMatchObject({ status: 200, isReplay: false });
  expect(one.body.key?.id).not.toBe(two.body.key?.id);
  expect(await keysNamed('shared')).toBe(2);
});

test('less of a right under the same principal gets no answer that more of it got', async () => {
  const narrow = await gate.agent('narrowed');
  const { secret: less } = await gate.api<{ secret: string }>('AgentService/CreateKey', {
    ...newKey('less'),
    agentId: narrow.agentId,
    scopes: ['runs:write'],
  });
  const run = { workflow: 'tests' };
  expect(await send(gate, 'RunService/StartRun', run, { bearer: narrow.secret })).toMatchObject({ status: 200 });
  expect(await send(gate, 'RunService/StartRun', run, { bearer: less })).toMatchObject({
    code: 'idempotency_mismatch',
  });
});

test('another limit of a key under the same principal gets no answer either, and its successor does', async () => {
  const limited = await gate.agent('limited');
  const make = (more: object) =>
    gate.api<{ key: { id: string }; secret: string }>('AgentService/CreateKey', {
      ...newKey('limited'),
      agentId: limited.agentId,
      scopes: ['runs:write'],
      ...more,
    });
  const { key: old, secret: fromHere } = await make({ cidrs: ['127.0.0.1/32', '::1/128'] });
  const { secret: anywhere } = await make({});
  const run = { workflow: 'tests' };
  const first = await send(gate, 'RunService/StartRun', run, { bearer: fromHere });
  expect(first).toMatchObject({ status: 200, isReplay: false });
  expect(await send(gate, 'RunService/StartRun', run, { bearer: anywhere })).toMatchObject({
    code: 'idempotency_mismatch',
  });
  const { secret: successor } = await gate.api<{ secret: string }>('AgentService/RotateKey', { keyId: old.id });
  expect(await send(replica, 'RunService/StartRun', run, { bearer: successor })).toEqual({ ...first, isReplay: true });
});

test('a refusal of the request is given again for ten minutes, also when the reason is gone; another key is another try', async () => {
  const budget = { name: 'taken', selector: {}, unit: 'USD', limit: 1n } as const;
  const taken = await gate.budget(budget);
  const again = {
    name: 'taken',
    unit: 'BUDGET_UNIT_USD',
    window: 'BUDGET_WINDOW_LIFETIME',
    mode: 'BUDGET_MODE_ENFORCE',
    limitAmount: '1',
  };
  const first = await send(gate, 'BudgetService/CreateBudget', again);
  expect(first).toMatchObject({ status: 409, code: 'conflict', isReplay: false });
  await gate.api('BudgetService/DeleteBudget', { budgetId: taken });
  const replayed = await send(replica, 'BudgetService/CreateBudget', again);
  expect(replayed).toMatchObject({ status: 409, code: 'conflict', isReplay: true });
  expect(await send(replica, 'BudgetService/CreateBudget', again, { key: 'new' })).toMatchObject({ status: 200 });
  const kept = `SELECT extract(epoch FROM expires_at - finished_at)::int AS s FROM idempotency_keys ORDER BY finished_at DESC LIMIT 2`;
  expect(await queryAsOwner(gate.database, kept)).toEqual([{ s: 86_400 }, { s: 600 }]);
});

test('a refusal of the moment leaves the key free', async () => {
  const { killSwitch } = await gate.api<{ killSwitch: { id: string } }>('PolicyService/EngageKillSwitch', {
    scope: 'KILL_SCOPE_AGENT',
    value: agentId,
    reason: 'tests',
  });
  const run = { agentId, workflow: 'tests' };
  expect(await send(gate, 'RunService/StartRun', run)).toMatchObject({ status: 503, code: 'killed' });
  await gate.api('PolicyService/ReleaseKillSwitch', { killSwitchId: killSwitch.id });
  expect(await send(gate, 'RunService/StartRun', run)).toMatchObject({ status: 200, isReplay: false });
});

test.each(['', 'x'.repeat(256), 'schlüssel'.normalize('NFC'), 'tab\tbed'])(
  'the key %j is refused by name',
  async (bad) => {
    const answer = await createKey(gate, 'no such key', { key: bad });
    expect(answer).toMatchObject({ status: 400, code: 'invalid_argument' });
    expect(JSON.stringify(answer.body)).toContain('Idempotency-Key');
  },
);

test('a key of 255 printable characters holds, blanks included', async () => {
  const long = `${'x'.repeat(100)} ${'~'.repeat(154)}`;
  expect(await createKey(gate, 'long key', { key: long })).toMatchObject({ status: 200, isReplay: false });
  expect(await createKey(gate, 'long key', { key: long })).toMatchObject({ status: 200, isReplay: true });
});

test('whoever waits longer for the first one than for any lock is told to ask again, and the first one is not hurt', async () => {
  const impatient = await startGate({
    database: gate.database,
    env: { ADMIN_API_KEY: gate.adminKey, DATABASE_LOCK_MS: '300' },
  });
  try {
    const first = await whileNothingCommits(async () => {
      const under = createKey(gate, 'slow');
      await effectIsDone();
      const second = await createKey(impatient, 'slow');
      expect(second).toMatchObject({ status: 409, code: 'in_progress', isReplay: false });
      return { answer: under };
    });
    expect(await first.answer).toMatchObject({ status: 200, isReplay: false });
    expect(await createKey(impatient, 'slow')).toMatchObject({ status: 200, isReplay: true });
    expect(await keysNamed('slow')).toBe(1);
  } finally {
    await impatient.stop();
  }
});

describe('when the gate is killed', () => {
  test('before the commit nothing happened and the key is free', async () => {
    const doomed = await startGate({ database: gate.database, env: { ADMIN_API_KEY: gate.adminKey } });
    await whileNothingCommits(async () => {
      const lost = createKey(doomed, 'doomed').catch(() => null);
      await effectIsDone();
      await doomed.end('SIGKILL');
      expect(await lost).toBeNull();
    });
    expect(await keysNamed('doomed')).toBe(0);
    expect(await createKey(gate, 'doomed')).toMatchObject({ status: 200, isReplay: false });
    expect(await keysNamed('doomed')).toBe(1);
    await doomed.stop();
  });

  test('after the commit the retry gets the answer', async () => {
    const doomed = await startGate({ database: gate.database, env: { ADMIN_API_KEY: gate.adminKey } });
    const first = await createKey(doomed, 'done');
    await doomed.end('SIGKILL');
    expect(await createKey(gate, 'done')).toMatchObject({ isReplay: true, body: { key: { id: first.body.key?.id } } });
    expect(await keysNamed('done')).toBe(1);
    await doomed.stop();
  });
});

test('after a day the key is free again', async () => {
  const first = await createKey(gate, 'old');
  await queryAsOwner(gate.database, `UPDATE idempotency_keys SET expires_at = expires_at - interval '1 day'`);
  const again = await createKey(gate, 'old');
  expect(again).toMatchObject({ status: 200, isReplay: false });
  expect(again.body.key?.id).not.toBe(first.body.key?.id);
});

test('our own client repeats a write whose answer was lost on the way, and it happened once', async () => {
  const link = await openFaultyLink(gate.url);
  try {
    const cut = link.cutAfter('AgentService/CreateAgent');
    const environment = { PORTCULLIS_URL: link.url.replace(/\/$/, ''), PORTCULLIS_KEY: gate.adminKey };
    const { code, stdout, stderr } = await runCommand(['agents', 'create', 'lost-answer', '--json'], { environment });
    await cut;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const agents = await queryAsOwner<{ id: string }>(
      gate.database,
      `SELECT id FROM agents WHERE name = 'lost-answer'`,
    );
    expect(agents).toHaveLength(1);
    expect(stdout).toContain(agents[0]?.id);
  } finally {
    await link.close();
  }
});

describe('a key whose answer was lost on the way, with its secret,', () => {
  const lose = async (method: string, args: readonly string[]) => {
    const link = await openFaultyLink(gate.url);
    try {
      const cut = link.cutAfter(`AgentService/${method}`);
      const environment = { PORTCULLIS_URL: link.url.replace(/\/$/, ''), PORTCULLIS_KEY: gate.adminKey };
      const ended = await runCommand(['keys', ...args], { environment });
      await cut;
      return ended;
    } finally {
      await link.close();
    }
  };

  test.each([[[]], [['--json']]])('is no success of the command line %j: it says what to do', async (more) => {
    const name = `lost${more.join('')}`;
    const made = await lose('CreateKey', ['create', '--name', name, ...more]);
    const [row] = await queryAsOwner<{ id: string }>(gate.database, 'SELECT id FROM api_keys WHERE name = $1', [name]);
    expect(made).toMatchObject({ code: 1, stdout: '' });
    expect(made.stderr).toContain(`The key ${row?.id} was made, but its secret got lost on its way`);
    const rotated = await lose('RotateKey', ['rotate', String(row?.id), '--overlap', '0', ...more]);
    expect(rotated).toMatchObject({ code: 1, stdout: '' });
    expect(rotated.stderr).toMatch(/The key \w{12} was made, but its secret got lost on its way/);
    const successor = /portcullis keys rotate (\w{12}) --overlap 0/.exec(rotated.stderr)?.[1];
    const environment = { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: gate.adminKey };
    const advised = await runCommand(['keys', 'rotate', String(successor), '--overlap', '0'], { environment });
    expect(advised).toMatchObject({ code: 0, stdout: expect.stringMatching(/^pcl_/) });
  });
});

test('replays are counted', async () => {
  const count = async () => {
    const answer = await fetch(`${gate.url}/metrics`, { headers: { authorization: `Bearer ${gate.adminKey}` } });
    return Number(/^portcullis_idempotent_replays_total (\d+)$/m.exec(await answer.text())?.[1]);
  };
  const before = await count();
  await createKey(gate, 'counted');
  await createKey(gate, 'counted');
  expect(await count()).toBe(before + 1);
});
