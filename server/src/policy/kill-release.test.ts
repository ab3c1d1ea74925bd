import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { PortcullisError } from '../base/errors.ts';
import type { Principal } from '../identity/model.ts';
import { controlWrite } from '../pg/tx.ts';
import { KillService } from './kill-service.ts';
import { operatorPrincipal } from './testing/principal.ts';

let db: TestDatabase;
let service: KillService;
const people = ['psn_ada', 'psn_bo', 'psn_cy'];

beforeAll(async () => {
  db = await createTestDatabase();
  await controlWrite(db.pool, async (tx, version) => {
    for (const id of ['prj_a', 'prj_b'])
      await tx.query('INSERT INTO projects (id, name, control_version) VALUES ($1, $1, $2)', [id, version]);
    const person = (id: string, project: string, email: string) =>
      tx.query('INSERT INTO people (id, project_id, email, name, control_version) VALUES ($1, $2, $3, $1, $4)', [
        id,
        project,
        email,
        version,
      ]);
    for (const id of people) await person(id, 'prj_a', `${id}@example.com`);
    await person('psn_ada_too', 'prj_b', 'PSN_ADA@example.com');
  });
  service = new KillService(db.pool, {
    isProvider: () => true,
    databaseNow: () => Date.now(),
    twoPeople: true,
    controlAgeMaxMs: 10_000,
  });
});
afterAll(() => db.drop());

const root = operatorPrincipal({ scopes: new Set(['admin']), method: 'static_key' });

/** A person in a session, unless told otherwise. */
function person(personId: string, known: Partial<Principal> = {}): Principal {
  const scopes = new Set(['admin'] as const);
  return operatorPrincipal({ id: personId, name: `op ${personId}`, personId, method: 'session', scopes, ...known });
}
const [ada, bo, cy] = people.map((id) => person(id)) as [Principal, Principal, Principal];

async function engage(): Promise<string> {
  const { result } = await service.engage(root, 'req_t', {
    scope: 'everything',
    value: '',
    projectId: 'prj_a',
    reason: 'A test.',
    expiresAt: null,
    ttlMs: null,
    drill: false,
  });
  return result.id;
}
const release = async (id: string, by: Principal) =>
  (await service.release(by, 'req_t', { id, projectId: 'prj_a' })).result;
const confirm = async (id: string, by: Principal) =>
  (await service.confirmRelease(by, 'req_t', { id, projectId: 'prj_a' })).result;

async function releasedBy(id: string): Promise<string | null> {
  const { rows } = await db.pool.query<{ by: string | null }>(
    'SELECT released_by AS by FROM kill_switches WHERE id = $1',
    [id],
  );
  return rows[0]?.by ?? null;
}

async function audited(id: string): Promise<string[]> {
  const { rows } = await db.pool.query<{ action: string }>(
    `SELECT action FROM audit_entries WHERE target = $1 AND action <> 'kill.engaged' ORDER BY at, action`,
    [id],
  );
  return rows.map(({ action }) => action);
}

/** Who asked and who confirmed, for each time that it was released: as the audit log has it. */
async function releasesOf(id: string): Promise<{ asked: string; confirmed: string }[]> {
  const { rows } = await db.pool.query<{ payload: string; actor: string }>(
    `SELECT payload::text, actor_id AS actor FROM audit_entries WHERE target = $1 AND action = 'kill.released'`,
    [id],
  );
  return rows.map(({ payload, actor }) => ({
    asked: (JSON.parse(payload) as { asked_by: string }).asked_by,
    confirmed: actor,
  }));
}

/** As if so long had passed since the release was asked for. */
const passTime = (id: string) =>
  db.pool.query(
    `UPDATE kill_switches SET release_until = now() - interval '1 second' WHERE id = $1 AND release_until IS NOT NULL`,
    [id],
  );

/** A key as it stands in the database. @returns who holds it */
async function keyOf(
  personId: string,
  createdBy: string,
  madeWith: string | null = null,
  kind: Principal['kind'] = 'operator',
): Promise<Principal> {
  const { rows } = await db.pool.query<{ id: string }>(
    `INSERT INTO api_keys (id, project_id, person_id, kind, name, secret_hash, scopes, created_by, made_with_key_id, control_version)
     VALUES (gen_random_uuid()::text, 'prj_a', $1, $4, 'k', '', '{admin}', $2, $3, 1) RETURNING id`,
    [personId, createdBy, madeWith, kind],
  );
  return person(personId, { method: 'api_key', keyId: rows[0]?.id ?? '' });
}

async function finish(id: string): Promise<void> {
  await db.pool.query(
    `UPDATE kill_switches SET released_at = now(), released_by = 'the test' WHERE id = $1 AND released_at IS NULL`,
    [id],
  );
}

describe('a release by two people', () => {
  test('is asked for by one and confirmed by another', async () => {
    const id = await engage();
    const asked = await release(id, ada);
    expect(asked).toMatchObject({ releasedAt: null, releaseAsk: { by: 'op psn_ada', personId: 'psn_ada' } });
    expect(asked.releaseAsk!.until - Date.now()).toBeGreaterThan(14 * 60_000);
    await expect(confirm(id, ada)).rejects.toMatchObject({ code: 'conflict' });
    expect((await confirm(id, bo)).releasedAt).not.toBeNull();
    expect(await releasedBy(id)).toBe('op psn_bo');
    expect(await audited(id)).toEqual(['kill.release_asked', 'kill.released']);
    // What is released stays so, whoever comes late.
    expect((await confirm(id, cy)).releasedAt).not.toBeNull();
    expect((await release(id, cy)).releasedAt).not.toBeNull();
    expect(await audited(id)).toHaveLength(2);
  });

  test.each<[string, Principal]>([
    ['the key of the configuration', root],
    ['a legacy token', person('psn_bo', { method: 'legacy_token', personId: null })],
    ['Basic Auth', person('psn_bo', { method: 'basic', personId: null })],
    ['an agent for whom a person answers', person('psn_bo', { kind: 'agent', agentId: 'agt_1', method: 'jwt' })],
    ['a service', person('psn_bo', { kind: 'service', method: 'jwt' })],
    ['a certificate', person('psn_bo', { method: 'certificate' })],
    ['a key of nobody', person('psn_bo', { method: 'api_key', personId: null, keyId: 'k' })],
  ])('is neither asked for nor confirmed by %s', async (_what, by) => {
    const id = await engage();
    await expect(release(id, by)).rejects.toMatchObject({ code: 'policy_denied' });
    await release(id, ada);
    await expect(confirm(id, by)).rejects.toMatchObject({ code: 'policy_denied' });
    expect(await releasedBy(id)).toBeNull();
    await finish(id);
  });

  test("takes a key that its person made, and none that was made for them or with such a key, nor a service's", async () => {
    const id = await engage();
    await release(id, ada);
    const issued = await keyOf('psn_bo', 'psn_ada');
    const laundered = await keyOf('psn_bo', 'psn_bo', issued.keyId);
    const own = await keyOf('psn_bo', 'psn_bo');
    const grandchild = await keyOf('psn_bo', 'psn_bo', own.keyId);
    const ofService = await keyOf('psn_bo', 'psn_bo', null, 'service');
    const fromService = await keyOf('psn_bo', 'psn_bo', ofService.keyId);
    for (const stolen of [issued, laundered, ofService, fromService])
      await expect(confirm(id, stolen)).rejects.toMatchObject({ code: 'policy_denied' });
    expect((await confirm(id, grandchild)).releasedAt).not.toBeNull();
    const again = await engage();
    await expect(release(again, laundered)).rejects.toMatchObject({ code: 'policy_denied' });
    await expect(release(again, own)).resolves.toMatchObject({ releaseAsk: { personId: 'psn_bo' } });
    await finish(again);
  });

  test('is not one by the same human under another record', async () => {
    const id = await engage();
    await release(id, ada);
    await expect(confirm(id, person('psn_ada_too', { projectId: 'prj_b' }))).rejects.toMatchObject({
      code: 'conflict',
    });
    await finish(id);
  });

  test('ends when nobody confirms in time, or who asked is disabled, or somebody engages again', async () => {
    const id = await engage();
    await release(id, ada);
    await passTime(id);
    await expect(confirm(id, bo)).rejects.toMatchObject({ code: 'conflict' });
    await release(id, ada);
    await db.pool.query(`UPDATE people SET state = 'disabled' WHERE id = 'psn_ada'`);
    await expect(confirm(id, bo)).rejects.toMatchObject({ code: 'conflict' });
    await db.pool.query(`UPDATE people SET state = 'active' WHERE id = 'psn_ada'`);
    await engage();
    await expect(confirm(id, bo)).rejects.toMatchObject({ code: 'conflict' });
    expect(await releasedBy(id)).toBeNull();
    await finish(id);
  });

  test('stands as the first one asked while it stands; then another may ask', async () => {
    const id = await engage();
    await release(id, ada);
    expect((await release(id, bo)).releaseAsk).toMatchObject({ personId: 'psn_ada' });
    await passTime(id);
    expect((await release(id, bo)).releaseAsk).toMatchObject({ personId: 'psn_bo' });
    await finish(id);
  });

  test('is not needed for anything less than everything', async () => {
    const { result } = await service.engage(root, 'req_t', {
      scope: 'project',
      value: '',
      projectId: 'prj_a',
      reason: 'A test.',
      expiresAt: null,
      ttlMs: null,
      drill: false,
    });
    expect((await release(result.id, root)).releasedAt).not.toBeNull();
  });
});

/** What happens to a switch for everything, by whom. */
type Step =
  | { readonly do: 'engage' }
  | { readonly do: 'pass_time' }
  | { readonly do: 'ask'; readonly by: number }
  | { readonly do: 'confirm'; readonly by: number };

/** Who asked last and still may be confirmed, in a model of one line each. */
function advance(asked: number | null, step: Step): { readonly asked: number | null; readonly released: boolean } {
  switch (step.do) {
    case 'engage':
    case 'pass_time':
      return { asked: null, released: false };
    case 'ask':
      return { asked: asked ?? step.by, released: false };
    case 'confirm':
      break;
  }
  return { asked, released: asked !== null && asked !== step.by };
}

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant('engage' as const) }),
  fc.record({ do: fc.constant('pass_time' as const) }),
  fc.record({ do: fc.constant('ask' as const), by: fc.nat(2) }),
  fc.record({ do: fc.constant('confirm' as const), by: fc.nat(2) }),
);

async function take(id: string, taken: Step): Promise<boolean> {
  if (taken.do === 'engage') return (await engage()) === id && false;
  if (taken.do === 'pass_time') return passTime(id).then(() => false);
  const by = [ada, bo, cy][taken.by] ?? ada;
  const { releasedAt } = taken.do === 'ask' ? await release(id, by) : await confirm(id, by);
  return releasedAt !== null;
}

test('asking, confirming, engaging and time passing follow the model, step by step', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 10 }), async (steps) => {
      const id = await engage();
      let asked: number | null = null;
      for (const taken of steps) {
        const expected = advance(asked, taken);
        const released = await take(id, taken).catch((error: unknown) => {
          if (error instanceof PortcullisError && error.code === 'conflict') return false;
          throw error;
        });
        expect(released).toBe(expected.released);
        if (released) break;
        ({ asked } = expected);
      }
      await finish(id);
    }),
    { numRuns: 40 },
  );
});

test('at once they give one outcome: no release by one person alone, and never two', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 8 }), async (steps) => {
      const id = await engage();
      await Promise.allSettled(steps.map((taken) => take(id, taken)));
      const releases = await releasesOf(id);
      expect(releases).toHaveLength((await releasedBy(id)) === null ? 0 : 1);
      expect(releases.every(({ asked, confirmed }) => people.includes(asked) && asked !== confirmed)).toBe(true);
      const wanted = new Set(steps.flatMap((one) => ('by' in one ? [one.by] : [])));
      expect(releases.length === 0 || wanted.size > 1).toBe(true);
      // A switch that was engaged after the release is another one.
      await db.pool.query(
        `UPDATE kill_switches SET released_at = now(), released_by = 'the test' WHERE released_at IS NULL`,
      );
    }),
    { numRuns: 40 },
  );
});
