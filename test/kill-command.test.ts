import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CliRun, runCommand } from './support/cli.ts';
import { type TestGate, startGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { queryAsOwner } from './support/database.ts';
import { ask, doors, mockConfiguration, post, startGateWithMock } from './support/models.ts';
import { newCaller, openStream, type Pair } from './support/stops.ts';

/** `portcullis kill` as docs/kill-switch.md tells it: every command of that page is run here. */

let gate: TestGate;
let replica: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
const env = { KILL_RELEASE_TWO_PEOPLE: 'true' };

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock({ env }));
  replica = await startGate({ yaml: mockConfiguration(mock), database: gate.database, env });
  await mock.script({ model: 'claude-endless', tokens: 1_000_000, tokensPerSecond: 20 });
  const { secret } = await gate.agent('reviewer');
  await gate.api('RunService/StartRun', { workflow: 'nightly' }, secret);
});
afterAll(async () => {
  await replica.stop();
  await stop();
});

const run = (args: readonly string[], key: string = gate.adminKey): Promise<CliRun> =>
  runCommand(args, { environment: { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: key } });

/** The commands of a section of the page, as a shell would split them. */
function commandsOf(section: string): string[][] {
  const page = readFileSync(join(import.meta.dirname, '../docs/kill-switch.md'), 'utf8');
  const text = page.split(/^#+ /m).find((part) => part.startsWith(`${section}\n`)) ?? '';
  const blocks = [...text.matchAll(/```sh\n(.*?)```/gs)].map(([, block = '']) => block);
  const lines = blocks.join('').trim().split('\n');
  return lines.map((line) => [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? ''));
}

/** A key of a person, as they would have made it in a session of theirs. */
async function ownKeyOf(name: string): Promise<string> {
  const { person } = await gate.api<{ person: { id: string } }>('ProjectService/CreatePerson', {
    email: `${name}@example.com`,
    name,
  });
  const { key, secret } = await gate.api<{ key: { id: string }; secret: string }>('AgentService/CreateKey', {
    personId: person.id,
    name,
    kind: 'PRINCIPAL_KIND_OPERATOR',
    scopes: ['admin'],
  });
  await gate.database.pool.query('UPDATE api_keys SET created_by = $2 WHERE id = $1', [key.id, person.id]);
  return secret;
}

describe('the page for operators', () => {
  test.each(['The kill switch', 'What can be stopped', 'Drills'])('has commands in "%s" that work', async (section) => {
    const commands = commandsOf(section);
    expect(commands.length).toBeGreaterThan(1);
    for (const [program, ...args] of commands) {
      expect(program).toBe('portcullis');
      const { code, stderr } = await run(args);
      expect(code, `${args.join(' ')}: ${stderr}`).toBe(0);
    }
  });

  test('lets two people release everything with the commands that it has', async () => {
    const [ada, bo] = [await ownKeyOf('ada'), await ownKeyOf('bo')];
    await run(['kill', 'on', '--scope', 'everything', '--reason', 'Two people.']);
    const [[, ...off] = [], [, ...confirm] = []] = commandsOf('Two people');
    expect(await run(off)).toMatchObject({ code: 3, stderr: expect.stringContaining('Two people release everything') });
    const asked = await run(off, ada);
    expect(asked).toMatchObject({ code: 6, stdout: '' });
    expect(asked.stderr).toMatch(
      /^Still stopped: .* asked, and another person must confirm before .*: portcullis kill confirm kil_/,
    );
    const id = /kil_\w+/.exec(asked.stderr)?.[0] ?? '';
    const confirmed = confirm.map((arg) => (arg === 'kil_…' ? id : arg));
    expect(confirmed).toContain(id);
    expect((await run(['kill', 'list'])).stdout).toContain('(asked)');
    expect((await run(['kill', 'status', id])).stdout).toMatch(/release\s+asked by .*, to be confirmed before/);
    expect((await run(confirmed, gate.adminKey)).code).toBe(3);
    expect((await run(confirmed, ada)).code).toBe(1);
    expect(await run(confirmed, bo)).toMatchObject({ code: 0, stdout: 'everything may go on.\n' });
    expect((await run(off, ada)).stderr).toContain('No switch is engaged on that scope');
  });
});

describe('portcullis kill on', () => {
  test('prints what each replica stopped, in a table, and so does its JSON', async () => {
    const pair: Pair = { told: gate, other: replica, model: 'claude-endless', provider: 'claude' };
    const caller = await newCaller(pair);
    const stream = await openStream(pair, caller);
    const { code, stdout } = await run(['kill', 'on', '--scope', `agent:${caller.agentId}`, '--reason', 'It loops.']);
    await stream.ended;
    stream.requireError('killed');
    expect(code).toBe(0);
    const [stopped, next, head, ...rows] = stdout.trimEnd().split('\n');
    expect(stopped).toBe(`Stopped agent:${caller.agentId} until it is released.`);
    expect(next).toMatch(/^Release it with: portcullis kill off kil_\w+$/);
    expect(head).toMatch(/^REPLICA {25}/);
    expect(rows).toHaveLength(2);
    for (const row of rows) expect(row).toMatch(/^ins_\w+ +\d+ ms +\d+ +\d+ +\d+$/);
    expect(new Set([head, ...rows].map((row) => row?.length)).size).toBe(1);
    expect(rows.map((row) => row.trim().split(/\s+/).slice(3).join(' ')).toSorted()).toEqual(['0 0 0', '1 1 1']);

    const again = await run(['kill', 'on', '--scope', `agent:${caller.agentId}`, '--reason', 'Again.', '--json']);
    const document = JSON.parse(again.stdout) as {
      killSwitch: { id: string; state: string };
      acknowledgements: object[];
    };
    expect(document.killSwitch).toMatchObject({ state: 'KILL_SWITCH_STATE_ENGAGED', drill: false });
    expect(document.acknowledgements).toHaveLength(2);
    await run(['kill', 'off', document.killSwitch.id]);
  });

  test('names a replica that lives and does not answer, and ends with its own exit code', async () => {
    process.kill(replica.pid, 'SIGSTOP');
    try {
      const engaged = await run(['kill', 'on', '--scope', 'agent:reviewer', '--reason', 'It loops.']);
      expect(engaged.code).toBe(5);
      expect(engaged.stdout).toMatch(/\nins_\w+ +\d+ ms .*\nins_\w+ +no answer\n$/);
      expect(engaged.stderr).toMatch(
        /^1 of 2 replicas have not answered: ins_\w+\. One that cannot reach the database/,
      );
      expect((await run(['kill', 'status', 'agent:reviewer'])).code).toBe(5);
    } finally {
      process.kill(replica.pid, 'SIGCONT');
    }
    await expect.poll(async () => (await run(['kill', 'status', 'agent:reviewer'])).code, { timeout: 30_000 }).toBe(0);
    await run(['kill', 'off', 'agent:reviewer']);
  });

  test('says of a replica that was started later that it obeyed from its start', async () => {
    await run(['kill', 'on', '--scope', 'agent:reviewer', '--reason', 'It loops.']);
    const late = await startGate({ yaml: mockConfiguration(mock), database: gate.database, env });
    try {
      await expect
        .poll(async () => (await run(['kill', 'status', 'agent:reviewer'])).stdout, { timeout: 30_000 })
        .toMatch(/ins_\w+ +from its start +0 +0 +0\n/);
    } finally {
      await late.stop();
    }
    await run(['kill', 'off', 'agent:reviewer']);
  });

  test('works with the key of the configuration at a gate that cannot read its control state', async () => {
    const blind = await startGate({ yaml: mockConfiguration(mock), env: { CONTROL_AGE_MAX_MS: '2000' } });
    const rename = (from: string, to: string) => queryAsOwner(blind.database, `ALTER TABLE ${from} RENAME TO ${to}`);
    const environment = { PORTCULLIS_URL: blind.url, PORTCULLIS_KEY: blind.adminKey };
    try {
      const { secret } = await blind.agent('reviewer');
      await rename('budgets', 'budgets_away');
      // Whatever changes now cannot be read back.
      await blind.api('AgentService/CreateAgent', { name: 'another' }).catch(() => undefined);
      const refused = () => post(blind, doors.anthropic.path, ask('claude-1'), { authorization: `Bearer ${secret}` });
      await expect
        .poll(async () => (await refused()).body.toString(), { timeout: 30_000 })
        .toContain('cannot read its control state');
      const args = ['kill', 'on', '--scope', 'agent:reviewer', '--reason', 'Blind.'];
      const { code, stdout, stderr } = await runCommand(args, { environment });
      expect(stdout).toMatch(/^Stopped agent:reviewer/);
      expect(stderr).toMatch(/^1 of 1 replicas have not answered/);
      expect(code).toBe(5);
      await rename('budgets_away', 'budgets');
      await expect.poll(async () => (await refused()).body.toString(), { timeout: 30_000 }).toContain('Blind.');
    } finally {
      await blind.stop();
    }
  });
});
