import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.ts';
import { operatorOf } from '../../../../test/support/identity.ts';
import { promptVersionsPerWorkflowMax } from '../../base/telemetry-limits.ts';
import type { Principal } from '../../identity/model.ts';
import type { Scope } from '../../identity/scopes.ts';
import { controlWrite } from '../../pg/tx.ts';
import { digestOfPrompt } from './model.ts';
import { PromptVersions } from './service.ts';

let db: TestDatabase;
let versions: PromptVersions;
const projectId = 'prj_a';
const by = { ...operatorOf(projectId), id: 'psn_1' };

beforeAll(async () => {
  db = await createTestDatabase();
  versions = new PromptVersions(db.pool);
  await controlWrite(db.pool, (tx, version) =>
    tx.query(`INSERT INTO projects (id, name, control_version) VALUES ('prj_a', 'a', $1), ('prj_b', 'b', $1)`, [
      version,
    ]),
  );
});
afterAll(() => db.drop());

type More = Partial<Parameters<PromptVersions['register']>[2]>;

const agent: Principal = { ...by, kind: 'agent', id: 'agt_1', scopes: new Set<Scope>(['runs:write']) };
const register = (label: string, content: string, more: More = {}) => registerAs(by, label, content, more);
const registerAs = (principal: Principal, label: string, content: string, more: More = {}) =>
  versions.register(principal, 'req_1', {
    projectId,
    workflow: 'fix',
    label,
    notes: '',
    digest: digestOfPrompt(content),
    ...more,
  });

describe('a version of a prompt', () => {
  it('is the SHA-256 of its content, registered once by any number of callers at once', async () => {
    const content = 'You fix bugs.\n\u{1F41B} Be brief.';
    const all = await Promise.all(Array.from({ length: 20 }, () => register('v1', content)));
    expect(new Set(all.map(({ id }) => id)).size).toBe(1);
    expect(all[0]).toMatchObject({
      workflow: 'fix',
      label: 'v1',
      digest: createHash('sha256').update(content, 'utf8').digest('hex'),
      registeredBy: 'psn_1',
    });
    const { rows } = await db.pool.query(`SELECT payload FROM audit_entries WHERE action = 'prompt.registered'`);
    expect(rows).toHaveLength(1);
    expect(JSON.stringify(rows)).not.toContain('bugs');
  });

  it('under another label, or another content under its label, is a conflict that says so', async () => {
    await register('v2', 'second');
    await expect(register('v2b', 'second')).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('"v2"'),
    });
    await expect(register('v2', 'third')).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining(digestOfPrompt('second').slice(0, 12)),
    });
    const raced = await Promise.allSettled(['x', 'y', 'z'].map((content) => register('raced', content)));
    expect(raced.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('is one in each workflow and project', async () => {
    const here = await register('v1', 'shared', { workflow: 'elsewhere' });
    const there = await register('v1', 'shared', { projectId: 'prj_b' });
    expect(here.id).not.toBe(there.id);
    await expect(register('v1', 'shared', { projectId: 'prj_none' })).rejects.toMatchObject({ code: 'not_found' });
  });

  it('is found by label or digest, in either case, and listed newest first', async () => {
    const found = await register('findable', 'find me', { workflow: 'lists', notes: 'a note' });
    const next = await register('next', 'next one', { workflow: 'lists' });
    expect(await versions.get(projectId, 'lists', 'findable')).toEqual(found);
    expect(await versions.get(projectId, 'lists', found.digest)).toEqual(found);
    expect(await versions.get(projectId, 'lists', found.digest.toUpperCase())).toEqual(found);
    await expect(versions.get(projectId, 'fix', 'findable')).rejects.toMatchObject({ code: 'not_found' });
    await expect(versions.get('prj_b', 'lists', found.digest)).rejects.toMatchObject({ code: 'not_found' });
    const page = await versions.list(projectId, 'lists', { pageSize: 1, cursor: null });
    const rest = await versions.list(projectId, 'lists', { pageSize: 1, cursor: page.nextCursor });
    expect([...page.items, ...rest.items].map(({ id }) => id)).toEqual([next.id, found.id].toSorted().toReversed());
    const all = await versions.list(projectId, null, { pageSize: 500, cursor: null });
    expect(new Set(all.items.map(({ workflow }) => workflow))).toEqual(new Set(['fix', 'elsewhere', 'lists']));
  });

  it('has a label that is a line of text, and no digest; markup stays text', async () => {
    for (const label of ['', ' ', 'a\nb', '\u001b[31mred', '\u202etxet', 'x'.repeat(101), 'F'.repeat(64), 'a\0b'])
      await expect(register(label, 'bad')).rejects.toMatchObject({
        code: 'invalid_argument',
        members: { param: 'label' },
      });
    for (const digest of ['', 'abc', 'g'.repeat(64), `${'a'.repeat(64)}\n`])
      await expect(register('bad', '', { digest })).rejects.toMatchObject({ members: { param: 'digest' } });
    const hostile = `<img src=x onerror=alert(1)>'"&--`;
    expect(await register(hostile, 'markup')).toMatchObject({ label: hostile });
  });

  it('has a label for strangers where somebody gave or confirmed it who may publish workflows, and is no agent', async () => {
    const who = (kind: Principal['kind'], ...scopes: Scope[]) => ({ ...by, kind, scopes: new Set(scopes) });
    const asked = { projectId, workflow: 'public', label: 'mine', notes: '', digest: digestOfPrompt('public') };
    const as = async (principal: Principal) => (await versions.register(principal, 'req_1', asked)).isLabelConfirmed;
    expect(await as(who('agent', 'runs:write'))).toBe(false);
    expect(await as(who('agent', 'runs:write', 'policy:write'))).toBe(false);
    expect(await as(who('operator', 'runs:write'))).toBe(false);
    expect(await as(who('service', 'runs:write', 'policy:write'))).toBe(true);
    expect(await as(who('agent', 'runs:write'))).toBe(true);
    expect((await versions.get(projectId, 'public', 'mine')).isLabelConfirmed).toBe(true);
    expect((await register('own', 'own', { workflow: 'public' })).isLabelConfirmed).toBe(true);
    const { rows } = await db.pool.query(
      `SELECT action FROM audit_entries WHERE payload->>'label' = 'mine' ORDER BY id`,
    );
    expect(rows).toEqual([{ action: 'prompt.registered' }, { action: 'prompt.confirmed' }]);
  });

  it('has a label with ink', async () => {
    for (const label of ['\u2800', '\u3164', ' \u115F\u1160 ', '\uFFA0', '\u034F', '\u2800\u3164\uFE0F', '\u17B4'])
      await expect(register(label, 'bad')).rejects.toMatchObject({ members: { param: 'label' } });
    // Nor has it anything else that is not drawn.
    for (const label of ['brief\uFE0F', 'bri\u034Fef', 'a\u3164b', `version ${'a'.repeat(64)}`])
      await expect(register(label, 'bad')).rejects.toMatchObject({ members: { param: 'label' } });
    for (const label of ['-', '\u2800x', '\u{1F41B}', 'version 20261123'])
      expect(await register(label, label, { workflow: 'ink' })).toMatchObject({ label });
  });

  it('is no look-alike of another one, and found in upper and lower case', async () => {
    const workflow = 'alike';
    expect(await register(' Br\uFF49ef  and \u00a0 true ', 'one', { workflow })).toMatchObject({
      label: 'Brief and true',
    });
    for (const label of ['brief AND true', 'Brief  and true', 'Brief\u00a0and true'])
      await expect(register(label, 'another', { workflow }), label).rejects.toMatchObject({
        code: 'conflict',
        message: expect.stringContaining('"Brief and true"'),
      });
    expect(await versions.get(projectId, workflow, 'BRIEF and true')).toMatchObject({ label: 'Brief and true' });
  });

  it('that an agent registered gives its label up, or takes another one, for who may publish workflows', async () => {
    const workflow = 'spoiled';
    const rude = await registerAs(agent, 'rude words', 'the true one', { workflow });
    const bogus = await registerAs(agent, 'v2', 'bogus', { workflow });
    await expect(registerAs(agent, 'V2', 'the true one', { workflow })).rejects.toMatchObject({ code: 'conflict' });
    const mine = await register('v2', 'the true one', { workflow });
    expect(mine).toMatchObject({ id: rude.id, label: 'v2', isLabelConfirmed: true });
    expect(await versions.get(projectId, workflow, bogus.digest)).toMatchObject({
      id: bogus.id,
      label: `version ${bogus.digest}`,
      isLabelConfirmed: false,
    });
    // What is confirmed stays, for agents and operators alike.
    for (const who of [agent, by]) {
      await expect(registerAs(who, 'v2', 'bogus', { workflow })).rejects.toMatchObject({ code: 'conflict' });
      await expect(registerAs(who, 'v3', 'the true one', { workflow })).rejects.toMatchObject({ code: 'conflict' });
    }
    expect(await register('third', 'bogus', { workflow })).toMatchObject({ id: bogus.id, label: 'third' });
    const { rows } = await db.pool.query(
      `SELECT action, payload->>'label' AS label FROM audit_entries WHERE payload->>'workflow' = 'spoiled' ORDER BY id`,
    );
    expect(rows.slice(2)).toEqual([
      { action: 'prompt.displaced', label: `version ${bogus.digest}` },
      { action: 'prompt.confirmed', label: 'v2' },
      { action: 'prompt.confirmed', label: 'third' },
    ]);
  });

  it('of an agent takes no place of those that operators registered', async () => {
    await db.pool.query(
      `INSERT INTO prompt_versions (id, project_id, workflow, digest, label, registered_by)
       SELECT 'prm_flood' || n, 'prj_a', 'flooded', encode(sha256(n::text::bytea), 'hex'), 'v' || n, 'agt_1'
       FROM generate_series(1, $1::int) AS n`,
      [promptVersionsPerWorkflowMax],
    );
    await expect(registerAs(agent, 'one more', 'one more', { workflow: 'flooded' })).rejects.toMatchObject({
      code: 'conflict',
    });
    expect(await register('mine', 'mine', { workflow: 'flooded' })).toMatchObject({ label: 'mine' });
  });

  it('is one of so many of a workflow', async () => {
    await db.pool.query(
      `INSERT INTO prompt_versions (id, project_id, workflow, digest, label, label_confirmed, registered_by)
       SELECT 'prm_full' || n, 'prj_a', 'full', encode(sha256(n::text::bytea), 'hex'), 'v' || n, true, 'test'
       FROM generate_series(1, $1::int - 1) AS n`,
      [promptVersionsPerWorkflowMax],
    );
    await register('last', 'last', { workflow: 'full' });
    await expect(register('too many', 'too many', { workflow: 'full' })).rejects.toMatchObject({ code: 'conflict' });
    // Neither does who may confirm get in by way of an agent.
    await registerAs(agent, 'by an agent', 'by an agent', { workflow: 'full' });
    await expect(register('by an agent', 'by an agent', { workflow: 'full' })).rejects.toMatchObject({
      code: 'conflict',
    });
    // What is there already is still the same version.
    expect(await register('last', 'last', { workflow: 'full' })).toMatchObject({ label: 'last' });
  });
});
