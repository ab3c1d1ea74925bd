import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createLogger } from '../server/src/base/log.ts';
import { systemClock } from '../server/src/base/clock.ts';
import { PortcullisError } from '../server/src/base/errors.ts';
import { newId } from '../server/src/base/ids.ts';
import { BudgetService } from '../server/src/budget/budget-service.ts';
import { capToJson, checkCaps, enforceCaps, type PolicyCap } from '../server/src/budget/policy-caps.ts';
import { ControlFeed } from '../server/src/pg/control-feed.ts';
import { emptyDocument, type PolicyDocument, type Rule } from '../server/src/policy/document.ts';
import { PolicyIndex } from '../server/src/policy/policy-index.ts';
import { etagOf, PolicyVersions } from '../server/src/policy/version-service.ts';
import { createTestDatabase, queryAsOwner, type TestDatabase, testBounds } from './support/database.ts';
import { operator, seedProject } from './support/ledger.ts';

/** Versions of policies and the budgets that their caps are, on a real database. */

let db: TestDatabase;
let versions: PolicyVersions;
let budgets: BudgetService;
let index: PolicyIndex;
let feed: ControlFeed;
let projectId: string;
const logged: string[] = [];

beforeAll(async () => {
  db = await createTestDatabase();
  await seedProject(db.pool);
  versions = new PolicyVersions(db.pool, { checkCaps, enforceCaps });
  budgets = new BudgetService(db.pool, () => Date.now());
  const log = createLogger('info', { write: (line) => void logged.push(line) });
  index = new PolicyIndex(log);
  const connection = { ...testBounds, connectionString: db.appUrl };
  feed = new ControlFeed({ connection, parts: [index], clock: systemClock, log });
  await feed.start();
});
afterAll(async () => {
  await feed.stop();
  await db.drop();
});
beforeEach(async () => {
  projectId = newId('prj');
  await db.pool.query('INSERT INTO projects (id, name, control_version) VALUES ($1, $1, 1)', [projectId]);
});

const everybody = {
  teamId: null,
  personId: null,
  agentId: null,
  keyId: null,
  workflow: null,
  runId: null,
  providerType: null,
  provider: null,
  model: null,
};

function cap(name: string, more: Partial<PolicyCap> = {}) {
  return capToJson({
    name,
    selector: everybody,
    unit: 'usd',
    window: 'day',
    timeZone: 'UTC',
    limit: 5_000_000_000n,
    mode: 'enforce',
    ...more,
  });
}

const denyAll: Rule = {
  name: 'deny all',
  actions: ['models.invoke'],
  condition: '',
  effect: { kind: 'deny' },
  mode: 'enforce',
};

function change() {
  return { by: operator, requestId: 'req_t', projectId };
}

async function etag(): Promise<string> {
  return etagOf((await versions.get(projectId, null)).state);
}

async function set(document: Partial<PolicyDocument>, stage: 'draft' | 'shadow' | 'enforced' = 'enforced') {
  const full = { ...emptyDocument, ...document };
  const { result } = await versions.set({ ...change(), etag: await etag(), document: full, stage, note: '' });
  return result.version?.version ?? 0;
}

async function activeCaps(): Promise<unknown[]> {
  const { rows } = await db.pool.query(
    `SELECT name, unit, "window", time_zone, limit_amount, mode, workflow, model, notify_percents FROM budgets
     WHERE project_id = $1 AND managed_by_policy AND deleted_at IS NULL ORDER BY name`,
    [projectId],
  );
  return rows;
}

async function spend(name: string, posted: bigint): Promise<void> {
  await db.pool.query(
    `INSERT INTO budget_counters (budget_id, window_key, posted)
     SELECT id, '2026-11-23', $3 FROM budgets WHERE project_id = $1 AND name = $2 AND deleted_at IS NULL`,
    [projectId, name, posted],
  );
}

async function spentOf(name: string): Promise<bigint> {
  const { rows } = await db.pool.query<{ sum: bigint }>(
    `SELECT coalesce(sum(posted), 0)::bigint AS sum FROM budget_counters c JOIN budgets b ON b.id = c.budget_id
     WHERE b.project_id = $1 AND b.name = $2 AND b.deleted_at IS NULL`,
    [projectId, name],
  );
  return rows[0]?.sum ?? -1n;
}

describe('a cap', () => {
  test('keeps what it counted where only limit, mode or notices change, and begins anew where it counts something else', async () => {
    await set({ caps: [cap('team')] });
    await spend('team', 7n);
    await set({ caps: [cap('team', { limit: 9n, mode: 'dry_run', notifyPercents: [50] })] });
    expect(await spentOf('team')).toBe(7n);
    await set({ caps: [cap('team', { selector: { ...everybody, workflow: 'w' } })] });
    expect(await spentOf('team')).toBe(0n);
    // Back to what it was: nobody gets a new allowance by a change and its undoing.
    await set({ caps: [cap('team')] });
    expect(await spentOf('team')).toBe(7n);
  });

  test('that was taken out and is rolled back goes on with what it had counted', async () => {
    await set({ caps: [cap('team')] });
    await spend('team', 7n);
    await set({ caps: [] });
    expect(await activeCaps()).toEqual([]);
    await versions.rollback({ ...change(), etag: await etag(), version: null, note: '' });
    expect(await spentOf('team')).toBe(7n);
  });

  test('is nobody else’s to change, and no budget’s namesake', async () => {
    await set({ caps: [cap('team')] });
    const { rows } = await db.pool.query<{ id: string }>('SELECT id FROM budgets WHERE project_id = $1', [projectId]);
    const id = rows[0]!.id;
    const refused = {
      code: 'conflict',
      message: 'The budget "team" is a cap of the policy: change the policy, as by `portcullis policy caps`.',
    };
    await expect(budgets.delete(operator, 'r', { projectId, id })).rejects.toMatchObject(refused);
    await expect(
      budgets.update(operator, 'r', { projectId, id, name: 'mine', limit: undefined, mode: undefined }),
    ).rejects.toMatchObject(refused);
    await budgets.create(operator, 'r', {
      projectId,
      name: 'by hand',
      selector: everybody,
      unit: 'usd',
      window: 'day',
      timeZone: 'UTC',
      limit: 1n,
      mode: 'enforce',
    });
    await expect(set({ caps: [cap('by hand')] })).rejects.toMatchObject({ code: 'conflict' });
    expect(await activeCaps()).toHaveLength(1);
  });

  test('that names what is not there is refused, and nothing is in force then', async () => {
    const nobody = { selector: { ...everybody, agentId: 'agt_nobody' } };
    await expect(set({ caps: [cap('fine'), cap('team', nobody)] })).rejects.toMatchObject({ code: 'not_found' });
    expect(await activeCaps()).toEqual([]);
    expect((await versions.get(projectId, null)).state.lastVersion).toBe(0);
  });

  test('that is in force keeps nobody from changing a rule when what it names is gone', async () => {
    const teamId = newId('team');
    await db.pool.query(`INSERT INTO teams (id, project_id, name, created_by) VALUES ($1, $2, $1, 'test')`, [
      teamId,
      projectId,
    ]);
    const ofTeam = cap('team', { selector: { ...everybody, teamId } });
    await set({ caps: [ofTeam] });
    await db.pool.query('UPDATE teams SET deleted_at = now() WHERE id = $1', [teamId]);
    await expect(set({ rules: [denyAll], caps: [ofTeam] })).resolves.toBe(2);
    await versions.rollback({ ...change(), etag: await etag(), version: null, note: '' });
    expect(await activeCaps()).toHaveLength(1);
    const other = cap('other', { selector: { ...everybody, teamId } });
    await expect(set({ caps: [ofTeam, other] })).rejects.toMatchObject({ code: 'not_found' });
  });
});

test(
  'after any changes the budgets of the policy are the caps of the version in force',
  { timeout: 120_000 },
  async () => {
    const someCap = fc.record({
      name: fc.constantFrom('a', 'b', 'c'),
      limit: fc.constantFrom(1n, 2n, null),
      unit: fc.constantFrom('usd' as const, 'tokens' as const),
      mode: fc.constantFrom('enforce' as const, 'dry_run' as const),
      workflow: fc.constantFrom(null, 'w'),
    });
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('set' as const),
        caps: fc.uniqueArray(someCap, { maxLength: 3, selector: ({ name }) => name }),
        stage: fc.constantFrom('draft' as const, 'shadow' as const, 'enforced' as const, 'enforced' as const),
      }),
      fc.record({ kind: fc.constantFrom('promote' as const, 'rollback' as const), pick: fc.nat(20) }),
      fc.record({ kind: fc.constant('upsert' as const), cap: someCap }),
      fc.record({ kind: fc.constant('delete' as const), name: fc.constantFrom('a', 'b', 'c') }),
    );
    const capOf = ({ name, limit, unit, mode, workflow }: typeof someCap extends fc.Arbitrary<infer T> ? T : never) =>
      cap(name, { limit, unit, mode, selector: { ...everybody, workflow } });
    const described = (json: ReturnType<typeof cap>) => ({
      name: json.name,
      unit: json['unit'],
      window: json['window'],
      time_zone: 'UTC',
      limit_amount: json['limit'] === null ? null : BigInt(json['limit'] as string),
      mode: json['mode'],
      workflow: (json['selector'] as { workflow?: string }).workflow ?? null,
      model: null,
      notify_percents: json['notify_percents'],
    });
    let changes = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
        projectId = newId('prj');
        await db.pool.query('INSERT INTO projects (id, name, control_version) VALUES ($1, $1, 1)', [projectId]);
        let lastVersion = 0;
        for (const one of steps) {
          const at = { ...change(), etag: await etag(), note: '' };
          const version = 'pick' in one ? 1 + (one.pick % Math.max(1, lastVersion)) : 0;
          const made =
            one.kind === 'set'
              ? versions.set({ ...at, document: { ...emptyDocument, caps: one.caps.map(capOf) }, stage: one.stage })
              : one.kind === 'promote'
                ? versions.promote({ ...at, version, stage: 'enforced' })
                : one.kind === 'rollback'
                  ? versions.rollback({ ...at, version })
                  : versions.edit({
                      ...at,
                      edit: (document) => {
                        const added = one.kind === 'upsert' ? [capOf(one.cap)] : [];
                        const name = one.kind === 'delete' ? one.name : added[0]?.name;
                        return {
                          ...document,
                          caps: [...document.caps.filter((other) => other.name !== name), ...added],
                        };
                      },
                    });
          // What is refused (an older version, one that is not there) changes nothing.
          const refusal = await made.then(
            () => null,
            (error: unknown) => (error instanceof PortcullisError ? error.code : String(error)),
          );
          expect([null, 'conflict', 'not_found']).toContain(refusal);
          const { state, version: inForce } = await versions.get(projectId, null);
          lastVersion = state.lastVersion;
          const caps = (inForce?.document as { caps: ReturnType<typeof cap>[] } | undefined)?.caps ?? [];
          expect(await activeCaps()).toEqual(
            caps.map(described).toSorted((left, right) => (left.name < right.name ? -1 : 1)),
          );
          changes++;
        }
      }),
      { numRuns: 40 },
    );
    console.log(`${changes} random changes of policies: budgets and caps agreed after each`);
  },
);

describe('of two who change the same policy at once', () => {
  test('one wins, and the other is told of the newer version and its author', async () => {
    await set({ rules: [denyAll] });
    const made = await etag();
    const both = await Promise.allSettled(
      ['ann', 'bob'].map((name) =>
        versions.set({
          ...change(),
          by: { ...operator, name },
          etag: made,
          document: { ...emptyDocument, rules: [{ ...denyAll, name }] },
          stage: 'enforced',
          note: '',
        }),
      ),
    );
    const won = both.findIndex(({ status }) => status === 'fulfilled');
    const lost = both.find((one) => one.status === 'rejected');
    expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    expect(lost?.reason).toMatchObject({ code: 'conflict', members: { param: 'etag' } });
    expect(String(lost?.reason)).toContain(`Version 2 by "${['ann', 'bob'][won]}" is the newest`);
  });

  test('an edit of one rule looks at the etag only where it names one', async () => {
    await set({ rules: [denyAll] });
    const edit = (document: PolicyDocument) => ({ ...document, rules: [] });
    await expect(versions.edit({ ...change(), etag: '999', note: '', edit })).rejects.toMatchObject({
      code: 'conflict',
    });
    await expect(versions.edit({ ...change(), etag: null, note: '', edit })).resolves.toBeDefined();
  });
});

describe('a version', () => {
  test('never changes, and the one in force already is not made again', async () => {
    expect(await set({ rules: [denyAll] })).toBe(1);
    expect(await set({ rules: [denyAll] })).toBe(1);
    expect(await set({ rules: [{ ...denyAll, mode: 'shadow' }] })).toBe(2);
    await expect(db.pool.query("UPDATE policy_versions SET note = 'x'")).rejects.toThrow('permission denied');
  });

  test('that was a rollback is left by name alone', async () => {
    const back = async (version: number | null) =>
      (await versions.rollback({ ...change(), etag: await etag(), version, note: '' })).result.version;
    await set({ rules: [denyAll] });
    expect(await back(null)).toMatchObject({ version: 2, restoredVersion: 0, ruleCount: 0 });
    await expect(back(null)).rejects.toMatchObject({
      code: 'conflict',
      message:
        'Version 2, which is in force, is a rollback to what was before version 1 already: name the version to go to now.',
    });
    expect(await back(1)).toMatchObject({ version: 3, restoredVersion: 1, ruleCount: 1 });
    await expect(back(null)).rejects.toMatchObject({ message: expect.stringContaining('is a rollback to version 1') });
    await set({ caps: [cap('new')] });
    expect(await back(null)).toMatchObject({ version: 5, restoredVersion: 3 });
  });

  test('of the same document is not made again, and no more than 200 wait to be put in force', async () => {
    const draft = (at: number) => set({ rules: [{ ...denyAll, name: `r${at}` }] }, 'draft');
    expect(await draft(0)).toBe(1);
    expect(await draft(0)).toBe(1);
    expect(await set({ rules: [{ ...denyAll, name: 'r0' }] }, 'shadow')).toBe(1);
    for (let at = 1; at < 200; at++) await draft(at);
    await expect(draft(200)).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining('200') });
    expect(await draft(199)).toBe(200);
    await versions.promote({ ...change(), etag: await etag(), version: 7, stage: 'enforced' });
    expect(await draft(200)).toBe(201);
  });

  test('moved to the stage where it is changes nothing, the etag neither', async () => {
    const draft = await set({ rules: [denyAll] }, 'draft');
    const before = await etag();
    await versions.promote({ ...change(), etag: before, version: draft, stage: 'draft' });
    expect(await etag()).toBe(before);
  });

  test('older than the one in force can be rolled back to and not promoted', async () => {
    const draft = await set({ rules: [denyAll] }, 'draft');
    await set({});
    const promote = versions.promote({ ...change(), etag: await etag(), version: draft, stage: 'enforced' });
    await expect(promote).rejects.toMatchObject({ code: 'conflict' });
    const { result } = await versions.rollback({ ...change(), etag: await etag(), version: draft, note: 'as it was' });
    expect(result).toMatchObject({
      state: { inForce: 3 },
      version: { version: 3, restoredVersion: 1, note: 'as it was' },
    });
  });

  test.each<[string, Partial<PolicyDocument>, string]>([
    ['a condition that is no CEL', { rules: [{ ...denyAll, condition: 'resource.name = ' }] }, 'line 1, column'],
    ['two rules of one name', { rules: [denyAll, denyAll] }, 'two rules named "deny all"'],
    ['two caps of one name', { caps: [cap('x'), cap('x')] }, 'two caps named "x"'],
    [
      'more rules than the bound',
      { rules: Array.from({ length: 101 }, (_, i) => ({ ...denyAll, name: `${i}` })) },
      '100 rules at most',
    ],
    [
      'more bytes than the bound',
      {
        rules: Array.from({ length: 90 }, (_, i) => ({
          ...denyAll,
          name: `${i}`,
          condition: `'${'x'.repeat(3_900)}' == ''`,
        })),
      },
      'bytes',
    ],
    [
      'an approval by nobody',
      { rules: [{ ...denyAll, effect: { kind: 'require_approval', approvers: [], quorum: 1, expiryS: 60 } }] },
      'approvers',
    ],
    [
      'a quorum of none',
      { rules: [{ ...denyAll, effect: { kind: 'require_approval', approvers: ['a'], quorum: 0, expiryS: 60 } }] },
      'quorum',
    ],
    ['signed scopes that leave the policy itself open', { signedScopes: ['keys:write'] }, 'must have policy:write too'],
    ['signed scopes that leave keys open', { signedScopes: ['policy:write'] }, 'must have keys:write too'],
    ['signed scopes of others alone', { signedScopes: ['runs:write'] }, 'must have keys:write and policy:write too'],
  ])('with %s is refused', async (_, document, words) => {
    await expect(set(document)).rejects.toMatchObject({
      code: 'invalid_argument',
      message: expect.stringContaining(words),
    });
  });

  test('has its audit entries, with digests and what differs', async () => {
    await set({ rules: [denyAll], caps: [cap('team')] });
    await set({ rules: [{ ...denyAll, mode: 'shadow' }], signedScopes: ['keys:write', 'policy:write'] });
    const { rows } = await db.pool.query<{ action: string; payload: Record<string, unknown> }>(
      `SELECT action, payload FROM audit_entries WHERE project_id = $1 AND action LIKE 'policy.%' ORDER BY id`,
      [projectId],
    );
    expect(rows.map(({ action }) => action)).toEqual([
      'policy.version_created',
      'policy.put_in_force',
      'policy.version_created',
      'policy.put_in_force',
    ]);
    expect(rows[3]?.payload).toMatchObject({
      version: 2,
      before: { version: 1, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
      after: { sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
      added: ['signed scope keys:write', 'signed scope policy:write'],
      changed: ['rule deny all'],
      removed: ['cap team'],
    });
  });
});

describe('the index of a replica', () => {
  test('knows what is in force, in shadow, and which writes must be signed', async () => {
    await set({ rules: [denyAll], signedScopes: ['keys:write', 'policy:write'] });
    const shadow = await set({ rules: [] }, 'shadow');
    await feed.refresh();
    expect(index.of(projectId)).toMatchObject({ inForce: { version: 1 }, shadow: { version: shadow } });
    expect([...index.signedScopes(projectId)]).toEqual(['keys:write', 'policy:write']);
    await versions.promote({ ...change(), etag: await etag(), version: shadow, stage: 'draft' });
    await feed.refresh();
    expect(index.of(projectId)).toMatchObject({ inForce: { version: 1 }, shadow: null });
    expect(index.of('prj_other')).toEqual({ inForce: null, shadow: null });
  });

  test('lets nothing through by a document that it cannot build, and says so in the log', async () => {
    await set({ rules: [denyAll], signedScopes: ['keys:write', 'policy:write'] });
    await queryAsOwner(
      db,
      `UPDATE policy_versions SET document = jsonb_set(document, '{rules,0,effect}', '"ask_the_moon"') WHERE project_id = $1`,
      [projectId],
    );
    // As a process that starts, which reads everything.
    const fresh = new PolicyIndex(createLogger('info', { write: (line) => void logged.push(line) }));
    (await fresh.load(db.pool, 0n))();
    expect(fresh.of(projectId)).toEqual({ brokenVersion: 1 });
    expect([...fresh.signedScopes(projectId)]).toEqual(['keys:write', 'policy:write']);
    expect(logged.some((line) => line.includes('A policy cannot be built here') && line.includes(projectId))).toBe(
      true,
    );
  });
});
