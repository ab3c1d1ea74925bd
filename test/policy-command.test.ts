import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { runCommand } from './support/cli.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { post } from './support/models.ts';

/** `portcullis policy` as an operator uses it, on a gate that has seen calls; and its page, command by command. */

let gate: TestGate;
let secret: string;
const cwd = mkdtempSync(join(tmpdir(), 'portcullis-policy-'));

beforeAll(async () => {
  gate = await startGate({
    yaml: JSON.stringify({
      providers: { local: { kind: 'sim', price: { input: 1, output: 2 } } },
      models: { 'small-1': { targets: [{ provider: 'local', model: 'sim' }] } },
    }),
  });
  ({ secret } = await gate.agent('reviewer'));
  await call({ tools: [{ name: 'delete_repository', input_schema: { type: 'object' } }] });
  await call({});
});
afterAll(async () => {
  await gate.stop();
  rmSync(cwd, { recursive: true });
});

async function call(more: object): Promise<number> {
  const body = { model: 'small-1', max_tokens: 50, messages: [{ role: 'user', content: 'hi' }], ...more };
  const { status } = await post(gate, '/v1/messages', JSON.stringify(body), { authorization: `Bearer ${secret}` });
  return status;
}

function command(...args: string[]) {
  const environment = { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: gate.adminKey, TZ: 'UTC' };
  return runCommand(args, { environment, cwd });
}

async function cli(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await command(...args);
  if (code !== 0) throw new Error(`portcullis ${args.join(' ')}: ${code}\n${stderr}`);
  return stdout + stderr;
}

function file(name: string, text: string): string {
  writeFileSync(join(cwd, name), text);
  return name;
}

/** The words of a command line, as a shell parts them. */
function wordsOf(line: string): string[] {
  return (line.match(/"[^"]*"|\S+/g) ?? []).map((word) => word.replace(/^"(.*)"$/, '$1'));
}

test('each command of the page does what the page says', async () => {
  const page = readFileSync(join(import.meta.dirname, '../docs/policy.md'), 'utf8');
  const blocks = [...page.matchAll(/```(\w+)\n([^]*?)```/g)].map(([, language, text = '']) => ({ language, text }));
  await vi.waitFor(
    async () => expect(await cli('policy', 'simulate', file('empty.yaml', 'rules: []'))).toContain('Of 2 calls'),
    {
      timeout: 30_000,
      interval: 100,
    },
  );
  const said = new Map<string, string>();
  for (const { language, text } of blocks) {
    const [, name] = /^# (\S+\.yaml)\n/.exec(text) ?? [];
    if (language === 'yaml' && name !== undefined) file(name, text);
    if (language !== 'sh') continue;
    for (const line of text.trim().split('\n')) said.set(line, await cli(...wordsOf(line).slice(1)));
  }
  expect(said.size).toBe(15);
  expect(said.get('portcullis policy simulate policy.yaml --since 7d')).toMatch(
    /^Of 2 calls since \S+ \S+ it would have blocked 1 call, \$0\.\d+, and let 0 pass that were refused\./,
  );
  expect(said.get('portcullis policy simulate policy.yaml --since 7d')).toMatch(
    /reviewer +models\.invoke +small-1 +allow +deny +no deletions +\$0/,
  );
  expect(said.get('portcullis policy promote 1')).toMatch(/^Version 1 is in force \(etag 2\)\.\n\+ rule no deletions/);
  expect(said.get('portcullis policy rollback')).toMatch(/^Version 2 is in force \(etag 3\)\.\n- rule no deletions/);
  expect(said.get('portcullis policy versions')).toMatch(/1 +shadow +2 +1 .*no deletions, see the incident of May/);
}, 60_000);

describe('a policy', () => {
  test('that is shown can be set again, and says the same', async () => {
    const { agentId } = await gate.agent('capped');
    const written = file(
      'full.yaml',
      `rules:
  - name: everything
    actions: [models.invoke, runs.start]
    condition: |-
      principal.name == 'nobody' &&
        args.truncated
    effect: require_approval
    mode: shadow
    approval: { approvers: [psn_a, team_b], quorum: 2, expiry: 2d }
caps:
  - { name: spent, selector: { agent: capped, model: 'small-*' }, window: day, time_zone: Europe/Berlin, limit: 0.25, mode: dry_run, notify: [50] }
  - { name: time, unit: latency_ms, window: attempt, limit: 30s, notify: [] }
  - { name: many, unit: requests, window: lifetime, limit: 12345678901 }
signed_scopes: [keys:write, policy:write]
`,
    );
    await cli('policy', 'set', written);
    const shown = await cli('policy', 'show');
    expect(shown).toMatch(/# Version \d+, in force, by .*\n/);
    expect(shown).toContain('agent: capped');
    const { document } = (JSON.parse(await cli('policy', 'show', '--json')) as { version: { document: object } })
      .version;
    expect(JSON.stringify(document)).toContain(agentId);
    expect(await cli('policy', 'set', file('again.yaml', shown))).toContain('Nothing differs');
    await cli('policy', 'set', file('none.json', '{"rules": []}'), '--note', 'nothing');
    await cli('policy', 'set', file('back.yaml', shown.replace(/etag.*\n/, '')));
    const back = JSON.parse(await cli('policy', 'show', '--json')) as { version: { document: object } };
    expect(back.version.document).toEqual(document);
    await cli('policy', 'set', 'none.json');
  });

  test('that was changed meanwhile is not overwritten by a file that names its etag', async () => {
    await cli('policy', 'rules', 'set', 'a', '--effect', 'allow');
    const shown = file('mine.yaml', await cli('policy', 'show'));
    await cli('policy', 'rules', 'set', 'b', '--effect', 'allow');
    const { code, stderr } = await command('policy', 'set', shown);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/Version \d+ by ".*" is the newest/)]);
  });

  test.each([
    ['what is no YAML', 'rules: [', /^bad\.yaml:1:\d+: /],
    ['a word that is none', 'rules:\n  - name: x\n    effect: forbid\n', /^bad\.yaml:3:13: rules\.0\.effect: /],
    [
      'a member that is none',
      'rules:\n  - name: x\n    effect: deny\n    when: true\n',
      /^bad\.yaml:2:5: rules\.0: .*when/,
    ],
    [
      'a condition on one line',
      `rules:\n  - name: x\n    effect: deny\n    condition: resource.nam == 'x'\n`,
      /^bad\.yaml:4:\d+: rule "x", line 1, column \d+ of the condition: /,
    ],
    [
      'a condition on several',
      `rules:\n  - name: x\n    effect: deny\n    condition: |\n      true &&\n        nobody\n`,
      /^bad\.yaml:6:9: rule "x", line 2, column 3 of the condition: /,
    ],
    ['an amount that is none', 'caps:\n  - { name: x, window: day, limit: much }\n', /"much" is not an amount in USD/],
  ])('with %s is refused with the place in the file', async (_, text, message) => {
    const { code, stderr } = await command('policy', 'set', file('bad.yaml', text));
    expect([code, stderr]).toEqual([2, expect.stringMatching(message)]);
  });

  test('is changed by its caps, which nobody else may touch', async () => {
    await cli('policy', 'caps', 'set', 'daily', '--limit', '1', '--window', 'day');
    expect(await cli('budgets', 'list')).toMatch(/daily +all +day +\$1\.00 .*enforced, policy/);
    const { code, stderr } = await command('budgets', 'update', 'daily', '--limit', '5');
    expect([code, stderr]).toEqual([1, expect.stringContaining('is a cap of the policy')]);
    expect(await cli('policy', 'caps', 'list')).toMatch(/daily +all +day +\$1\.00 +enforce/);
    await cli('policy', 'caps', 'delete', 'daily');
    expect(await cli('budgets', 'list')).not.toContain('daily');
    expect((await command('policy', 'caps', 'delete', 'daily')).stderr).toContain('has no cap "daily"');
  });
});
