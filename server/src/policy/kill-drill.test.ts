import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, testBounds, type TestDatabase } from '../../../test/support/database.ts';
import { systemClock } from '../base/clock.ts';
import type { PortcullisError } from '../base/errors.ts';
import { createLogger } from '../base/log.ts';
import type { Principal } from '../identity/model.ts';
import { ControlFeed } from '../pg/control-feed.ts';
import { controlWrite } from '../pg/tx.ts';
import { purgeAcknowledgements } from './acknowledgement-store.ts';
import { Flights } from './flights.ts';
import { KillAcknowledger } from './kill-acknowledger.ts';
import { KillIndex, killError } from './kill-index.ts';
import { type EngageRequest, KillService } from './kill-service.ts';
import type { CallSubject } from './model.ts';
import { operatorPrincipal } from './testing/principal.ts';

let db: TestDatabase;
let service: KillService;
const replicas: Replica[] = [];
const admin = operatorPrincipal({ scopes: new Set(['admin']) });
const page = { pageSize: 0, cursor: null };

/** A replica as the composition root wires one, without doors. */
interface Replica {
  readonly id: string;
  readonly feed: ControlFeed;
  readonly kills: KillIndex;
  readonly flights: Flights;
  readonly acknowledger: KillAcknowledger;
  readonly failures: unknown[];
}

async function startReplica(id: string): Promise<Replica> {
  const kills = new KillIndex();
  const connection = { ...testBounds, connectionString: db.appUrl };
  const feed = new ControlFeed({ connection, parts: [kills], clock: systemClock, log: createLogger('silent') });
  const limits = { maxPerProcess: 2, maxPerCaller: 99, queueMax: 99, queueWaitMs: 60_000, bodyBytesMax: 0 };
  const flights = new Flights(limits, (of) => {
    const kill = kills.killedBy(of, feed.databaseNow());
    return kill && killError(kill);
  });
  const failures: unknown[] = [];
  const acknowledger = new KillAcknowledger({
    kills,
    flights,
    clock: systemClock,
    onError: (error) => failures.push(error),
  });
  feed.onApplied(() => acknowledger.sweep());
  await feed.start();
  const replica = { id, feed, kills, flights, acknowledger, failures };
  replicas.push(replica);
  return replica;
}

/** Tells the database of the process, as its first heartbeat does. */
async function register({ id, acknowledger }: Replica): Promise<void> {
  await db.pool.query('INSERT INTO instances (id) VALUES ($1)', [id]);
  acknowledger.start(db.pool, id);
}

beforeAll(async () => {
  db = await createTestDatabase();
  await controlWrite(db.pool, (tx, version) =>
    tx.query(`INSERT INTO projects (id, name, control_version) VALUES ('prj_a', 'a', $1)`, [version]),
  );
  service = new KillService(db.pool, {
    isProvider: () => true,
    databaseNow: () => Date.now(),
    twoPeople: false,
    controlAgeMaxMs: 10_000,
  });
  for (const id of ['ins_1', 'ins_2']) await register(await startReplica(id));
});
afterAll(async () => {
  for (const { feed, acknowledger } of replicas) {
    await acknowledger.stop();
    await feed.stop();
  }
  await db.drop();
});

const subject: CallSubject = {
  projectId: 'prj_a',
  agentId: 'agt_a',
  personId: null,
  keyId: null,
  runId: null,
  workflow: null,
  provider: null,
  models: [],
};

async function engage(request: Partial<EngageRequest>, by: Principal = admin) {
  const { result, version } = await service.engage(by, 'req_t', {
    scope: 'provider',
    value: 'claude',
    projectId: 'prj_a',
    reason: 'A test.',
    expiresAt: null,
    ttlMs: null,
    drill: false,
    ...request,
  });
  for (const { feed } of replicas) await feed.reach(version, 5_000);
  return result;
}

async function release(id: string): Promise<void> {
  const { version } = await service.release(admin, 'req_t', { id, projectId: 'prj_a' });
  for (const { feed } of replicas) await feed.reach(version, 5_000);
}

/** How the replicas stand to a switch, once `count` have acknowledged it. */
async function stands(id: string, count: number) {
  return expect
    .poll(async () => (await service.replicas(admin, { id, projectId: 'prj_a' }, page)).items, { timeout: 10_000 })
    .toSatisfy((items: readonly { applied: unknown }[]) => items.filter(({ applied }) => applied).length === count)
    .then(async () => (await service.replicas(admin, { id, projectId: 'prj_a' }, page)).items);
}

/** Two calls to a provider, one of them a stream, and one that waits for a place, on the first replica. */
async function fly(flights: Flights) {
  const aborted: PortcullisError[] = [];
  const plan = {
    caller: 'me',
    subject,
    abort: (e: PortcullisError) => aborted.push(e),
    gone: new AbortController().signal,
  };
  const inFlight = [await flights.enter(plan), await flights.enter(plan)];
  for (const flight of inFlight) flight.headFor('claude');
  if (inFlight[0]) inFlight[0].streamed = true;
  const waiting = flights.enter({ ...plan, subject: { ...subject, agentId: 'agt_waits' } });
  waiting.catch(() => undefined);
  return { aborted, waiting, end: () => inFlight.forEach((flight) => flight.end()) };
}

describe('an acknowledgement', () => {
  test('says when the replica stopped how many calls, once, by the clock of the database', async () => {
    const [one] = replicas as [Replica];
    const calls = await fly(one.flights);
    const kill = await engage({});
    const [second, first] = await stands(kill.id, 2);
    expect(first).toMatchObject({ id: 'ins_1', applied: { calls: 2, streams: 1, ended: 2 } });
    expect(second).toMatchObject({ id: 'ins_2', applied: { calls: 0, streams: 0, ended: 0 } });
    expect(calls.aborted.map(({ members }) => members.rule)).toEqual([kill.id, kill.id]);
    expect(first!.applied!.at).toBeGreaterThanOrEqual(kill.engagedAt);
    // Engaged again it lasts longer, and what was answered once stands.
    await engage({ ttlMs: 60_000 });
    expect(await stands(kill.id, 2)).toEqual([second, first]);
    calls.end();
    (await calls.waiting).end();
    await release(kill.id);
  });

  test('counts a call that waits for its place, and ends it', async () => {
    const [one] = replicas as [Replica];
    const calls = await fly(one.flights);
    const kill = await engage({ scope: 'everything', value: '' });
    await expect(calls.waiting).rejects.toMatchObject({ code: 'killed' });
    expect((await stands(kill.id, 2)).at(-1)).toMatchObject({ applied: { calls: 3, streams: 1, ended: 3 } });
    calls.end();
    await release(kill.id);
  });

  test('is missing for a replica that lives and did not apply the switch, and comes when the database knows it', async () => {
    const late = await startReplica('ins_3');
    await db.pool.query("INSERT INTO instances (id) VALUES ('ins_4'), ('ins_5')");
    await db.pool.query("UPDATE instances SET stopped_at = now() WHERE id = 'ins_5'");
    const kill = await engage({ scope: 'provider', value: 'gpt' });
    const names = (items: readonly { id: string; applied: unknown }[]) =>
      items.map(({ id, applied }) => `${id} ${applied === null ? 'silent' : 'applied'}`);
    expect(names(await stands(kill.id, 2))).toEqual(['ins_4 silent', 'ins_2 applied', 'ins_1 applied']);
    await register(late);
    expect(names(await stands(kill.id, 3))[1]).toBe('ins_3 applied');
    await db.pool.query("UPDATE instances SET seen_at = now() - interval '1 minute' WHERE id = 'ins_4'");
    expect(names(await stands(kill.id, 3))).not.toContain('ins_4 silent');
    await release(kill.id);
  });

  test('that the database refuses is tried again until it is there', async () => {
    const homeless = await startReplica('ins_6');
    homeless.acknowledger.start(db.pool, 'ins_6');
    const kill = await engage({ scope: 'provider', value: 'later' });
    await expect.poll(() => homeless.failures.length, { timeout: 10_000 }).toBeGreaterThan(0);
    await db.pool.query("INSERT INTO instances (id) VALUES ('ins_6')");
    expect((await stands(kill.id, 4)).map(({ id }) => id)).toContain('ins_6');
    await release(kill.id);
  });

  test('of everything is for those alone who may read all projects', async () => {
    const kill = await engage({ scope: 'everything', value: '' });
    const reader = operatorPrincipal({ scopes: new Set(['policy:read']) });
    await expect(service.replicas(reader, { id: kill.id, projectId: 'prj_a' }, page)).rejects.toMatchObject({
      code: 'insufficient_scope',
    });
    await release(kill.id);
  });

  test('goes when it is old and its switch is released, and not before', async () => {
    const [kept, gone] = [await engage({ value: 'kept' }), await engage({ value: 'gone' })];
    for (const { id } of [kept, gone]) await stands(id, 4);
    await release(gone.id);
    const made = [kept.id, gone.id];
    await db.pool.query(`UPDATE kill_acknowledgements SET applied_at = now() - interval '2 days'`);
    expect(await purgeAcknowledgements(db.pool, 3 * 86_400_000, 1_000)).toBe(0);
    await purgeAcknowledgements(db.pool, 86_400_000, 1_000);
    const { rows } = await db.pool.query<{ id: string }>(
      'SELECT DISTINCT kill_switch_id AS id FROM kill_acknowledgements WHERE kill_switch_id = ANY ($1)',
      [made],
    );
    expect(rows).toEqual([{ id: kept.id }]);
    await release(kept.id);
  });
});

describe('a drill', () => {
  test('is acknowledged with what it would have stopped, stops nothing, and ends by itself', async () => {
    const [one] = replicas as [Replica];
    const calls = await fly(one.flights);
    const drill = await engage({ scope: 'everything', value: '', drill: true });
    expect((await stands(drill.id, 4)).at(-1)).toMatchObject({ applied: { calls: 3, streams: 1, ended: 0 } });
    expect(calls.aborted).toEqual([]);
    expect(drill).toMatchObject({ drill: true, expiresAt: drill.engagedAt + 60_000 });
    expect((await service.list('prj_a', page)).items).toEqual([]);
    calls.end();
    (await calls.waiting).end();
    const { rows } = await db.pool.query('SELECT action FROM audit_entries WHERE target = $1', [drill.id]);
    expect(rows).toEqual([{ action: 'kill.drilled' }]);
  });

  test('has acknowledgements of its own each time, and is no other switch', async () => {
    const [first, second] = [await engage({ drill: true }), await engage({ drill: true })];
    const real = await engage({});
    expect(new Set([first.id, second.id, real.id]).size).toBe(3);
    for (const { id } of [first, second, real]) await stands(id, 4);
    await release(first.id);
    expect(replicas[0]!.kills.killedBy({ ...subject, provider: 'claude' }, Date.now())?.id).toBe(real.id);
    await release(real.id);
  });

  test.each([{ ttlMs: 3_600_001 }, { expiresAt: Date.now() + 3_600_000 }])('cannot have %j', async (bounds) => {
    await expect(engage({ drill: true, ...bounds })).rejects.toMatchObject({ code: 'invalid_argument' });
  });

  test('changes no verdict, whatever is engaged beside it', async () => {
    const target = fc.constantFrom<Partial<EngageRequest>>(
      { scope: 'everything', value: '' },
      { scope: 'project', value: '' },
      { scope: 'provider', value: 'claude' },
      { scope: 'model', value: 'm*' },
    );
    const calls = ['claude', 'gpt', null].flatMap((provider) =>
      [['m1'], ['x']].map((models) => ({ ...subject, provider, models })),
    );
    const [one] = replicas as [Replica];
    const verdicts = () => calls.map((of) => one.kills.killedBy(of, one.feed.databaseNow())?.id ?? null);
    await fc.assert(
      fc.asyncProperty(
        fc.array(target, { maxLength: 2 }),
        fc.array(target, { minLength: 1, maxLength: 3 }),
        async (real, drills) => {
          const engaged = [];
          for (const request of real) engaged.push(await engage(request));
          const before = verdicts();
          for (const request of drills) await engage({ ...request, drill: true });
          expect(verdicts()).toEqual(before);
          for (const { id } of engaged) await release(id);
          expect(verdicts().every((id) => id === null)).toBe(true);
        },
      ),
      { numRuns: 15 },
    );
  });
});
