import { Code, ConnectError } from '@connectrpc/connect';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ControlApi, startControlApi } from '../../../test/support/control-api.ts';
import { ProviderType } from '../gen/portcullis/v1/budget_pb.ts';
import { ChangelogCategory, JournalService, TaskStatus } from '../gen/portcullis/v1/journal_pb.ts';
import {
  journalBytesPerDayMax,
  journalTextBytesMax,
  journalTitleBytesMax,
  journalWritesPerDayMax,
} from '../base/telemetry-limits.ts';

let api: ControlApi;
let projectId: string;
let key: string;

beforeAll(async () => {
  api = await startControlApi();
  projectId = await api.newProject();
  key = await api.newKey(projectId, ['tasks:write', 'telemetry:write', 'telemetry:read']);
});
afterAll(() => api.stop());

const journal = (as: string = key, protocol?: 'connect-binary') => api.client(JournalService, as, protocol);

async function newTask(more: object = {}) {
  const { task } = await journal().createTask({ title: 'a task', ...more });
  return task!;
}

async function refusal(call: Promise<unknown>): Promise<{ code: Code; message: string }> {
  const error = await call.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ConnectError);
  const { code, rawMessage } = error as ConnectError;
  return { code, message: rawMessage };
}

async function audited(target: string): Promise<{ action: string; payload: unknown }[]> {
  const { rows } = await api.db.pool.query<{ action: string; payload: unknown }>(
    'SELECT action, payload FROM audit_entries WHERE target = $1 ORDER BY at',
    [target],
  );
  return rows;
}

describe('a task', () => {
  test('is changed where the mask says, and cleared where it names what is not given', async () => {
    const made = await newTask({ details: 'many words', tags: ['one'], status: TaskStatus.BLOCKED });
    const update = (change: object, ...paths: string[]) =>
      journal().updateTask({ taskId: made.id, updateMask: { paths }, ...change });
    expect((await update({ status: TaskStatus.DONE }, 'status')).task).toMatchObject({
      details: 'many words',
      status: TaskStatus.DONE,
      tags: ['one'],
    });
    const { task: cleared } = await update({}, 'details', 'tags');
    expect(cleared).toMatchObject({ title: 'a task', details: '', tags: [], status: TaskStatus.DONE });
    expect((await journal().getTask({ taskId: made.id })).task).toEqual(cleared);
    expect((await refusal(update({}, 'title'))).code).toBe(Code.InvalidArgument);
    expect((await refusal(update({}, 'created_by'))).code).toBe(Code.InvalidArgument);
    expect((await refusal(update({ title: 'x' }, 'details'))).message).toBe(
      'title is given but not named in update_mask.',
    );
  });

  test('that is changed from one etag by twenty callers at once is changed by one', async () => {
    const { id: taskId, etag } = await newTask();
    const changes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, n) =>
        journal().updateTask({ taskId, etag, title: `by ${n}`, updateMask: { paths: ['title'] } }),
      ),
    );
    const won = changes.flatMap((change) => (change.status === 'fulfilled' ? [change.value.task] : []));
    expect(won).toHaveLength(1);
    const lost = changes.flatMap((change) =>
      change.status === 'rejected' ? [ConnectError.from(change.reason).code] : [],
    );
    expect(new Set(lost)).toEqual(new Set([Code.AlreadyExists]));
    expect((await journal().getTask({ taskId })).task).toEqual(won[0]);
    expect((await audited(taskId)).map(({ action }) => action)).toEqual(['task.created', 'task.updated']);
    const stale = await refusal(journal().deleteTask({ taskId, etag }));
    expect(stale.code).toBe(Code.AlreadyExists);
    expect(stale.message).toContain('its etag is "2" now');
    await journal().deleteTask({ taskId, etag: won[0]!.etag });
    expect((await refusal(journal().getTask({ taskId }))).code).toBe(Code.NotFound);
  });

  test('leaves in the audit log what changed of it, without its details, and nothing where nothing did', async () => {
    const { id: taskId, etag } = await newTask({ details: 'confidential', tags: ['a'] });
    const same = { title: 'a task', tags: ['A '], updateMask: { paths: ['title', 'tags'] } };
    expect((await journal().updateTask({ taskId, ...same })).task?.etag).toBe(etag);
    const change = { details: 'secret', tags: ['b'], updateMask: { paths: ['details', 'tags'] } };
    await journal().updateTask({ taskId, ...change });
    await journal().deleteTask({ taskId });
    expect(await audited(taskId)).toEqual([
      { action: 'task.created', payload: { status: 'todo' } },
      {
        action: 'task.updated',
        payload: { changed: ['details', 'tags'], before: { tags: ['a'] }, after: { tags: ['b'] } },
      },
      { action: 'task.deleted', payload: { title: 'a task', status: 'todo' } },
    ]);
  });

  test('of another project does not exist, for reading and for writing', async () => {
    const { id: taskId } = await newTask();
    const stranger = journal(await api.newKey(await api.newProject(), ['tasks:write']));
    const refused = await Promise.all([
      refusal(stranger.getTask({ taskId })),
      refusal(stranger.deleteTask({ taskId })),
      refusal(stranger.updateTask({ taskId, title: 'mine', updateMask: { paths: ['title'] } })),
    ]);
    expect(new Set(refused.map(({ code }) => code))).toEqual(new Set([Code.NotFound]));
    expect((await refusal(stranger.listTasks({ projectId }))).code).toBe(Code.PermissionDenied);
  });
});

test('tags are trimmed, in lower case, each once, in the order in which they came', async () => {
  const tag = fc.string({ unit: fc.constantFrom('a', 'B', 'ß', ' ', '-', '日'), minLength: 1, maxLength: 6 });
  const tags = fc.array(
    tag.filter((text) => text.trim() !== ''),
    { maxLength: 20 },
  );
  await fc.assert(
    fc.asyncProperty(tags, async (given) => {
      const { task } = await journal().createTask({ title: 't', tags: given });
      const folded = given.map((text) => text.trim().toLowerCase());
      expect(task?.tags).toEqual(folded.filter((text, at) => folded.indexOf(text) === at));
    }),
    { numRuns: 30 },
  );
  for (const bad of [[' '], ['two\nlines'], ['x'.repeat(51)], Array.from({ length: 21 }, String)]) {
    expect((await refusal(journal().createTask({ title: 't', tags: bad }))).code).toBe(Code.InvalidArgument);
  }
});

const hostile = [
  '<script>alert(1)</script><img src=x onerror=alert(1)>',
  "'; DROP TABLE tasks; --",
  '\u001b[2J\u001b]0;owned\u0007\u009b31m',
  'abc\u202edcba\u2066\u200b\ufeff',
  ' \t\r\n leading and trailing \n\n',
  '\u0001\u0002\u007f\u0085\u2028\u2029',
  '{"a":"\\u0000"} %s $1 {{x}} ${x}',
  '日本語 🏴󠁧󠁢󠁥󠁮󠁧󠁿 e\u0301',
  'x'.repeat(journalTextBytesMax),
  '\u0001'.repeat(journalTextBytesMax),
];

test.each(hostile.map((text) => [JSON.stringify(text).slice(0, 40), text]))(
  'text stays as it came, over JSON and binary: %s',
  async (_, text) => {
    for (const protocol of [undefined, 'connect-binary'] as const) {
      const client = journal(key, protocol);
      // A request in JSON has room for less, where each character is escaped.
      if (protocol === undefined && JSON.stringify(text).length > 1_000_000) continue;
      const { task } = await client.createTask({ title: 'hostile', details: text });
      const { note } = await client.createNote({ title: 'hostile', body: text });
      const { entry } = await client.appendChangelog({ summary: 'hostile', details: text });
      expect([task?.details, note?.body, entry?.details]).toEqual([text, text, text]);
      for (const reader of [journal(), journal(key, 'connect-binary')]) {
        expect((await reader.getTask({ taskId: task!.id })).task?.details).toBe(text);
        expect((await reader.listTasks({ pageSize: 1 })).tasks[0]?.details).toBe(text);
        expect((await reader.listNotes({ pageSize: 1 })).notes[0]?.body).toBe(text);
        expect((await reader.listChangelog({ pageSize: 1 })).entries[0]?.details).toBe(text);
      }
    }
  },
);

test('what cannot be kept as it came is refused by name', async () => {
  const long = 'é'.repeat(journalTextBytesMax / 2 + 1);
  const cases: [object, string][] = [
    [{ title: 't', details: 'a\0b' }, 'details must not contain a zero byte.'],
    [{ title: 'a\0', details: '' }, 'title must not contain a zero byte.'],
    [{ title: ' \n ' }, 'title must not be empty.'],
    [{ title: 'é'.repeat(journalTitleBytesMax / 2 + 1) }, 'title must have at most 1000 bytes in UTF-8.'],
    [{ title: 't', details: long }, 'details must have at most 262144 bytes in UTF-8.'],
  ];
  for (const [request, message] of cases) {
    expect(await refusal(journal().createTask(request))).toEqual({ code: Code.InvalidArgument, message });
  }
  const halves = await api.post('JournalService/CreateTask', key, '{"title":"a \\ud800 b"}');
  expect(halves.status).toBe(400);
  const megabyte = await api.post(
    'JournalService/CreateTask',
    key,
    JSON.stringify({ title: 't', details: 'x'.repeat(1_000_000) }),
  );
  expect([megabyte.status, JSON.stringify(megabyte.body)]).toEqual([400, expect.stringContaining('details')]);
});

test('a page of long texts has fewer than were asked for, and pages tell all of them once', async () => {
  const own = await api.newProject();
  const client = journal(await api.newKey(own, ['tasks:write']));
  const bodies = Array.from({ length: 12 }, (_, n) => String.fromCharCode(97 + n).repeat(100_000));
  for (const body of bodies) await client.createNote({ title: body.slice(0, 3), body });
  const told: string[] = [];
  let pages = 0;
  let pageToken = '';
  do {
    const page = await client.listNotes({ pageSize: 500, pageToken });
    told.push(...page.notes.map(({ title }) => title));
    pageToken = page.nextPageToken;
    pages++;
  } while (pageToken !== '');
  expect(told).toEqual(bodies.map((body) => body.slice(0, 3)).toReversed());
  expect(pages).toBeGreaterThan(1);
});

test('lists are pages, newest first, by status, category and workflow where asked', async () => {
  const own = await api.newProject();
  const client = journal(await api.newKey(own, ['tasks:write', 'telemetry:write', 'telemetry:read']));
  const statuses = [TaskStatus.TODO, TaskStatus.DONE];
  const categories = [ChangelogCategory.POLICY, ChangelogCategory.INFRA];
  const measured = { providerType: ProviderType.API, model: 'm', latencyMs: 1.5, costNanousd: 7n };
  for (let n = 0; n < 10; n++) {
    await client.createTask({ title: `t${n}`, status: statuses[n % 2]! });
    await client.appendChangelog({ summary: `c${n}`, category: categories[n % 2]! });
    await client.recordBenchmark({ ...measured, workflow: `w${n % 2}`, notes: `b${n}` });
  }
  type Page = { readonly nextPageToken: string };
  const all = async <A extends Page>(read: (page: { pageSize: number; pageToken: string }) => Promise<A>) => {
    const pages: A[] = [];
    for (let pageToken = ''; pages.length === 0 || pageToken !== ''; pageToken = pages.at(-1)!.nextPageToken)
      pages.push(await read({ pageSize: 3, pageToken }));
    return pages;
  };
  const down = (text: string, ...numbers: number[]) => numbers.map((n) => `${text}${n}`);
  const every = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0];
  const titles = (pages: { tasks: { title: string }[] }[]) => pages.flatMap(({ tasks }) => tasks.map((t) => t.title));
  expect(titles(await all((page) => client.listTasks(page)))).toEqual(down('t', ...every));
  const done = { status: TaskStatus.DONE };
  expect(titles(await all((page) => client.listTasks({ ...page, ...done })))).toEqual(down('t', 9, 7, 5, 3, 1));
  const policy = await all((page) => client.listChangelog({ ...page, category: ChangelogCategory.POLICY }));
  expect(policy.flatMap(({ entries }) => entries.map((e) => e.summary))).toEqual(down('c', 8, 6, 4, 2, 0));
  const ofWorkflow = await all((page) => client.listBenchmarks({ ...page, workflow: 'w1' }));
  expect(ofWorkflow.flatMap(({ benchmarks }) => benchmarks.map((b) => b.notes))).toEqual(down('b', 9, 7, 5, 3, 1));
  expect(ofWorkflow[0]?.benchmarks[0]).toMatchObject({ ...measured, workflow: 'w1', projectId: own });
  expect((await all((page) => client.listBenchmarks(page))).length).toBe(4);
});

test('an entry of the changelog is by who appended it, and stands in the audit log', async () => {
  const { entry } = await journal().appendChangelog({ summary: 'New prices', category: ChangelogCategory.MODEL });
  const { rows } = await api.db.pool.query<{ actor_id: string; actor_kind: string }>(
    'SELECT actor_id, actor_kind FROM audit_entries WHERE target = $1',
    [entry?.id],
  );
  expect(rows).toEqual([{ actor_id: entry?.actorId, actor_kind: entry?.actorKind }]);
  expect(entry).toMatchObject({ actorKind: 'operator', category: ChangelogCategory.MODEL });
});

test('a note is deleted in its project alone, and its making and its end stand in the audit log', async () => {
  const { note } = await journal().createNote({ title: 'on call', body: 'confidential' });
  const noteId = note!.id;
  const stranger = journal(await api.newKey(await api.newProject(), ['tasks:write']));
  expect((await refusal(stranger.deleteNote({ noteId }))).code).toBe(Code.NotFound);
  expect((await journal().deleteNote({ noteId })).note).toEqual(note);
  expect((await refusal(journal().deleteNote({ noteId }))).code).toBe(Code.NotFound);
  expect((await journal().listNotes({})).notes.map(({ id }) => id)).not.toContain(noteId);
  expect(await audited(noteId)).toEqual([
    { action: 'note.created', payload: {} },
    { action: 'note.deleted', payload: { title: 'on call' } },
  ]);
});

describe('what a caller writes in a day', () => {
  const callerId = async (as: string) => {
    const { entry } = await journal(as).appendChangelog({ summary: 'who' });
    return entry!.actorId;
  };
  const setWritten = (id: string, writes: number, bytes: number, day = 'today') =>
    api.db.pool.query('UPDATE journal_quotas SET writes = $2, bytes = $3, day = $4 WHERE caller_id = $1', [
      id,
      writes,
      bytes,
      new Date(Date.now() - (day === 'today' ? 0 : 86_400_000)).toISOString().slice(0, 10),
    ]);
  const writeAll = async (as: string, taskId: string) => {
    const text = 'x'.repeat(1000);
    const client = journal(as);
    const outcomes = await Promise.allSettled([
      client.createTask({ title: 't', details: text }),
      client.updateTask({ taskId, details: `${text}${Math.random()}`, updateMask: { paths: ['details'] } }),
      client.createNote({ title: 'n', body: text }),
      client.appendChangelog({ summary: 'c', details: text }),
      client.recordBenchmark({ workflow: 'w', providerType: ProviderType.API, model: 'm', notes: text }),
    ]);
    return outcomes.map((each) => (each.status === 'fulfilled' ? 'done' : ConnectError.from(each.reason).code));
  };
  const all = (outcome: unknown) => Array.from({ length: 5 }, () => outcome);

  test('is bounded in number and in bytes, for each caller apart, and begins anew with the day', async () => {
    const scopes = ['tasks:write', 'telemetry:write'];
    const [mine, other] = [await api.newKey(projectId, scopes), await api.newKey(projectId, scopes)];
    const id = await callerId(mine);
    const { id: taskId } = await newTask();
    await setWritten(id, journalWritesPerDayMax, 0);
    expect(await writeAll(mine, taskId)).toEqual(all(Code.ResourceExhausted));
    expect((await refusal(journal(mine).createNote({ title: 'n' }))).message).toMatch(/10000 times and 64 MiB a day/);
    expect(await writeAll(other, taskId)).toEqual(all('done'));
    await setWritten(id, 5, journalBytesPerDayMax - 500);
    expect(await writeAll(mine, taskId)).toEqual(all(Code.ResourceExhausted));
    await journal(mine).createNote({ title: 'short' });
    const { tasks } = await journal(mine).listTasks({ pageSize: 1 });
    await journal(mine).deleteTask({ taskId: tasks[0]!.id });
    await setWritten(id, journalWritesPerDayMax, journalBytesPerDayMax, 'yesterday');
    expect(await writeAll(mine, taskId)).toEqual(all('done'));
    const { rows } = await api.db.pool.query('SELECT writes FROM journal_quotas WHERE caller_id = $1', [id]);
    expect(rows).toEqual([{ writes: 5 }]);
  });

  test('is counted exactly, also when much comes at once, and what was refused is not', async () => {
    const as = await api.newKey(projectId, ['tasks:write']);
    const id = await callerId(as);
    await setWritten(id, journalWritesPerDayMax - 7, 0);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, n) => journal(as).createNote({ title: `${n}` })),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(7);
    const { rows } = await api.db.pool.query('SELECT writes FROM journal_quotas WHERE caller_id = $1', [id]);
    expect(rows).toEqual([{ writes: journalWritesPerDayMax }]);
  });
});

test('a benchmark has no measure that is none', async () => {
  const benchmark = { workflow: 'w', providerType: ProviderType.OPENSOURCE, model: 'm' };
  const cases: [object, string][] = [
    [{ latencyMs: Number.NaN }, 'latency_ms'],
    [{ latencyMs: Infinity }, 'latency_ms'],
    [{ latencyMs: -1 }, 'latency_ms'],
    [{ qualityScore: 1.01 }, 'quality_score'],
    [{ qualityScore: Number.NaN }, 'quality_score'],
    [{ inputTokens: -1n }, 'input_tokens'],
    [{ costNanousd: 2n ** 62n }, 'cost_nanousd'],
    [{ model: 'a\nb' }, 'model'],
  ];
  for (const [more, name] of cases) {
    const { code, message } = await refusal(journal().recordBenchmark({ ...benchmark, ...more }));
    expect([code, message]).toEqual([Code.InvalidArgument, expect.stringContaining(name)]);
  }
});

test('scopes are those of each method: reading the journal takes tasks:read, which tasks:write covers', async () => {
  const [reader, writer, teller] = await Promise.all(
    [['tasks:read'], ['tasks:write'], ['telemetry:write']].map(async (scopes) =>
      journal(await api.newKey(projectId, scopes)),
    ),
  );
  await reader!.listTasks({});
  await writer!.listNotes({});
  const benchmark = { workflow: 'w', providerType: ProviderType.API, model: 'm' };
  await teller!.recordBenchmark(benchmark);
  const refused = await Promise.all([
    refusal(reader!.createTask({ title: 't' })),
    refusal(reader!.listBenchmarks({})),
    refusal(writer!.recordBenchmark(benchmark)),
    refusal(teller!.listTasks({})),
  ]);
  expect(new Set(refused.map(({ code }) => code))).toEqual(new Set([Code.PermissionDenied]));
});
