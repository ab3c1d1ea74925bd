import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from './support/cli.ts';
import { startGate, type TestGate } from './support/gate.ts';

let gate: TestGate;
beforeAll(async () => {
  gate = await startGate({ yaml: 'providers: { sim: { kind: sim, price: { input: 1, output: 1 } } }\n' });
});
afterAll(() => gate?.stop());

const portcullis = (...args: string[]) =>
  runCommand(args, { environment: { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: gate.adminKey, TZ: 'UTC' } });

/** Runs a command that must work. */
async function done(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await portcullis(...args);
  expect({ code, stderr }).toMatchObject({ code: 0 });
  return stdout;
}

async function callAs(secret: string): Promise<number> {
  const answer = await fetch(`${gate.url}/v1/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-api-key': secret, 'anthropic-version': '2023-06-01' },
    body: JSON.stringify({ model: 'sim', max_tokens: 16, messages: [{ role: 'user', content: 'Hi' }] }),
  });
  await answer.arrayBuffer();
  return answer.status;
}

describe('a budget of a team', () => {
  it('counts the calls of its people and of their agents, and follows who moves from the next call on', async () => {
    await done('people', 'add', 'ada@example.com', '--name', 'Ada');
    await done('teams', 'create', 'Payments');
    await done('teams', 'create', 'Search');
    const budget = JSON.parse(
      await done(
        'budgets',
        'create',
        'payments',
        '--team',
        'Payments',
        '--unit',
        'requests',
        '--limit',
        '2',
        '--window',
        'day',
        '--json',
      ),
    ) as { budget: { selector: { teamId: string } } };
    expect(budget.budget.selector.teamId).toMatch(/^team_/);

    const { people } = await gate.api<{ people: { id: string }[] }>('ProjectService/ListPeople');
    const personId = people[0]?.id ?? '';
    const { agent } = await gate.api<{ agent: { id: string } }>('AgentService/CreateAgent', { name: 'hers', personId });
    const key = async (more: object) =>
      (await gate.api<{ secret: string }>('AgentService/CreateKey', { name: 'k', scopes: ['models:invoke'], ...more }))
        .secret;
    const own = await key({ kind: 'PRINCIPAL_KIND_OPERATOR', personId });
    const ofAgent = await key({ kind: 'PRINCIPAL_KIND_AGENT', agentId: agent.id });
    const { secret: ofStranger } = await gate.agent('of nobody');

    expect([await callAs(own), await callAs(ofAgent)]).toEqual([200, 200]);
    expect((await gate.standing('payments')).posted).toBe(0n);
    await done('people', 'set-teams', 'ada@example.com', 'Payments', 'Search');
    expect([await callAs(own), await callAs(ofAgent)]).toEqual([200, 200]);
    expect((await gate.standing('payments')).posted).toBe(2n);
    expect([await callAs(own), await callAs(ofAgent), await callAs(ofStranger)]).toEqual([429, 429, 200]);
    await done('people', 'set-teams', 'ada@example.com', 'Search');
    expect([await callAs(own), await callAs(ofAgent)]).toEqual([200, 200]);
    expect((await gate.standing('payments')).posted).toBe(2n);
  });

  it('stops a run from starting when nothing is left of it, and is idle when its team is deleted', async () => {
    await done('people', 'add', 'bob@example.com', '--name', 'Bob');
    await done('teams', 'create', 'Empty');
    await done('people', 'set-teams', 'bob@example.com', 'Empty');
    await done('budgets', 'create', 'nothing', '--team', 'Empty', '--limit', '0', '--window', 'day');
    const { people } = await gate.api<{ people: { id: string; email: string }[] }>('ProjectService/ListPeople');
    const personId = people.find(({ email }) => email === 'bob@example.com')?.id;
    const { agent } = await gate.api<{ agent: { id: string } }>('AgentService/CreateAgent', { name: 'his', personId });
    const { secret } = await gate.api<{ secret: string }>('AgentService/CreateKey', {
      name: 'k',
      kind: 'PRINCIPAL_KIND_AGENT',
      agentId: agent.id,
      scopes: ['runs:write'],
    });
    const start = () => gate.api('RunService/StartRun', { workflow: 'w' }, secret);
    await expect(start()).rejects.toThrow('no run is started');
    await done('teams', 'delete', 'Empty');
    await expect(start()).resolves.toBeDefined();
    expect(await done('budgets', 'list')).toMatch(/team:Empty \(idle: its team is deleted\)/);
  });
});

describe('the command line', () => {
  it('lists people with their roles and teams, and changes them', async () => {
    await done('people', 'add', 'eve@example.com', '--name', 'Eve');
    expect(await done('people', 'set-roles', 'eve@example.com', 'operator', 'admin')).toMatch(
      /roles +admin operator\n/,
    );
    expect(await done('people', 'set-roles', 'eve@example.com', 'none')).toMatch(/roles +none\n/);
    expect(await done('people', 'set-roles', 'eve@example.com', 'unset')).toMatch(/roles +-\n/);
    expect(await done('people', 'rename', 'eve@example.com', 'Eva')).toMatch(/name +Eva\n/);
    await done('teams', 'create', 'Security');
    await done('teams', 'rename', 'Security', 'Safety');
    expect(await done('people', 'set-teams', 'eve@example.com', 'Safety')).toMatch(/teams +Safety\n/);
    expect(await done('people', 'list')).toMatch(/eve@example\.com +Eva +active +- +Safety +never +psn_/);
    expect(await done('people', 'disable', 'eve@example.com')).toMatch(/state +disabled\n/);
    expect(await done('people', 'enable', 'eve@example.com')).toMatch(/state +active\n/);
    const unlinked = JSON.parse(await done('people', 'unlink', 'eve@example.com', '--json')) as {
      person: { teamIds: string[] };
    };
    expect(unlinked.person.teamIds).toHaveLength(1);
    expect(await done('people', 'set-teams', 'eve@example.com')).not.toContain('teams');
  });

  it('says what is wrong', async () => {
    expect(await portcullis('people', 'set-roles', 'eve@example.com', 'admin', 'none')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('"none" stands alone'),
    });
    expect(await portcullis('people', 'set-roles', 'eve@example.com', 'approver')).toMatchObject({
      code: expect.not.stringMatching('0') as number,
      stderr: expect.stringContaining('You cannot give a person the scope approvals:decide'),
    });
    expect(await portcullis('people', 'set-teams', 'eve@example.com', 'None')).toMatchObject({
      stderr: expect.stringContaining('There is no team "None"'),
    });
  });

  it('lists sessions and ends them', async () => {
    await fetch(`${gate.url}/sign-in`, {
      method: 'POST',
      redirect: 'manual',
      headers: { origin: gate.url, 'user-agent': 'A browser' },
      body: new URLSearchParams({ key: gate.adminKey }),
    });
    const list = await done('sessions', 'list');
    const id = /ses_\w+/.exec(list)?.[0] ?? '';
    expect(list).toMatch(/static:ADMIN_API_KEY +key .* 127\.0\.0\.1 +A browser +ses_/);
    expect(await done('sessions', 'end', id)).toBe(`Session ${id} of static:ADMIN_API_KEY has ended.\n`);
    expect((await portcullis('sessions', 'list')).stderr).toContain('Nobody is signed in.');
    expect((await portcullis('sessions', 'end', id)).code).not.toBe(0);
  });
});
