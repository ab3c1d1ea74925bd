import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, testBounds, type TestDatabase } from '../../../test/support/database.ts';
import { systemClock } from '../base/clock.ts';
import { newId } from '../base/ids.ts';
import { createLogger } from '../base/log.ts';
import type { Principal } from '../identity/model.ts';
import type { Scope } from '../identity/scopes.ts';
import { ControlFeed } from '../pg/control-feed.ts';
import { controlWrite } from '../pg/tx.ts';
import { Flights } from './flights.ts';
import { KillIndex, killError } from './kill-index.ts';
import { type EngageRequest, KillService } from './kill-service.ts';
import type { CallSubject, KillSwitch } from './model.ts';
import { operatorPrincipal } from './testing/principal.ts';

let db: TestDatabase;
let feed: ControlFeed;
let kills: KillIndex;
let service: KillService;
const projects = ['prj_a', 'prj_b'];
const agents = ['agt_a1', 'agt_a2', 'agt_b1'];
const providers = ['claude', 'gpt'];
const workflows = ['flow', 'other flow'];

beforeAll(async () => {
  db = await createTestDatabase();
  await controlWrite(db.pool, async (tx, version) => {
    for (const id of projects) {
      await tx.query('INSERT INTO projects (id, name, control_version) VALUES ($1, $2, $3)', [
        id,
        `name of ${id}`,
        version,
      ]);
    }
    for (const id of agents) {
      await tx.query(
        `INSERT INTO agents (id, project_id, name, created_by, control_version) VALUES ($1, $2, $3, 'test', $4)`,
        [id, id.startsWith('agt_a') ? 'prj_a' : 'prj_b', `name of ${id}`, version],
      );
    }
  });
  for (const workflow of workflows)
    for (const [agent, project] of [
      ['agt_a1', 'prj_a'],
      ['agt_b1', 'prj_b'],
    ]) {
      await db.pool.query(
        `INSERT INTO runs (id, project_id, agent_id, workflow, state, finished_at, control_version)
         VALUES ($1, $2, $3, $4, 'succeeded', now(), 1)`,
        [`run of ${workflow} in ${project}`, project, agent, workflow],
      );
    }
  kills = new KillIndex();
  service = new KillService(db.pool, {
    isProvider: (name) => providers.includes(name),
    databaseNow: () => Date.now(),
    twoPeople: false,
    controlAgeMaxMs: 10_000,
  });
  feed = new ControlFeed({
    connection: { ...testBounds, connectionString: db.appUrl },
    parts: [kills],
    clock: systemClock,
    log: createLogger('silent'),
  });
  await feed.start();
});
afterAll(async () => {
  await feed.stop();
  await db.drop();
});

function operator(projectId: string, ...scopes: Scope[]): Principal {
  return operatorPrincipal({
    id: `psn_of_${projectId}`,
    name: `op of ${projectId}`,
    projectId,
    scopes: new Set(scopes),
  });
}
const alice = operator('prj_a', 'policy:write');
const admin = operator('prj_a', 'admin');

function subject(known: Partial<CallSubject>): CallSubject {
  return {
    projectId: 'prj_a',
    agentId: null,
    personId: null,
    keyId: null,
    runId: null,
    workflow: null,
    provider: null,
    models: [],
    ...known,
  };
}

async function engage(request: Partial<EngageRequest>, by = alice) {
  const { result, version } = await service.engage(by, 'req_test', {
    scope: 'agent',
    value: 'agt_a1',
    projectId: 'prj_a',
    reason: 'It loops.',
    expiresAt: null,
    ttlMs: null,
    drill: false,
    ...request,
  });
  await feed.reach(version, 5000);
  return result;
}

async function release(id: string, by = admin) {
  const { version } = await service.release(by, 'req_test', { id, projectId: 'prj_a' });
  await feed.reach(version, 5000);
}

async function audited(target: string): Promise<string[]> {
  const { rows } = await db.pool.query<{ action: string }>(
    'SELECT action FROM audit_entries WHERE target = $1 ORDER BY at',
    [target],
  );
  return rows.map((row) => row.action);
}

describe('a kill switch', () => {
  test('ends a registered flight at the next sweep and refuses the next, until it is released', async () => {
    const flights = new Flights(
      { maxPerProcess: 9, maxPerCaller: 9, queueMax: 0, queueWaitMs: 0, bodyBytesMax: 0 },
      (of) => {
        const kill = kills.killedBy(of, Date.now());
        return kill && killError(kill);
      },
    );
    feed.onApplied(() => flights.sweep());
    const ended = Promise.withResolvers<Error>();
    const plan = { caller: 'key', subject: subject({ agentId: 'agt_a1' }), gone: new AbortController().signal };
    await flights.enter({ ...plan, abort: ended.resolve });

    const kill = await engage({ reason: 'It loops' });
    const error = await ended.promise;
    expect(error).toMatchObject({ code: 'killed', final: true, members: { rule: kill.id } });
    expect(error.message).toBe(
      'Stopped by the kill switch for the agent agt_a1, engaged by op of prj_a: It loops. Nothing goes on until it is released.',
    );
    await expect(flights.enter({ ...plan, abort: () => undefined })).rejects.toMatchObject({ code: 'killed' });

    await release(kill.id);
    await expect(flights.enter({ ...plan, abort: () => undefined })).resolves.toBeDefined();
    expect(await audited(kill.id)).toEqual(['kill.engaged', 'kill.released']);
  });

  test('no longer applies after its expiry, and can be engaged anew then', async () => {
    const end = Date.now() + 3_600_000;
    const first = await engage({ value: 'agt_a2', expiresAt: end });
    const of = subject({ agentId: 'agt_a2' });
    expect(kills.killedBy(of, end - 1)?.id).toBe(first.id);
    expect(kills.killedBy(of, end)).toBeNull();
    // As if the hour had passed for the database.
    await db.pool.query('UPDATE kill_switches SET expires_at = now() WHERE id = $1', [first.id]);
    const second = await engage({ value: 'agt_a2' });
    expect(second.id).not.toBe(first.id);
    expect(kills.killedBy(of, Date.now())?.id).toBe(second.id);
    await release(second.id);
  });

  test('engaged twice is one switch that lasts until the later expiry', async () => {
    const hour = Date.now() + 3_600_000;
    const [one, two, three] = [
      await engage({ expiresAt: hour }),
      await engage({ expiresAt: hour - 60_000, reason: 'Again.' }),
      await engage({ expiresAt: null }),
    ];
    expect([two.id, three.id]).toEqual([one.id, one.id]);
    expect([two.expiresAt, three.expiresAt, three.reason]).toEqual([hour, null, 'It loops.']);
    await release(one.id);
    await release(one.id);
    expect(await audited(one.id)).toEqual(['kill.engaged', 'kill.engaged', 'kill.engaged', 'kill.released']);
  });

  test('finds agents and projects by name, and refuses what would stop nothing', async () => {
    const byName = await engage({ value: 'name of agt_a1' });
    expect(byName.value).toBe('agt_a1');
    await release(byName.id);
    const own = await engage({ scope: 'project', value: '' });
    expect(own.value).toBe('prj_a');
    await release(own.id);
    await expect(engage({ value: 'agt_nobody' })).rejects.toMatchObject({ code: 'not_found' });
    await expect(engage({ scope: 'run', value: 'run_none' })).rejects.toMatchObject({ code: 'not_found' });
    await expect(engage({ scope: 'workflow', value: 'nothing' })).rejects.toMatchObject({ code: 'not_found' });
    await expect(engage({ scope: 'provider', value: 'clade' })).rejects.toMatchObject({ code: 'not_found' });
    await expect(engage({ scope: 'model', value: '' })).rejects.toMatchObject({ code: 'invalid_argument' });
    await expect(engage({ reason: ' ' })).rejects.toMatchObject({ code: 'invalid_argument' });
    await expect(engage({ expiresAt: Date.now() - 1 })).rejects.toMatchObject({ code: 'invalid_argument' });
    await expect(engage({ ttlMs: 0 })).rejects.toMatchObject({ code: 'invalid_argument' });
    await expect(engage({ ttlMs: 1, expiresAt: Date.now() + 9_000 })).rejects.toMatchObject({
      code: 'invalid_argument',
    });
  });

  test('for models has two * at most', async () => {
    const models = (value: string) => engage({ scope: 'model', value, drill: true });
    await expect(models('*a*')).resolves.toBeDefined();
    await expect(models('*a*b*')).rejects.toMatchObject({ code: 'invalid_argument' });
  });

  test('lasts for a time by the database, whatever the clock of the caller says', async () => {
    const kill = await engage({ scope: 'provider', value: 'claude', ttlMs: 5_000 });
    expect(kill.expiresAt).toBe(kill.engagedAt + 5_000);
    expect(Math.abs(feed.databaseNow() - kill.engagedAt)).toBeLessThan(5_000);
    await release(kill.id);
  });

  test('for a workflow that a run had once stops it, also when no run of it runs', async () => {
    await db.pool.query(
      `INSERT INTO runs (id, project_id, agent_id, workflow, state, finished_at, control_version)
       VALUES ('run_old', 'prj_a', 'agt_a1', 'review: all', 'succeeded', now(), 1)`,
    );
    const kill = await engage({ scope: 'workflow', value: 'review: all' });
    expect(kills.killedBy(subject({ workflow: 'review: all' }), Date.now())?.id).toBe(kill.id);
    expect(kills.killedBy(subject({ workflow: 'review' }), Date.now())).toBeNull();
    expect(kills.killedBy(subject({ projectId: 'prj_b', workflow: 'review: all' }), Date.now())).toBeNull();
    await release(kill.id);
  });

  test('cannot be set in another project, nor for everything, without admin', async () => {
    await expect(engage({ value: 'agt_b1' })).rejects.toMatchObject({ code: 'not_found' });
    await expect(engage({ scope: 'project', value: 'prj_b' })).rejects.toMatchObject({ code: 'not_found' });
    const everything = { scope: 'everything', value: '' } as const;
    await expect(engage(everything)).rejects.toMatchObject({ code: 'insufficient_scope' });
    const kill = await engage(everything, admin);
    expect(kills.killedBy(subject({ projectId: 'prj_b' }), Date.now())?.id).toBe(kill.id);
    await expect(release(kill.id, alice)).rejects.toMatchObject({ code: 'insufficient_scope' });
    expect((await service.list('prj_b', { pageSize: 0, cursor: null })).items.map(({ id }) => id)).toEqual([kill.id]);
    await release(kill.id);
    expect((await service.list('prj_b', { pageSize: 0, cursor: null })).items).toEqual([]);
  });

  test('is one, however many engage it at once', async () => {
    const engaged = await Promise.all(Array.from({ length: 20 }, () => engage({ scope: 'model', value: 'dear-*' })));
    expect(new Set(engaged.map(({ id }) => id)).size).toBe(1);
    await release(engaged[0]!.id);
  });
});

/** What each engaged switch would stop, written down without an index. */
function naive(engaged: readonly KillSwitch[], of: CallSubject, now: number): Set<string> {
  const stops = ({ scope, value, projectId }: KillSwitch) => {
    if (scope === 'everything') return true;
    if (projectId !== of.projectId) return false;
    const { projectId: project, agentId: agent, keyId: key, runId: run, workflow, provider } = of;
    const named = { project, agent, key, run, workflow, provider };
    if (scope !== 'model') return named[scope] === value;
    return of.models.some((model) => new RegExp(`^${value.replaceAll('*', '.*')}$`).test(model));
  };
  const inForce = engaged.filter((kill) => kill.expiresAt === null || kill.expiresAt > now);
  return new Set(inForce.filter(stops).map(({ id }) => id));
}
test('the index agrees with a naive model after any engages and releases', async () => {
  const scope = fc.constantFrom('everything', 'project', 'agent', 'provider', 'workflow', 'model');
  const step = fc.record({
    scope,
    project: fc.constantFrom(...projects),
    agent: fc.constantFrom(...agents),
    provider: fc.constantFrom(...providers),
    workflow: fc.constantFrom(...workflows),
    model: fc.constantFrom('m*', '*x', 'mx', 'm*x*', '*'),
    expiresInMs: fc.constantFrom(null, 1_000_000, 2_000_000),
    releases: fc.nat(4),
  });
  const call = fc.record({
    projectId: fc.constantFrom(...projects),
    agentId: fc.constantFrom(null, ...agents),
    provider: fc.constantFrom(null, ...providers),
    workflow: fc.constantFrom(null, ...workflows),
    models: fc.array(fc.constantFrom('m', 'mx', 'mxy', 'x', 'y'), { maxLength: 2 }),
    inMs: fc.constantFrom(0, 1_500_000, 2_500_000),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 8 }),
      fc.array(call, { minLength: 20, maxLength: 20 }),
      async (steps, calls) => {
        const engaged = new Map<string, KillSwitch>();
        const start = Date.now();
        for (const { scope: kind, project, expiresInMs, releases, ...named } of steps) {
          const { agent } = named;
          const value = { everything: '', project, ...named }[kind];
          const projectId = kind === 'agent' ? (agent.startsWith('agt_a') ? 'prj_a' : 'prj_b') : project;
          const expiresAt = expiresInMs === null ? null : start + expiresInMs;
          const kill = await engage({ scope: kind, value, projectId, expiresAt }, admin);
          engaged.set(kill.id, kill);
          const released = [...engaged.keys()][releases];
          if (released !== undefined && engaged.delete(released)) await releaseIn(released);
        }
        for (const { inMs, ...known } of calls) {
          const of = subject(known);
          const expected = naive([...engaged.values()], of, start + inMs);
          const found = kills.killedBy(of, start + inMs);
          expect(found === null ? expected.size === 0 : expected.has(found.id)).toBe(true);
        }
        for (const id of engaged.keys()) await releaseIn(id);
      },
    ),
    { numRuns: 20 },
  );
  expect(kills.engagedAt(Date.now())).toBe(0);
});

async function releaseIn(id: string): Promise<void> {
  const { rows } = await db.pool.query<{ project_id: string | null }>(
    'SELECT project_id FROM kill_switches WHERE id = $1',
    [id],
  );
  const { version } = await service.release(admin, newId('req'), { id, projectId: rows[0]?.project_id ?? 'prj_a' });
  await feed.reach(version, 5000);
}
