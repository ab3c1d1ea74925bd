import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCommand } from './support/cli.ts';
import type { TestGate } from './support/gate.ts';
import { ask, post, startGateWithMock } from './support/models.ts';

/** Budgets as an operator sees them: by the command line and the public API of a real gate, with calls that spend. */

const scraperKey = 'scraper-key-of-the-budgets-test-0123456789';

let gate: TestGate;
let stop: () => Promise<void>;

beforeAll(async () => {
  ({ gate, stop } = await startGateWithMock({ env: { METRICS_API_KEY: scraperKey } }));
});
afterAll(() => stop());

async function cli(...args: string[]): Promise<string> {
  const run = await command(...args);
  if (run.code !== 0) throw new Error(`portcullis ${args.join(' ')}: ${run.code}\n${run.stderr}`);
  return run.stdout + run.stderr;
}

function command(...args: string[]) {
  return runCommand(args, { environment: { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: gate.adminKey, TZ: 'UTC' } });
}

async function call(secret: string): Promise<number> {
  const answer = await post(gate, '/v1/messages', ask('claude-1'), { authorization: `Bearer ${secret}` });
  return answer.status;
}

describe('a budget', () => {
  test('is made with any selector, unit and window that make sense, and shown in full', async () => {
    const { agentId, keyId } = await gate.agent('selected');
    const made = [
      ['money', '--limit', '0.25', '--window', 'day', '--time-zone', 'asia/kathmandu', '--agent', 'selected'],
      ['per key', '--unit', 'tokens', '--limit', '5000', '--window', 'month', '--key', keyId],
      ['attempts', '--unit', 'requests', '--limit', '10', '--window', 'run', '--workflow', 'review'],
      ['in flight', '--unit', 'concurrent_requests', '--limit', '4', '--window', 'lifetime', '--provider', 'claude'],
      ['in flight of runs', '--unit', 'concurrent_requests', '--limit', '1', '--window', 'run'],
      ['quick', '--unit', 'latency_ms', '--limit', '30s', '--window', 'attempt', '--model', 'claude-hasty-*'],
      ['quicker', '--unit', 'latency_ms', '--limit', '1500ms', '--window', 'attempt', '--provider-type', 'opensource'],
      ['watched', '--limit', '1', '--window', 'hour', '--dry-run', '--notify', '50,80,100'],
      ['silent', '--window', 'lifetime', '--notify', ''],
    ];
    const first = await cli('budgets', 'create', ...made[0]!);
    expect(first).toMatch(/counts +agent:selected\n/);
    for (const [name, ...options] of made.slice(1)) await cli('budgets', 'create', name!, ...options);
    const shown = async (name: string) => (await cli('budgets', 'show', name)).replace(/ {2,}/g, ' ');
    expect(await shown('money')).toMatch(
      /counts agent:selected\nlimit \$0.25\nwindow day \(Asia\/Kat[a-z]+\)\nmode enforced/,
    );
    expect(await shown('money')).toMatch(
      /used \$0.00\nheld \$0.00\nleft \$0.25\nfull 0 %\nresets \d{4}-.*\nnotices 80 %, 100 %/,
    );
    expect(await shown('per key')).toContain(`counts key:${keyId}\nlimit 5000 tokens\nwindow month (UTC)`);
    expect(await shown('attempts')).toContain('counts workflow:review\nlimit 10 requests\nwindow run\n');
    expect(await shown('in flight')).toContain('counts provider:claude\nlimit 4 at a time\nwindow at a time\n');
    expect(await shown('in flight')).toContain('notices none');
    expect(await shown('in flight of runs')).toContain('limit 1 at a time\nwindow run\n');
    expect(await shown('quick')).toContain('counts model:claude-hasty-*\nlimit 30s\nwindow attempt\n');
    expect(await shown('quicker')).toContain('counts type:opensource\nlimit 1500ms\n');
    expect(await shown('watched')).toMatch(/mode dry run: refuses nothing[^]*notices 50 %, 80 %, 100 %/);
    expect(await shown('silent')).toMatch(/limit none[^]*notices none/);
    const json = JSON.parse(await cli('budgets', 'show', 'money', '--json')) as Record<string, never>;
    expect(json).toMatchObject({
      status: { budget: { name: 'money', selector: { agentId }, notifyPercents: [80, 100] }, agentName: 'selected' },
      notices: [],
    });
  });

  test.each<[readonly string[], string]>([
    [
      ['--unit', 'concurrent_requests', '--window', 'day'],
      'window must be run or lifetime for the unit concurrent_requests',
    ],
    [['--unit', 'latency_ms', '--window', 'day', '--limit', '1s'], 'window must be attempt for the unit latency_ms'],
    [['--unit', 'requests', '--window', 'attempt'], 'each attempt is one request'],
    [
      ['--window', 'day', '--notify', '100,80'],
      'notify_percents must be rising whole numbers from 1 to 1000, 10 at most',
    ],
    [['--unit', 'latency_ms', '--window', 'attempt', '--notify', '80'], 'notify_percents must be empty here'],
    [
      ['--unit', 'latency_ms', '--window', 'attempt', '--limit', '99ms'],
      'limit must be 0 (which denies) or at least 100 ms',
    ],
    [['--window', 'day', '--time-zone', 'Berlin'], 'time_zone must be a name of the IANA database'],
    [['--window', 'day', '--run', 'run_none'], 'There is no run run_none in this project.'],
  ])('that makes no sense is refused by name: %j', async (options, message) => {
    const { code, stderr } = await command('budgets', 'create', 'nonsense', ...options);
    expect(code).toBe(1);
    expect(stderr).toContain(message);
  });

  test.each<[readonly string[], string]>([
    [['--unit', 'latency_ms', '--limit', '30'], '"30" is not a length of time: write it like 30s or 1500ms.'],
    [['--unit', 'concurrent_requests', '--limit', '1.5'], '"1.5" is not a whole number of requests at a time.'],
    [['--unit', 'tokens', '--limit', '$5'], '"$5" is not a whole number of tokens.'],
    [['--limit', '5e3'], '"5e3" is not an amount in USD'],
    [['--notify', 'half'], '--notify: "half" are not percents'],
  ])('with an amount that is none is refused before it is asked for: %j', async (options, message) => {
    const { code, stderr } = await command('budgets', 'create', 'nonsense', '--window', 'attempt', ...options);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
  });

  test('is not changed by what says two things, or nothing', async () => {
    const { agentId } = await gate.agent('twofold');
    await gate.budget({ name: 'twofold', unit: 'USD', limit: 5n, selector: { agentId } });
    for (const [options, message] of [
      [['--limit', '7', '--no-limit'], 'Give --limit or --no-limit, not both.'],
      [['--no-limit', '--limit', '7'], 'Give --limit or --no-limit, not both.'],
      [['--dry-run', '--enforce'], 'Give --dry-run or --enforce, not both.'],
      [[], 'Say what to change'],
    ] as const) {
      const { code, stderr } = await command('budgets', 'update', 'twofold', ...options);
      expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
    }
    const updated = await cli('budgets', 'update', 'twofold', '--no-limit');
    expect(updated).toMatch(/counts +agent:twofold\nlimit +none\n/);
  });

  test('of a provider to which nothing leads says so when it is made, and in lists', async () => {
    const made = await cli('budgets', 'create', 'of nobody', '--window', 'day', '--provider', 'clawed');
    expect(made).toMatch(/idle +counts no further call, since no route leads to its provider\n/);
    expect(await cli('budgets', 'create', 'of one', '--window', 'day', '--provider', 'claude')).not.toContain('idle');
    expect(await cli('budgets', 'list')).toContain('provider:clawed (idle: no route leads to its provider)');
    await cli('budgets', 'delete', 'of nobody');
  });

  test('that nobody can spend from any more says why', async () => {
    const { agentId, keyId } = await gate.agent('leaving');
    await cli('budgets', 'create', 'of one who leaves', '--limit', '1', '--window', 'day', '--agent', 'leaving');
    await cli('budgets', 'create', 'of its key', '--limit', '1', '--window', 'day', '--key', keyId);
    expect(await cli('budgets', 'list')).not.toContain('idle');
    await gate.api('AgentService/DisableAgent', { agentId });
    await gate.api('AgentService/RevokeKey', { keyId });
    const list = await cli('budgets', 'list');
    expect(list).toContain('agent:leaving (idle: its agent is disabled)');
    expect(list).toContain(`key:${keyId} (idle: its key is revoked)`);
    expect(await cli('budgets', 'show', 'of its key')).toMatch(
      /idle +counts no further call, since its key is revoked/,
    );
  });
});

describe('what calls spend', () => {
  test('sorts the list by how full budgets are, and gives each notice once', async () => {
    const { agentId, secret } = await gate.agent('spender');
    for (const limit of [5n, 10n, 50n]) {
      await gate.budget({ name: `of ${limit}`, unit: 'REQUESTS', limit, selector: { agentId } });
    }
    await gate.budget({ name: 'shadow', unit: 'REQUESTS', limit: 1n, selector: { agentId }, mode: 'DRY_RUN' });
    for (let calls = 0; calls < 4; calls++) expect(await call(secret)).toBe(200);
    const notices = async (name: string) => {
      const { notices: found } = JSON.parse(await cli('budgets', 'notices', name, '--json')) as {
        notices: { percent: number; mode: string }[];
      };
      return found.map(({ percent, mode }) => `${percent} ${mode}`).sort();
    };
    await expect.poll(() => notices('of 5'), { timeout: 10_000 }).toEqual(['80 BUDGET_MODE_ENFORCE']);
    await expect
      .poll(() => notices('shadow'), { timeout: 10_000 })
      .toEqual(['100 BUDGET_MODE_DRY_RUN', '80 BUDGET_MODE_DRY_RUN']);
    expect(await call(secret)).toBe(200);
    await expect
      .poll(() => notices('of 5'), { timeout: 10_000 })
      .toEqual(['100 BUDGET_MODE_ENFORCE', '80 BUDGET_MODE_ENFORCE']);
    expect(await notices('of 10')).toEqual([]);

    const list = await cli('budgets', 'list');
    const lines = list.split('\n').filter((line) => line.includes('agent:spender'));
    expect(lines.map((line) => line.split(/ {2,}/)[0])).toEqual(['shadow', 'of 5', 'of 10', 'of 50']);
    expect(lines.map((line) => / (\d+ %)/.exec(line)?.[1])).toEqual(['500 %', '100 %', '50 %', '10 %']);
    const first = JSON.parse(await cli('budgets', 'list', '--json', '--limit', '1')) as {
      budgets: { budget: { name: string } }[];
    };
    expect(first.budgets.map(({ budget }) => budget.name)).toEqual(['shadow']);

    expect(await cli('budgets', 'show', 'of 5')).toMatch(/TIME +BUDGET +REACHED[^]* 100 %[^]* 80 %/);
    const log = await gate.settledLog();
    expect(log).toContain('Budget \\"of 5\\" reached 80 % of its limit.');
    expect(log).toContain('Budget \\"shadow\\" reached 100 % of its limit; it is a dry run and refuses nothing.');
    const { rows } = await gate.database.pool.query<{ count: number }>(
      `SELECT count(*)::int AS count FROM audit_entries WHERE action = 'budget.threshold_reached'`,
    );
    expect(rows).toEqual([{ count: 4 }]);
    const metrics = await fetch(`${gate.url}/metrics`, { headers: { authorization: `Bearer ${scraperKey}` } });
    expect((await metrics.text()).match(/^budget_thresholds_reached_total.*$/gm)?.sort()).toEqual([
      'budget_thresholds_reached_total{mode="dry_run"} 2',
      'budget_thresholds_reached_total{mode="enforce"} 2',
    ]);
  });

  test('is told of after a kill of the process that saw it', async () => {
    const { agentId, secret } = await gate.agent('survivor');
    const id = await gate.budget({ name: 'survives', unit: 'REQUESTS', limit: 1n, selector: { agentId } });
    expect(await call(secret)).toBe(200);
    await gate.end('SIGKILL');
    await gate.start();
    await expect
      .poll(() => cli('budgets', 'notices', id), { timeout: 20_000 })
      .toMatch(/survives +100 %[^]*survives +80 %|survives +80 %[^]*survives +100 %/);
  });
});

describe('a project', () => {
  test('gives up durability in so many words, once, and takes it back', async () => {
    await cli('projects', 'create', 'fast');
    const relaxed = await cli('projects', 'update', 'fast', '--durability', 'relaxed');
    expect(relaxed).toMatch(/durability +relaxed/);
    expect(relaxed).toContain('loses the ledger rows of its last moment');
    const list = await cli('projects', 'list');
    expect(list).toMatch(/fast +relaxed/);
    expect(list).toMatch(/default +strict/);
    await cli('projects', 'update', 'fast', '--durability', 'relaxed');
    const back = await cli('projects', 'update', 'fast', '--durability', 'strict', '--name', 'slow');
    expect(back).not.toContain('loses');
    const { rows } = await gate.database.pool.query<{ payload: object }>(
      `SELECT payload FROM audit_entries WHERE action = 'project.updated' ORDER BY at`,
    );
    expect(rows.map(({ payload }) => payload)).toEqual([
      { before: { name: 'fast', durability: 'strict' }, after: { name: 'fast', durability: 'relaxed' } },
      { before: { name: 'fast', durability: 'relaxed' }, after: { name: 'slow', durability: 'strict' } },
    ]);
  });

  test.each<[readonly string[], string]>([
    [['default', '--name', 'other'], 'The project "default" keeps its name'],
    [['prj_none', '--durability', 'relaxed'], 'There is no project prj_none.'],
    [['nowhere', '--durability', 'relaxed'], 'There is no project "nowhere"'],
    [['slow', '--name', 'default'], 'There is a project "default" already.'],
  ])('is not changed by %j', async (args, message) => {
    const { code, stderr } = await command('projects', 'update', ...args);
    expect(code).toBe(1);
    expect(stderr).toContain(message);
  });

  test('is changed by an administrator alone, who says what to change', async () => {
    const key = await gate.api<{ secret: string }>('AgentService/CreateKey', {
      name: 'policy',
      kind: 'PRINCIPAL_KIND_OPERATOR',
      scopes: ['policy:write', 'policy:read'],
    });
    const relax = { durability: 'DURABILITY_RELAXED', updateMask: 'durability' };
    await expect(gate.api('ProjectService/UpdateProject', relax, key.secret)).rejects.toThrow(/403.*admin/);
    await expect(gate.api('ProjectService/UpdateProject', { ...relax, updateMask: 'name' })).rejects.toThrow(
      /durability is given but not named in update_mask/,
    );
    await expect(gate.api('ProjectService/UpdateProject', { updateMask: 'durability' })).rejects.toThrow(
      /durability must be one of strict, relaxed/,
    );
    expect((await command('projects', 'update', 'slow')).code).toBe(2);
  });
});
