import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, queryAsOwner, type TestDatabase } from '../../../../test/support/database.ts';
import { operatorOf } from '../../../../test/support/identity.ts';
import { publicWorkflowsMax, publicWorkflowsPerProjectMax } from '../../base/telemetry-limits.ts';
import { controlWrite } from '../../pg/tx.ts';
import { PublicBoardMaker } from './public-board-maker.ts';
import { PublicBoards } from './public-board.ts';
import { PublishedWorkflows } from './published-service.ts';

let db: TestDatabase;
let published: PublishedWorkflows;

beforeAll(async () => {
  db = await createTestDatabase();
  published = new PublishedWorkflows(db.pool);
  await controlWrite(db.pool, (tx, version) =>
    tx.query(
      `INSERT INTO projects (id, name, control_version)
       SELECT 'prj_' || n, 'p' || n, $1 FROM generate_series(0, 9) AS n`,
      [version],
    ),
  );
});
afterAll(() => db.drop());

const publish = (workflow: string, title: string, projectId = 'prj_0') =>
  published.publish(operatorOf(projectId), 'req_1', { projectId, workflow, title }).then(({ result }) => result);

describe('a title on the public leaderboard', () => {
  it('is no look-alike of another one', async () => {
    expect(await publish('w', '  Fixing  \u00a0 b\uFF55gs ')).toMatchObject({ title: 'Fixing bugs' });
    for (const title of ['Fixing bugs', 'fixing BUGS', 'Fixing  bugs', 'Fixing\u00a0bugs', '\uFF26ixing bugs'])
      await expect(publish('other', title, 'prj_1'), title).rejects.toMatchObject({ code: 'conflict' });
    for (const title of ['Fixing bugs\uFE0F', 'Fix\u034Fing bugs', 'Fixing bugs\u3164', '\u{E0100}x'])
      await expect(publish('other', title, 'prj_1'), title).rejects.toMatchObject({ members: { param: 'title' } });
    // Its own it may write otherwise.
    expect(await publish('w', 'fixing bugs')).toMatchObject({ title: 'fixing bugs' });
    await published.unpublish(operatorOf('prj_0'), 'req_1', { projectId: 'prj_0', workflow: 'w' });
  });

  it('takes one of the places that its project has, of which no project has all', async () => {
    for (let n = 0; n < publicWorkflowsPerProjectMax; n++) await publish(`w${n}`, `title ${n}`);
    await expect(publish('more', 'more')).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('of this project'),
    });
    expect(await publish('w0', 'another title')).toMatchObject({ title: 'another title' });
    expect(await publish('w', 'theirs', 'prj_1')).toMatchObject({ title: 'theirs' });
    await queryAsOwner(
      db,
      `INSERT INTO published_workflows (project_id, workflow, title, published_by, control_version)
       SELECT 'prj_' || 2 + n / 20, 'w' || n, 'taken ' || n, 'test', 1 FROM generate_series(1, $1::int - $2::int - 1) AS n`,
      [publicWorkflowsMax, publicWorkflowsPerProjectMax],
    );
    await expect(publish('last', 'last', 'prj_1')).rejects.toMatchObject({
      message: expect.stringMatching(/^100 work/),
    });
    await queryAsOwner(db, 'DELETE FROM published_workflows');
  });
});

it('the public leaderboard goes on with every workflow but the one that fails, which stays as it was, and is logged', async () => {
  const logged: unknown[] = [];
  const boards = new PublicBoards();
  let [nowMs, monotonic] = [Date.UTC(2026, 9, 2, 12), 0];
  const maker = new PublicBoardMaker(boards, { monotonic: () => monotonic }, () => nowMs, {
    error: (of: unknown) => logged.push(of),
  });
  const workflows = ['a', 'broken', 'z'];
  for (const workflow of workflows) {
    await publish(workflow, workflow, 'prj_0');
    await db.pool.query(
      `INSERT INTO prompt_versions (id, project_id, workflow, digest, label, label_confirmed, registered_by)
       VALUES ('prm_' || $1, 'prj_0', $1, repeat('a', 64), 'v', true, 'test')`,
      [workflow],
    );
  }
  const end = (runs: number, day: string) =>
    db.pool.query(
      `INSERT INTO version_days SELECT 'prj_0', w, repeat('a', 64), '', $2, $1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM unnest($3::text[]) AS w`,
      [runs, day, workflows],
    );
  (await maker.load(db.pool, 0n))();
  const make = async () => {
    monotonic += 60_000;
    await maker.makeIfDue(db.pool);
    const { madeAt, workflows: shown } = boards.current();
    return { madeAt, runs: shown.map(({ title, entries }) => [title, entries[0]?.runs]) };
  };
  await end(10, '2026-10-01');
  const first = nowMs;
  expect(await make()).toEqual({ madeAt: first, runs: workflows.map((title) => [title, 10]) });
  nowMs += 86_400_000;
  await end(5, '2026-10-02');
  await queryAsOwner(
    db,
    `ALTER TABLE public_steps ADD CONSTRAINT breaks CHECK (workflow <> 'broken' OR day < '2026-10-02')`,
  );
  const runs = [
    ['a', 15],
    ['broken', 10],
    ['z', 15],
  ];
  // Its time is that of what was made longest ago.
  expect(await make()).toEqual({ madeAt: first, runs });
  expect(logged).toEqual([expect.objectContaining({ workflow: 'broken', project_id: 'prj_0' })]);
  await queryAsOwner(db, 'ALTER TABLE public_steps DROP CONSTRAINT breaks');
  expect(await make()).toEqual({ madeAt: nowMs, runs: workflows.map((title) => [title, 15]) });
});
