import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { operator } from '../../../test/support/ledger.ts';
import { systemClock } from '../base/clock.ts';
import { IdentityIndex } from './identity-index.ts';
import { ProjectService } from './project-service.ts';

let db: TestDatabase;
let service: ProjectService;

beforeAll(async () => {
  db = await createTestDatabase();
  service = new ProjectService(db.pool);
});
afterAll(() => db.drop());

test('a project is strict until somebody relaxes it, and the data plane follows', async () => {
  const index = new IdentityIndex(systemClock);
  const { result: project, version } = await service.create(operator, 'req_1', { name: 'one' });
  expect(project.durability).toBe('strict');
  expect(index.durabilityOf(project.id)).toBe('strict');
  const relaxed = await service.update(operator, 'req_2', { id: project.id, name: undefined, durability: 'relaxed' });
  expect(relaxed.result).toEqual({ ...project, durability: 'relaxed' });
  (await index.load(db.pool, version))();
  expect(index.durabilityOf(project.id)).toBe('relaxed');
  expect(index.durabilityOf('prj_none')).toBe('strict');
  const strict = await service.update(operator, 'req_3', { id: project.id, name: 'two', durability: 'strict' });
  (await index.load(db.pool, relaxed.version))();
  expect(index.durabilityOf(project.id)).toBe('strict');
  expect(index.projectByName('two')).toEqual(strict.result);
});

test('the same change again leaves no entry in the audit log', async () => {
  const { result: project } = await service.create(operator, 'req_1', { name: 'again' });
  const change = { id: project.id, name: undefined, durability: 'relaxed' as const };
  const first = await service.update(operator, 'req_2', change);
  const second = await service.update(operator, 'req_3', change);
  expect(second.result).toEqual(first.result);
  const { rows } = await db.pool.query<{ action: string; request_id: string }>(
    'SELECT action, request_id FROM audit_entries WHERE target = $1 ORDER BY id',
    [project.id],
  );
  expect(rows).toEqual([
    { action: 'project.created', request_id: 'req_1' },
    { action: 'project.updated', request_id: 'req_2' },
  ]);
});

test('a name that is taken, none, or of a project that is not there is refused', async () => {
  const { result: project } = await service.create(operator, 'req_1', { name: 'mine' });
  await service.create(operator, 'req_1', { name: 'theirs' });
  const rename = (id: string, name: string) => service.update(operator, 'req_2', { id, name, durability: undefined });
  await expect(rename(project.id, 'theirs')).rejects.toMatchObject({ code: 'conflict' });
  await expect(rename(project.id, ' ')).rejects.toMatchObject({ code: 'invalid_argument', members: { param: 'name' } });
  await expect(rename('prj_none', 'any')).rejects.toMatchObject({ code: 'not_found' });
});

test('the database keeps no other durability', async () => {
  await expect(
    db.pool.query(`INSERT INTO projects (id, name, durability, control_version) VALUES ('prj_x', 'x', 'none', 1)`),
  ).rejects.toThrow(/projects_durability_check/);
});
