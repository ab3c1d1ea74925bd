import { EventEmitter, once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request as forward } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startGate, type TestGate } from './support/gate.ts';
import { Program, run } from './support/program.ts';

/** `portcullis run -- <command>`: a run, a key that dies with it, and a command that reaches models by the gate alone. */

let gate: TestGate;
let agentId: string;
// OpenCode would put the content of the file in its place.
const greedy = '{env:HOME}{file:/etc/hostname}';
const folder = mkdtempSync(join(tmpdir(), 'portcullis-run-'));

interface RunRow {
  readonly id: string;
  readonly state: string;
  readonly summary: string;
  readonly workflow: string;
  readonly agent_id: string;
}

beforeAll(async () => {
  const declared = { input: 1, output: 2 };
  gate = await startGate({
    yaml: JSON.stringify({
      providers: { paid: { kind: 'sim', price: declared }, free: { kind: 'sim' } },
      models: {
        'claude-*': { targets: [{ provider: 'paid', model: 'sim' }] },
        'claude-fable-1': { targets: [{ provider: 'paid', model: 'sim' }] },
        house: { targets: [{ provider: 'free', model: 'sim' }] },
        [greedy]: { targets: [{ provider: 'free', model: 'sim' }] },
      },
    }),
    env: { RATE_LIMIT_ADMIN_PER_MINUTE: '10000' },
  });
  agentId = (await gate.agent('worker')).agentId;
  // Programs of these names that only say what they were started with.
  const program = `#!${process.execPath}
console.log(JSON.stringify({ args: process.argv.slice(2), env: process.env, cwd: process.cwd() }));\n`;
  for (const name of ['claude', 'codex', 'opencode', 'other']) {
    writeFileSync(join(folder, name), program);
    chmodSync(join(folder, name), 0o755);
  }
});
afterAll(async () => {
  await gate.stop();
  rmSync(folder, { recursive: true });
});
afterEach(async () => {
  const open = (await runs()).filter(({ state }) => state === 'running');
  if (open.length > 0) throw new Error(`left open: ${open.map(({ id }) => id).join(', ')}`);
});

async function runs(): Promise<RunRow[]> {
  const { rows } = await gate.database.pool.query<RunRow>(
    'SELECT id, state, summary, workflow, agent_id FROM runs ORDER BY started_at, id',
  );
  return rows;
}

async function lastRun(): Promise<RunRow> {
  const last = (await runs()).at(-1);
  if (!last) throw new Error('there is no run');
  return last;
}

const connection = () => ({ PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: gate.adminKey });
const path = () => `${folder}:${process.env['PATH']}`;

function portcullis(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  return run(['run', ...args], { cwd: folder, env: { PATH: path(), ...connection(), ...env } });
}

interface Told {
  readonly args: string[];
  readonly env: Record<string, string>;
  readonly cwd: string;
}

async function told(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Told> {
  const { stdout } = await portcullis(args, env);
  return JSON.parse(stdout) as Told;
}

/** A Node program that may `await ask(model)`; it answers with the HTTP status. */
function script(text: string): string[] {
  const ask = `const ask = async (model, headers = {}) => (await fetch(process.env.ANTHROPIC_BASE_URL + '/v1/messages', {
    method: 'POST', headers: { 'content-type': 'application/json', 'x-api-key': process.env.ANTHROPIC_API_KEY, ...headers },
    body: JSON.stringify({ model, max_tokens: 50, messages: [{ role: 'user', content: 'Hello' }] }) })).status;`;
  return [process.execPath, '--input-type=module', '-e', `${ask}\n${text}`];
}

function callWith(key: string): Promise<number> {
  const body = JSON.stringify({ model: 'sim', max_tokens: 5, messages: [{ role: 'user', content: 'Hi' }] });
  const headers = { 'content-type': 'application/json', 'x-api-key': key };
  return fetch(`${gate.url}/v1/messages`, { method: 'POST', headers, body }).then(({ status }) => status);
}

describe('a command under portcullis run', () => {
  test('has its calls on the account of one run, without a header, and its key ends with it', async () => {
    const calls = script(
      `console.log(process.env.PORTCULLIS_KEY, await ask('claude-x'), await ask('sim'), await ask('nothing'));`,
    );
    const { code, stdout, stderr } = await portcullis(['--workflow', 'fix-bug', '--', ...calls]);
    const [key = '', ...statuses] = stdout.trim().split(' ');
    expect({ code, statuses }).toEqual({ code: 0, statuses: ['200', '200', '404'] });
    const { id, ...ended } = await lastRun();
    expect(ended).toEqual({ state: 'succeeded', summary: 'exit code 0', workflow: 'fix-bug', agent_id: agentId });
    expect(stderr).toMatch(new RegExp(`Run ${id} succeeded: \\$0\\.0000\\d+ for 3 calls, 1 refused\\.`));
    expect(stderr).toMatch(/^claude-x +\$0\.0000\d+ +1 +0 /m);
    expect(stderr).toContain('Refused 1 time: not_found (refused)');
    expect(await callWith(key)).toBe(401);
    const rows = (await gate.ledger()) as { runId?: string; workflow?: string }[];
    expect(rows.filter(({ runId }) => runId === id)).toHaveLength(3);
    expect(rows.filter(({ runId }) => runId === id).map(({ workflow }) => workflow)).toContain('fix-bug');
  });

  test('gets no key of a provider or of the gate but that of its run', async () => {
    const secrets = {
      OPENAI_API_KEY: 'sk-mine',
      ANTHROPIC_API_KEY: 'sk-ant-mine',
      ANTHROPIC_AUTH_TOKEN: 'mine',
      ANTHROPIC_BASE_URL: 'https://elsewhere.example',
      OPENAI_BASE_URL: 'https://elsewhere.example/v1',
      GEMINI_API_KEY: 'gem-mine',
      AI_GATEWAY_API_KEY: 'gateway-mine',
      HF_TOKEN: 'hf-mine',
      OPENAI_ADMIN_KEY: 'admin-mine',
      OPENAI_ORG_ID: 'org-mine',
      CLAUDE_CODE_USE_BEDROCK: '1',
      SECRETS_KEY: 'of-the-gate',
      DATABASE_URL: 'postgres://of-the-gate',
    };
    const { stdout, stderr } = await portcullis(['--keep-env', 'DATABASE_URL', 'other'], { ...secrets, EDITOR: 'vi' });
    const { env } = JSON.parse(stdout) as Told;
    const key = env['PORTCULLIS_KEY'] ?? '';
    expect(key).toMatch(/^pcl_/);
    expect(stdout).not.toMatch(/mine|elsewhere|SECRETS_KEY|BEDROCK|GEMINI/);
    expect(stdout).not.toContain(gate.adminKey);
    expect(env).toMatchObject({
      EDITOR: 'vi',
      DATABASE_URL: 'postgres://of-the-gate',
      PORTCULLIS_URL: gate.url,
      ANTHROPIC_BASE_URL: gate.url,
      ANTHROPIC_API_KEY: key,
      ANTHROPIC_AUTH_TOKEN: key,
      OPENAI_BASE_URL: `${gate.url}/v1`,
      OPENAI_API_KEY: key,
    });
    const [, names] = /^Withheld from the command: (.*) \(see --keep-env\)/m.exec(stderr) ?? [];
    expect(names?.split(', ').toSorted()).toEqual([
      'AI_GATEWAY_API_KEY',
      'CLAUDE_CODE_USE_BEDROCK',
      'GEMINI_API_KEY',
      'HF_TOKEN',
      'OPENAI_ADMIN_KEY',
      'OPENAI_ORG_ID',
      'SECRETS_KEY',
    ]);
  });

  test('gets the key of its run whatever is to be kept, and whoever asked for that is told', async () => {
    const keep = ['OPENAI_API_KEY', 'ANTHROPIC_API_KEY', 'HF_TOKEN', 'NOT_SET'].flatMap((name) => ['--keep-env', name]);
    const mine = { OPENAI_API_KEY: 'sk-mine', ANTHROPIC_API_KEY: 'sk-ant-mine', HF_TOKEN: 'hf-mine' };
    const { stdout, stderr } = await portcullis([...keep, 'claude'], mine);
    const { env } = JSON.parse(stdout) as Told;
    expect(env).toMatchObject({ OPENAI_API_KEY: env['PORTCULLIS_KEY'], HF_TOKEN: 'hf-mine' });
    expect(stderr).toContain(
      'Not kept, since the run sets or removes them itself: OPENAI_API_KEY, ANTHROPIC_API_KEY\n',
    );
    expect((await portcullis(['--keep-env', 'HF_TOKEN', 'other'], mine)).stderr).not.toContain('Not kept');
  });

  test('reaches a gate on this machine without the proxy of its environment', async () => {
    const proxy = { HTTP_PROXY: 'http://proxy.example:3128', NO_PROXY: 'intranet.example' };
    expect((await told(['other'], proxy)).env).toMatchObject({ ...proxy, NO_PROXY: 'intranet.example,127.0.0.1' });
    expect((await told(['other'])).env).not.toHaveProperty('NO_PROXY');
  });

  test('gives its exit code, and its signal as a shell tells it', async () => {
    expect((await portcullis(['--', 'sh', '-c', 'exit 7'])).code).toBe(7);
    expect(await lastRun()).toMatchObject({ state: 'failed', summary: 'exit code 7', workflow: 'sh' });
    expect((await portcullis(['sh', '-c', 'kill -KILL $$'])).code).toBe(137);
    expect(await lastRun()).toMatchObject({ state: 'cancelled', summary: 'ended by SIGKILL' });
  });

  test('that is not there, or cannot be run, leaves no run open', async () => {
    writeFileSync(join(folder, 'not-a-program'), 'text');
    for (const [command, exitCode, why] of [
      ['no-such-command', 127, 'There is no command "no-such-command"'],
      [join(folder, 'not-a-program'), 126, 'could not be started'],
    ] as const) {
      const { code, stderr } = await portcullis([command]);
      expect({ command, code }).toEqual({ command, code: exitCode });
      expect(stderr).toContain(why);
      expect(await lastRun()).toMatchObject({ state: 'cancelled', summary: 'The command was not started.' });
    }
  });

  test('gets the signals that its runner gets, and the run ends with it', async () => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      const waiting = script(`process.on('${signal}', () => { console.log('got', '${signal}'); process.exit(9); });
        console.log(process.env.PORTCULLIS_KEY); setInterval(() => {}, 1000);`);
      const program = new Program(['run', ...waiting], { cwd: folder, env: { PATH: path(), ...connection() } });
      await once(program.process.stdout ?? program.process, 'data');
      expect(await callWith(program.stdout.trim())).toBe(200);
      expect(await program.end(signal)).toBe(9);
      expect(program.stdout).toContain(`got ${signal}`);
      expect(await lastRun()).toMatchObject({ state: 'cancelled' });
      expect(await callWith(program.stdout.split('\n')[0] ?? '')).toBe(401);
    }
  });

  test('whose runner was killed has a key that ends by itself', async () => {
    const waiting = ['sh', '-c', 'echo $PORTCULLIS_KEY; read line'];
    const program = new Program(['run', '--expires', '2h', ...waiting], {
      cwd: folder,
      env: { PATH: path(), ...connection() },
    });
    await once(program.process.stdout ?? program.process, 'data');
    await program.end('SIGKILL');
    const { id } = await lastRun();
    const { rows } = await gate.database.pool.query(
      `SELECT extract(epoch FROM expires_at - created_at)::int AS "lifetimeS", scopes, kind FROM api_keys WHERE run_id = $1`,
      [id],
    );
    expect(rows).toEqual([{ lifetimeS: 7200, scopes: ['models:invoke'], kind: 'agent' }]);
    await gate.api('RunService/FinishRun', { runId: id, outcome: 'RUN_STATE_CANCELLED' });
  });

  test('may spend what --budget says, and the budget goes with the run', async () => {
    const calls = script(`console.log(await ask('claude-x'), await ask('claude-x'), await ask('house'));`);
    // A call of at most 50 tokens out is bounded by some 0.0002 USD.
    const { stdout, stderr } = await portcullis(['--budget', '0.00001', ...calls]);
    expect(stdout.trim()).toBe('429 429 200');
    const { id } = await lastRun();
    expect(stderr).toContain(`Refused 2 times: run ${id} (budget)`);
    expect(JSON.stringify(await gate.api('BudgetService/ListBudgets'))).not.toContain(id);
  });

  test('is told of as JSON where that is asked for', async () => {
    const calls = script(`await ask('claude-x'); await ask('nothing'); process.exit(3);`);
    await portcullis(['--summary', 'out.json', ...calls]);
    const { id } = await lastRun();
    expect(JSON.parse(readFileSync(join(folder, 'out.json'), 'utf8'))).toMatchObject({
      run: { id, state: 'RUN_STATE_FAILED' },
      command: { exitCode: 3, signal: null },
      totals: { attempts: '2', refusedAttempts: '1' },
      models: [{ key: 'claude-x' }, { key: 'nothing' }],
      refusals: [{ outcome: 'refused', rule: 'not_found', calls: 1 }],
    });
  });

  test('keeps its exit code when the run was ended by somebody else', async () => {
    const finish = script(`const [run] = process.argv.slice(-1);
      await fetch(process.env.PORTCULLIS_URL + '/portcullis.v1.RunService/FinishRun', { method: 'POST',
        headers: { 'content-type': 'application/json', authorization: 'Bearer ' + process.env.ADMIN },
        body: JSON.stringify({ runId: (await (await fetch(process.env.PORTCULLIS_URL + '/portcullis.v1.SystemService/GetSelf',
          { method: 'POST', headers: { 'content-type': 'application/json', authorization: 'Bearer ' + process.env.PORTCULLIS_KEY },
            body: '{}' })).json()).principal.runId, outcome: 'RUN_STATE_FAILED' }) });
      process.exit(0);`);
    const { code, stderr } = await portcullis(finish, { ADMIN: gate.adminKey });
    expect(code).toBe(0);
    expect(stderr).toMatch(/Run run_\w+ failed: /);
  });
});

describe('a run that is refused', () => {
  const marker = () => join(folder, 'marker');
  const touch = () => ['sh', '-c', `touch ${marker()}`];

  async function refused(env: Readonly<Record<string, string>> = {}, ...options: string[]) {
    const before = (await runs()).length;
    const { code, stderr } = await portcullis([...options, ...touch()], env);
    expect(existsSync(marker())).toBe(false);
    return { code, stderr, started: (await runs()).length - before };
  }

  test('by a kill switch or a budget starts no command and says why', async () => {
    const { killSwitch } = await gate.api<{ killSwitch: { id: string } }>('PolicyService/EngageKillSwitch', {
      scope: 'KILL_SCOPE_AGENT',
      value: agentId,
      reason: 'It loops',
    });
    const killed = await refused();
    await gate.api('PolicyService/ReleaseKillSwitch', { killSwitchId: killSwitch.id });
    expect(killed).toMatchObject({ code: 1, started: 0 });
    expect(killed.stderr).toContain('It loops');

    const budgetId = await gate.budget({ name: 'none left', unit: 'REQUESTS', limit: 0n, selector: { agentId } });
    const broke = await refused();
    await gate.api('BudgetService/DeleteBudget', { budgetId });
    expect(broke).toMatchObject({ code: 1, started: 0 });
    expect(broke.stderr).toContain('Budget "none left" is 0 and denies every call: no run is started.');
  });

  test('for want of a scope starts nothing and names it', async () => {
    const { secret } = await gate.agent('caller');
    const asAgent = await refused({ PORTCULLIS_KEY: secret }, '--agent', 'worker');
    expect(asAgent).toMatchObject({ code: 3, started: 0 });
    expect(asAgent.stderr).toContain('lacks keys:write');
  });

  test('where it is not said whose it is names the agents', async () => {
    await gate.api('AgentService/CreateAgent', { name: 'another' });
    const { code, stderr, started } = await refused();
    expect({ code, started }).toEqual({ code: 2, started: 0 });
    expect(stderr).toContain('--agent NAME (another, caller, worker)');
  });

  test('at a gate that does not answer', async () => {
    expect(await refused({ PORTCULLIS_URL: 'http://127.0.0.1:1' })).toMatchObject({ code: 4, started: 0 });
  });
});

describe('the tools that are known', () => {
  const worker = ['--agent', 'worker'];

  test('claude gets a token alone, tool search and the names of the gate in its picker', async () => {
    const mine = { ANTHROPIC_API_KEY: 'sk-ant-mine', ENABLE_TOOL_SEARCH: 'auto' };
    const { env, args, cwd } = await told([...worker, 'claude', '--model', 'x', '-p', 'do it'], mine);
    expect({ args, cwd }).toEqual({ args: ['--model', 'x', '-p', 'do it'], cwd: folder });
    expect(env).toMatchObject({
      ANTHROPIC_BASE_URL: gate.url,
      ANTHROPIC_AUTH_TOKEN: env['PORTCULLIS_KEY'],
      CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST: '1',
      CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY: '1',
      ENABLE_TOOL_SEARCH: 'auto',
      ANTHROPIC_CUSTOM_MODEL_OPTION: 'house',
    });
    expect(env).not.toHaveProperty('ANTHROPIC_API_KEY');
    expect(env).not.toHaveProperty('ANTHROPIC_MODEL');
    expect((await told([...worker, 'claude'])).env['ENABLE_TOOL_SEARCH']).toBe('true');
  });

  test('claude with a model of another family uses it for all that it does', async () => {
    const { env } = await told([...worker, '--model', 'house', '--', join(folder, 'claude')]);
    const tiers = ['OPUS', 'SONNET', 'HAIKU', 'FABLE'].map((tier) => env[`ANTHROPIC_DEFAULT_${tier}_MODEL`]);
    expect([env['ANTHROPIC_MODEL'], ...tiers]).toEqual(Array.from({ length: 5 }, () => 'house'));
    const own = (await told([...worker, '--model', 'claude-opus-9', 'claude'])).env;
    expect(own['ANTHROPIC_MODEL']).toBe('claude-opus-9');
    expect(own).not.toHaveProperty('ANTHROPIC_DEFAULT_HAIKU_MODEL');
  });

  test('codex is given a provider by its arguments, and the key by the environment alone', async () => {
    const { args, env } = await told([...worker, '--model', 'house', 'codex', 'exec', '--json', 'do it']);
    expect(args).toEqual([
      '-c',
      'model_provider="portcullis"',
      '-c',
      `model_providers.portcullis={ name = "Portcullis", base_url = "${gate.url}/v1", env_key = "PORTCULLIS_KEY", wire_api = "responses" }`,
      '-m',
      'house',
      'exec',
      '--json',
      'do it',
    ]);
    expect(args.join(' ')).not.toContain(env['PORTCULLIS_KEY']);
  });

  test('opencode is given one provider, which lists what the gate has', async () => {
    const { env, args } = await told([...worker, '--model', 'claude-opus-9', 'opencode', 'run']);
    expect(args).toEqual(['run']);
    const config = env['OPENCODE_CONFIG_CONTENT'] ?? '';
    expect(JSON.parse(config)).toMatchObject({
      enabled_providers: ['portcullis'],
      model: 'portcullis/claude-opus-9',
      provider: {
        portcullis: {
          options: { baseURL: `${gate.url}/v1`, apiKey: '{env:PORTCULLIS_KEY}' },
          models: { 'claude-opus-9': {}, house: {}, sim: {} },
        },
      },
    });
    expect(config).not.toContain(env['PORTCULLIS_KEY']);
    expect(config).not.toContain('{file:');
  });

  test('other commands are told their model by themselves', async () => {
    const { code, stderr } = await portcullis([...worker, '--model', 'house', 'other']);
    expect(code).toBe(2);
    expect(stderr).toContain('--model is for claude, codex, opencode');
  });
});

test('a gate that is gone at the end takes nothing from what the command did', async () => {
  const own = await startGate();
  try {
    await own.agent('worker');
    const env = { PATH: path(), PORTCULLIS_URL: own.url, PORTCULLIS_KEY: own.adminKey };
    const program = new Program(['run', 'sh', '-c', 'echo $$; exec sleep 60'], { cwd: folder, env });
    await once(program.process.stdout ?? program.process, 'data');
    await own.end();
    process.kill(Number(program.stdout.trim()), 'SIGTERM');
    expect(await program.exited).toBe(143);
    expect(program.stderr).toMatch(/No gate answers at .*\n.*portcullis runs finish run_/);
  } finally {
    await own.stop();
  }
});

test('a second signal ends the wait for a gate that hangs at the end', async () => {
  const reached = new EventEmitter();
  const hanging = createServer((request, response) => {
    if (request.url?.endsWith('/FinishRun')) {
      reached.emit('finish');
      return;
    }
    const { host: _host, ...headers } = request.headers;
    const onward = forward(new URL(request.url ?? '', gate.url), { method: request.method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    request.pipe(onward);
  }).listen(0, '127.0.0.1');
  await once(hanging, 'listening');
  try {
    const url = `http://127.0.0.1:${(hanging.address() as AddressInfo).port}`;
    const env = { PATH: path(), ...connection(), PORTCULLIS_URL: url };
    const program = new Program(['run', '--agent', 'worker', 'sh', '-c', 'exit 7'], { cwd: folder, env });
    await once(reached, 'finish');
    program.process.kill('SIGINT');
    expect(await program.end('SIGTERM')).toBe(7);
    const { id, state } = await lastRun();
    expect(state).toBe('running');
    expect(program.stderr).toContain(`portcullis runs finish ${id}`);
    await gate.api('RunService/FinishRun', { runId: id, outcome: 'RUN_STATE_CANCELLED' });
  } finally {
    hanging.closeAllConnections();
    hanging.close();
  }
});
