import { setTimeout as sleep } from 'node:timers/promises';
import { Code, ConnectError, createClient, type Client, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { exportsPerProjectMax } from '../server/src/base/telemetry-limits.ts';
import { ExportKind, ExportService, type ExportSummary } from '../server/src/gen/portcullis/v1/export_pb.ts';
import { type CuttingLink, openCuttingLink } from './support/cutting-link.ts';
import { bearer } from './support/doors.ts';
import {
  appendedRows,
  type Kind,
  nameOf,
  type Owner,
  standingRows,
  writeExportedRows,
} from './support/exported-rows.ts';
import { startGate, type TestGate } from './support/gate.ts';

const each = 150;

let gate: TestGate;
let replica: TestGate;
let owner: Owner;
let key: string;
/** Somebody whose rows nobody adds to. */
let still: { readonly owner: Owner; readonly key: string };
let links: { readonly http: CuttingLink; readonly grpc: CuttingLink };

beforeAll(async () => {
  gate = await startGate();
  replica = await startGate({ database: gate.database });
  ({ owner, key } = await newOwner('exported'));
  await writeExportedRows(gate.database.pool, owner, each);
  await oneOfEach();
  still = await newOwner('still');
  await writeExportedRows(gate.database.pool, still.owner, each);
  links = { http: await openCuttingLink(gate.url), grpc: await openCuttingLink(gate.grpcUrl) };
});
afterAll(async () => {
  await links?.http.close();
  await links?.grpc.close();
  await replica?.stop();
  await gate?.stop();
});

async function newOwner(name: string): Promise<{ owner: Owner; key: string }> {
  const { project } = await gate.api<{ project: { id: string } }>('ProjectService/CreateProject', { name });
  const projectId = project.id;
  const made = await gate.api<{ agent: { id: string } }>('AgentService/CreateAgent', { name, projectId });
  return { owner: { projectId, agentId: made.agent.id }, key: await keyOf(projectId, ['admin:read']) };
}

async function keyOf(projectId: string, scopes: readonly string[]): Promise<string> {
  const request = { projectId, name: 'reader', kind: 'PRINCIPAL_KIND_OPERATOR', scopes };
  return (await gate.api<{ secret: string }>('AgentService/CreateKey', request)).secret;
}

/** Of the kinds that are made by the API alone. */
async function oneOfEach(): Promise<void> {
  const { projectId } = owner;
  await gate.api('ProjectService/CreateTeam', { projectId, name: 'team' });
  await gate.api('ProjectService/CreatePerson', { projectId, name: 'Ada', email: 'ada@example.com' });
  const budget = {
    name: 'cap',
    unit: 'BUDGET_UNIT_USD',
    window: 'BUDGET_WINDOW_DAY',
    limitAmount: '5',
    timeZone: 'UTC',
  };
  await gate.api('BudgetService/CreateBudget', { projectId, ...budget, selector: {}, mode: 'BUDGET_MODE_ENFORCE' });
  const rule = { name: 'r', actions: ['models.invoke'], condition: 'resource.name == "x"', effect: 'RULE_EFFECT_DENY' };
  for (let n = 0; n < 6; n++) {
    const document = { rules: [{ ...rule, name: `r${n}` }] };
    await gate.api('PolicyService/SetPolicy', {
      projectId,
      document,
      stage: 'POLICY_STAGE_ENFORCED',
      etag: n === 0 ? '' : String(n),
    });
  }
  const stop = { scope: 'KILL_SCOPE_MODEL', value: 'never', reason: 'test', projectId };
  await gate.api('PolicyService/EngageKillSwitch', stop);
  await gate.database.pool.query(
    `INSERT INTO prompt_versions (id, project_id, workflow, digest, label, registered_by)
     VALUES ('prm_1', $1, 'flow', repeat('a', 64), 'one', 'test'), ('prm_2', $1, 'flow', repeat('b', 64), 'two', 'test')`,
    [projectId],
  );
  for (const workflow of ['flow', 'another']) {
    await gate.api('AnalyticsService/PublishWorkflow', { projectId, workflow, title: `${projectId} ${workflow}` });
  }
}

type Exports = Client<typeof ExportService>;

function clientOf(transport: Transport): Exports {
  return createClient(ExportService, transport);
}

/** What was told, by kind, in the order in which it came. */
interface Told {
  readonly names: Map<Kind, string[]>;
  position: string;
  summary: ExportSummary | undefined;
}

const nothing = (): Told => ({ names: new Map(), position: '', summary: undefined });

/** Reads on until the end or a break. */
async function read(client: Exports, told: Told, more: object = {}, secret = key): Promise<void> {
  const request = { position: told.position, ...more };
  for await (const message of client.exportState(request, { headers: bearer(secret) })) {
    told.summary = message.summary;
    if (message.summary) return;
    for (const { record } of message.records) {
      const kind = record.case as Kind;
      told.names.set(kind, [...(told.names.get(kind) ?? []), nameOf(kind, record.value as object)]);
    }
    told.position = message.position;
  }
}

const sorted = (names: readonly string[] | undefined) => (names ?? []).toSorted();

function snapshotIn(position: string): string {
  const text = Buffer.from(position, 'base64url').subarray(16).toString();
  return (JSON.parse(text) as { snapshot: string }).snapshot;
}

/** That all was told which stood there before, once, and of the ledger and of events nothing else. */
async function expectWhole(told: Told, before: Map<Kind, string[]>, projectId: string): Promise<void> {
  const after = await standingRows(gate.database, projectId);
  for (const [kind, names] of before) {
    const heard = told.names.get(kind) ?? [];
    const once = new Set(heard);
    expect(once.size, `${kind}: repeated`).toBe(heard.length);
    expect(
      names.filter((name) => !once.has(name)),
      `${kind}: lost`,
    ).toEqual([]);
    const known = new Set(after.get(kind));
    expect(
      heard.filter((name) => !known.has(name)),
      `${kind}: made up`,
    ).toEqual([]);
  }
  for (const [kind, names] of await appendedRows(gate.database, projectId, snapshotIn(told.position))) {
    expect(sorted(told.names.get(kind)), kind).toEqual(sorted(names));
  }
  const counts = (told.summary?.counts ?? []).map(({ records }) => Number(records));
  const all = [...told.names.values()].reduce((sum, names) => sum + names.length, 0);
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(
    all + 1 - (told.names.get('project' as Kind)?.length ?? 0),
  );
}

/** Writes rows of all kinds, until it is told to stop. */
function keepWriting(): () => Promise<void> {
  const over = new AbortController();
  const written = (async () => {
    while (!over.signal.aborted) {
      await writeExportedRows(gate.database.pool, owner, 3);
      await sleep(20);
    }
  })();
  return async () => {
    over.abort();
    await written;
  };
}

/** With how many bytes pass at most before a cut: gRPC's are not compressed. */
const protocols: readonly [string, number, (link: typeof links) => readonly [CuttingLink, Transport]][] = [
  ['Connect, JSON', 20_000, ({ http }) => [http, createConnectTransport({ baseUrl: http.url, httpVersion: '1.1' })]],
  [
    'Connect, binary',
    20_000,
    ({ http }) => [http, createConnectTransport({ baseUrl: http.url, httpVersion: '1.1', useBinaryFormat: true })],
  ],
  ['gRPC', 80_000, ({ grpc }) => [grpc, createGrpcTransport({ baseUrl: grpc.url })]],
];

describe.each(protocols)('an export over %s', (_, bytesMax, over) => {
  test('that is cut at any bytes while rows are written tells what stood there at its begin once', async () => {
    let cuts = 0;
    await fc.assert(
      fc.asyncProperty(fc.infiniteStream(fc.integer({ min: 1, max: bytesMax })), async (offsets) => {
        const [link] = over(links);
        const before = await standingRows(gate.database, owner.projectId);
        // A transaction that began before, and ends while the export is under way: what it wrote did not stand there.
        const open = await gate.database.pool.connect();
        await open.query('BEGIN');
        await writeExportedRows(open, owner, 5);
        const stopWriting = keepWriting();
        const told = nothing();
        const cutsBefore = link.cuts;
        try {
          let tries = 0;
          for (const offset of offsets) {
            // Further and further, so that a message comes through in the end, whatever its size.
            link.cutAfter(Math.ceil(offset * (1 + tries++ / 10)));
            // A connection of its own each time.
            const [, transport] = over(links);
            await read(clientOf(transport), told).catch(() => undefined);
            if (told.summary) break;
            if (link.cuts - cutsBefore === 5) await open.query('COMMIT');
          }
        } finally {
          await open.query('COMMIT');
          open.release();
          await stopWriting();
        }
        cuts += link.cuts - cutsBefore;
        await expectWhole(told, before, owner.projectId);
      }),
      { numRuns: 6, endOnFailure: true },
    );
    expect(cuts).toBeGreaterThan(10);
  }, 240_000);
});

test('begins at one replica and goes on at another', async () => {
  const before = await standingRows(gate.database, still.owner.projectId);
  const clients = [gate, replica].map(({ url }) =>
    clientOf(createConnectTransport({ baseUrl: url, httpVersion: '1.1' })),
  );
  const told = nothing();
  for (let turn = 0; !told.summary; turn++) {
    const client = clients[turn % 2]!;
    const request = { position: told.position };
    const leaving = new AbortController();
    const options = { headers: bearer(still.key), signal: leaving.signal };
    for await (const message of client.exportState(request, options)) {
      told.summary = message.summary;
      for (const { record } of message.records) {
        const kind = record.case as Kind;
        told.names.set(kind, [...(told.names.get(kind) ?? []), nameOf(kind, record.value as object)]);
      }
      if (!message.summary) told.position = message.position;
      break;
    }
    leaving.abort();
  }
  expect(told.summary).toBeDefined();
  await expectWhole(told, before, still.owner.projectId);
});

test('the kinds that are asked for alone, and all the same when it is resumed', async () => {
  const client = clientOf(createGrpcTransport({ baseUrl: gate.grpcUrl }));
  const told = nothing();
  await read(client, told, { kinds: [ExportKind.NOTE, ExportKind.TEAM] });
  expect([...told.names.keys()]).toEqual(['team', 'note']);
  const again = { ...nothing(), position: told.position };
  await read(client, again);
  expect(again.summary?.counts.map(({ kind }) => kind)).toEqual([ExportKind.TEAM, ExportKind.NOTE]);
  const other = read(client, { ...nothing(), position: told.position }, { kinds: [ExportKind.TASK] });
  await expect(other).rejects.toMatchObject({ code: Code.InvalidArgument });
});

test('has no secret of any key in it', async () => {
  const client = clientOf(createGrpcTransport({ baseUrl: gate.grpcUrl }));
  const texts: string[] = [];
  for await (const { records } of client.exportState({ kinds: [ExportKind.KEY] }, { headers: bearer(key) })) {
    texts.push(JSON.stringify(records, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value)));
  }
  expect(texts.join('')).toContain(key.split('_')[1]!);
  expect(texts.join('')).not.toContain(key.split('_')[2]!);
});

describe('is refused', () => {
  const over = (url = gate.url) => clientOf(createConnectTransport({ baseUrl: url, httpVersion: '1.1' }));
  const refusal = async (more: object, secret: string): Promise<ConnectError> =>
    read(over(), nothing(), more, secret).then(
      () => Promise.reject(new Error('it was not refused')),
      (thrown: unknown) => ConnectError.from(thrown),
    );
  const begun = async () => {
    const { rows } = await gate.database.pool.query<{ count: bigint }>(
      "SELECT count(*) FROM audit_entries WHERE action = 'export.begun'",
    );
    return rows[0]?.count;
  };

  test('without a credential or its scope, and its handler is never entered', async () => {
    const before = await begun();
    expect((await refusal({}, 'pcl_none')).code).toBe(Code.Unauthenticated);
    const lesser = await keyOf(owner.projectId, ['telemetry:read', 'runs:write', 'tasks:write', 'policy:read']);
    expect((await refusal({}, lesser)).code).toBe(Code.PermissionDenied);
    expect((await refusal({ projectId: 'prj_other' }, key)).code).toBe(Code.PermissionDenied);
    expect(await begun()).toBe(before);
  });

  test('at a position of another project, of another method, or of nobody', async () => {
    const told = nothing();
    await read(over(), told, { kinds: [ExportKind.TASK] });
    const stranger = await newOwner('stranger');
    const page = await gate.api<{ nextPageToken: string }>('JournalService/ListTasks', {
      projectId: owner.projectId,
      pageSize: 1,
    });
    const flipped = Buffer.from(told.position, 'base64url');
    flipped[40]! ^= 1;
    for (const [position, secret] of [
      [told.position, stranger.key],
      [page.nextPageToken, key],
      [flipped.toString('base64url'), key],
      ['AAAA', key],
    ] as const) {
      const error = await refusal({ position }, secret);
      expect([error.code, error.rawMessage]).toEqual([Code.InvalidArgument, expect.stringMatching(/^position is not/)]);
    }
  });
});

test('an attempt that came after the begin is not told, also where there was none before', async () => {
  const client = clientOf(createConnectTransport({ baseUrl: gate.url, httpVersion: '1.1' }));
  const empty = await newOwner('empty');
  const told = nothing();
  const leaving = new AbortController();
  const options = { headers: bearer(empty.key), signal: leaving.signal };
  const kinds = [ExportKind.PROJECT, ExportKind.ATTEMPT];
  for await (const { position } of client.exportState({ kinds }, options)) {
    told.position = position;
    break;
  }
  leaving.abort();
  await writeExportedRows(gate.database.pool, empty.owner, 5);
  await read(client, told, {}, empty.key);
  expect(told.names.get('attempt')).toBeUndefined();
  expect(told.summary?.counts).toMatchObject([{ records: 1n }, { records: 0n }]);
});

test('begin and end of each stream stand in the audit log, with what was told', async () => {
  const { owner: small, key: secret } = await newOwner('audited');
  const entries = async () => {
    const { rows } = await gate.database.pool.query<{
      action: string;
      payload: { complete?: boolean; records?: object };
    }>("SELECT action, payload FROM audit_entries WHERE target = $1 AND action LIKE 'export.%' ORDER BY at", [
      small.projectId,
    ]);
    return rows;
  };
  const client = clientOf(createConnectTransport({ baseUrl: gate.url, httpVersion: '1.1' }));
  await read(client, nothing(), {}, secret);
  expect(await entries()).toMatchObject([
    { action: 'export.begun', payload: { resumed: false } },
    { action: 'export.ended', payload: { complete: true, records: { project: 1, agent: 1, key: 1 } } },
  ]);
  const leaving = new AbortController();
  const options = { headers: bearer(secret), signal: leaving.signal };
  await client.exportState({}, options)[Symbol.asyncIterator]().next();
  leaving.abort();
  await expect
    .poll(async () => (await entries()).slice(2), { timeout: 20_000 })
    .toMatchObject([{ action: 'export.begun' }, { action: 'export.ended', payload: { complete: false } }]);
});

test('none of sixty that are left near their end keeps that end from the audit log', async () => {
  const { owner: small, key: secret } = await newOwner('leaving');
  const transport = createConnectTransport({ baseUrl: gate.url, httpVersion: '1.1' });
  for (let n = 0; n < 60; n++) {
    const leaving = new AbortController();
    const options = { headers: bearer(secret), signal: leaving.signal };
    const stream = clientOf(transport).exportState({ kinds: [ExportKind.AGENT] }, options);
    await stream[Symbol.asyncIterator]().next();
    await sleep(n / 20);
    leaving.abort();
  }
  const count = async (action: string) => {
    const { rows } = await gate.database.pool.query<{ count: bigint }>(
      'SELECT count(*) FROM audit_entries WHERE target = $1 AND action = $2',
      [small.projectId, action],
    );
    return Number(rows[0]?.count);
  };
  await expect.poll(() => count('export.ended'), { timeout: 10_000 }).toBe(60);
  expect(await count('export.begun')).toBe(60);
});

describe('of much, that is not read on', () => {
  let heavy: Awaited<ReturnType<typeof newOwner>>;
  beforeAll(async () => {
    heavy = await newOwner('heavy');
    await gate.database.pool.query(
      `INSERT INTO notes (id, project_id, title, body, tags, created_by)
       SELECT 'note_' || n, $1, 'long', repeat('x', 200000), '{}', 'test' FROM generate_series(1, 100) AS n`,
      [heavy.owner.projectId],
    );
  });

  /** A stream of which the first message was read. */
  async function begin(at: TestGate, signal: AbortSignal, secret = heavy.key) {
    const transport = createConnectTransport({ baseUrl: at.url, httpVersion: '1.1', acceptCompression: [] });
    const stream = clientOf(transport).exportState({ kinds: [ExportKind.NOTE] }, { headers: bearer(secret), signal });
    const messages = stream[Symbol.asyncIterator]();
    return { first: await messages.next(), messages };
  }

  test('some are under way at once, and no more until one of them is left', async () => {
    const leaving = Array.from({ length: exportsPerProjectMax }, () => new AbortController());
    for (const { signal } of leaving) await begin(gate, signal);
    const more = () => begin(gate, AbortSignal.timeout(30_000));
    await expect(more()).rejects.toMatchObject({ code: Code.ResourceExhausted });
    leaving[0]?.abort();
    await vi.waitFor(more, { timeout: 20_000 });
    for (const each of leaving) each.abort();
  });

  const readOn = async (messages: AsyncIterator<{ readonly records: readonly unknown[] }>) => {
    let records = 0;
    for (let next = await messages.next(); next.done !== true; next = await messages.next())
      records += next.value.records.length;
    return records;
  };

  test('tells nothing more when its key is revoked', async () => {
    const secret = await keyOf(heavy.owner.projectId, ['admin:read']);
    const { messages } = await begin(gate, AbortSignal.timeout(60_000), secret);
    await gate.api('AgentService/RevokeKey', { projectId: heavy.owner.projectId, keyId: secret.split('_')[1] });
    await expect(readOn(messages)).rejects.toMatchObject({ code: Code.Unauthenticated });
  });

  test('tells nothing more when its person loses the role that it takes, and goes on when they lost none', async () => {
    const { projectId } = heavy.owner;
    const give = (personId: string, roles: string[]) =>
      gate.api('ProjectService/UpdatePerson', { projectId, personId, roles: { roles }, updateMask: 'roles' });
    const of = async (name: string) => {
      const { person } = await gate.api<{ person: { id: string } }>('ProjectService/CreatePerson', {
        projectId,
        name,
        email: `${name}@example.com`,
      });
      await give(person.id, ['PERSON_ROLE_AUDITOR']);
      const request = { projectId, name, kind: 'PRINCIPAL_KIND_OPERATOR', personId: person.id, scopes: ['admin:read'] };
      const { secret } = await gate.api<{ secret: string }>('AgentService/CreateKey', request);
      return { personId: person.id, ...(await begin(gate, AbortSignal.timeout(60_000), secret)) };
    };
    const demoted = await of('demoted');
    const promoted = await of('promoted');
    await give(demoted.personId, ['PERSON_ROLE_DEVELOPER']);
    await give(promoted.personId, ['PERSON_ROLE_AUDITOR', 'PERSON_ROLE_DEVELOPER']);
    await expect(readOn(demoted.messages)).rejects.toMatchObject({ code: Code.Unauthenticated });
    expect(await readOn(promoted.messages)).toBeGreaterThan(90);
  });

  test('is not stopped by a kill switch, which is for calls of models', async () => {
    const { projectId } = heavy.owner;
    const { messages } = await begin(gate, AbortSignal.timeout(60_000));
    const stop = { scope: 'KILL_SCOPE_PROJECT', value: projectId, reason: 'test', projectId };
    await gate.api('PolicyService/EngageKillSwitch', stop);
    expect(await readOn(messages)).toBeGreaterThan(90);
  });

  test('ends at the stop of its gate with the advice to resume, and goes on at another', async () => {
    const leaving = await startGate({ database: gate.database });
    try {
      const { messages } = await begin(leaving, AbortSignal.timeout(60_000));
      const stopped = leaving.end();
      let position = '';
      const rest = (async () => {
        for (let next = await messages.next(); next.done !== true; next = await messages.next()) {
          ({ position } = next.value);
        }
      })();
      await expect(rest).rejects.toMatchObject({
        code: Code.Unavailable,
        rawMessage: expect.stringContaining('resume'),
      });
      await stopped;
      const told = { ...nothing(), position };
      await read(clientOf(createConnectTransport({ baseUrl: gate.url, httpVersion: '1.1' })), told, {}, heavy.key);
      expect(told.summary?.counts).toMatchObject([{ kind: ExportKind.NOTE, records: 100n }]);
    } finally {
      await leaving.stop();
    }
  });
});
