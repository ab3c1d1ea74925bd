import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { loginConnection } from '../server/src/cli/login/saved-login.ts';
import { parseConfigFile } from '../server/src/config/file.ts';
import { runCommand, testContext } from './support/cli.ts';
import { queryAsOwner } from './support/database.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { decide, refresh, signIn } from './support/login-client.ts';
import { PeopleProvider } from './support/people-provider.ts';
import { Program, run } from './support/program.ts';
import type { Visitor } from './support/visitor.ts';

const root = mkdtempSync(join(tmpdir(), 'portcullis-login-'));
let provider: PeopleProvider;
let gate: TestGate;
let ada: Visitor;
beforeAll(async () => {
  provider = await PeopleProvider.start();
  gate = await startGate({ yaml: provider.section(), env: { TRUSTED_PROXIES: '127.0.0.1' } });
  provider.register([gate.url]);
  ada = await signIn(gate, provider, {
    sub: 'ada',
    email: 'ada@example.com',
    email_verified: true,
    name: 'Ada',
    groups: ['admins'],
  });
});
afterAll(async () => {
  await gate?.stop();
  await provider?.close();
  rmSync(root, { recursive: true });
});

interface Saved {
  server: string;
  key: string;
  expires_at: number;
  refresh_credential: string;
}

/** A home of somebody. */
class Home {
  readonly folder = mkdtempSync(join(root, 'home-'));
  readonly file = join(this.folder, 'portcullis', 'credentials.json');
  readonly environment = { XDG_CONFIG_HOME: this.folder };

  get saved(): Saved {
    return JSON.parse(readFileSync(this.file, 'utf8')) as Saved;
  }

  change(change: Partial<Saved>): void {
    writeFileSync(this.file, JSON.stringify({ ...this.saved, ...change }));
  }

  command(...args: string[]) {
    return runCommand(args, { environment: this.environment, cwd: this.folder });
  }

  /** Logs in as a process of its own, and decides as Ada. @returns its exit code and output */
  async logIn(args: readonly string[] = [], decision: 'approve' | 'deny' = 'approve') {
    const options = { cwd: this.folder, env: this.environment };
    const program = new Program(['login', '--server', gate.url, '--no-browser', ...args], options);
    const userCode = await vi.waitFor(
      () => {
        const [, code] = /enter the code ([A-Z-]{9})\nor open \S+ and/.exec(program.stdout) ?? [];
        if (code === undefined) throw new Error(`no code yet: ${program.output}`);
        return code;
      },
      { timeout: 30_000, interval: 50 },
    );
    await decide(gate, ada, userCode, decision);
    return { code: await program.exited, output: program.output };
  }
}

describe('portcullis login', () => {
  it('logs in, is used by every command, and logs out', async () => {
    const home = new Home();
    const { code, output } = await home.logIn(['--scope', 'telemetry:read', '--scope', 'keys:read']);
    expect([code, output]).toEqual([0, expect.stringContaining(`Logged in to ${gate.url}.`)]);
    expect(output).not.toMatch(/pcl_|pcr_|pcd_/);
    expect(output).toContain(`or open ${gate.url}/device?user_code=`);
    expect(statSync(home.file).mode & 0o777).toBe(0o600);
    expect(statSync(join(home.folder, 'portcullis')).mode & 0o777).toBe(0o700);
    const whoami = await home.command('whoami');
    expect(whoami.code).toBe(0);
    for (const shown of ['Ada', 'person', 'operator', 'keys:read telemetry:read', gate.url])
      expect(whoami.stdout).toContain(shown);
    expect((await home.command('keys', 'list')).code).toBe(0);
    expect((await home.command('agents', 'create', 'no')).code).toBe(3);
    expect((await home.command('logins', 'list', '--own')).stdout).toMatch(/portcullis on/);
    const token = await home.command('token');
    expect(token).toMatchObject({ code: 0, stdout: `${home.saved.key}\n`, stderr: '' });
    const { refresh_credential: credential } = home.saved;
    expect(await home.command('logout')).toMatchObject({ code: 0, stdout: `Logged out of ${gate.url}.\n` });
    expect(() => statSync(home.file)).toThrow('ENOENT');
    expect((await refresh(gate, credential)).json.error).toBe('invalid_grant');
    expect(await home.command('whoami')).toMatchObject({ code: 4 });
    expect(await home.command('token')).toMatchObject({ code: 3, stdout: '' });
    expect(await home.command('logout')).toMatchObject({ code: 0, stderr: 'Nobody is logged in here.\n' });
  });

  it('ends the login before it, and can make keys of agents that outlive the hour', async () => {
    const home = new Home();
    await home.logIn();
    const before = home.saved;
    await home.logIn();
    expect((await refresh(gate, before.refresh_credential)).json.error).toBe('invalid_grant');
    expect((await home.command('agents', 'create', 'builder')).code).toBe(0);
    const made = await home.command(
      'keys',
      'create',
      '--agent',
      'builder',
      '--scope',
      'models:invoke',
      '--expires',
      '90d',
    );
    expect([made.code, made.stderr]).toEqual([0, expect.anything()]);
  });

  it('that is denied says so', async () => {
    const home = new Home();
    const { code, output } = await home.logIn([], 'deny');
    expect([code, output]).toEqual([3, expect.stringContaining('did not confirm')]);
    expect(() => statSync(home.file)).toThrow('ENOENT');
  });

  it.each([
    [['--server', 'http://gate.example'], 2, 'use https'],
    [['--server', 'https://user:secret@gate.example'], 2, 'plain address'],
    [['--server', 'http://127.0.0.1:1'], 4, 'No gate answers'],
    [['--scope', 'everything'], 2, 'The scopes are'],
    [[], 2, 'Which gate?'],
  ])('%j fails with what to do', async (args, code, sentence) => {
    const told = await new Home().command('login', ...args);
    expect([told.code, told.stdout], told.stderr).toEqual([code, '']);
    expect(told.stderr).toContain(sentence);
  });

  it('opens the page for a person at a terminal, and is not opened by what is none', async () => {
    const home = new Home();
    const opened = join(home.folder, 'opened');
    writeFileSync(join(home.folder, 'xdg-open'), `#!/bin/sh\nprintf '%s' "$1" > '${opened}'\n`);
    chmodSync(join(home.folder, 'xdg-open'), 0o755);
    const environment = { ...home.environment, PATH: `${home.folder}:/bin:/usr/bin`, DISPLAY: ':0' };
    const going = runCommand(['login', '--server', gate.url], { environment, cwd: home.folder, isTTY: true });
    const url = await vi.waitFor(
      () => {
        const text = readFileSync(opened, 'utf8');
        if (!text.includes('user_code=')) throw new Error('not yet');
        return text;
      },
      { timeout: 20_000, interval: 20 },
    );
    await decide(gate, ada, new URL(url).searchParams.get('user_code') ?? '');
    expect((await going).code).toBe(0);
  });
});

describe('the login that was kept', () => {
  it('is renewed by many processes at once without being taken for stolen', async () => {
    const home = new Home();
    await home.logIn();
    for (let round = 0; round < 2; round++) {
      home.change({ expires_at: Date.now() + 1_000 });
      const before = home.saved.key;
      const options = { cwd: home.folder, env: home.environment };
      const runs = await Promise.all(Array.from({ length: 3 }, () => run(['token'], options)));
      const printed = new Set(runs.map(({ stdout, stderr }) => stdout + stderr));
      expect([...printed]).toEqual([`${home.saved.key}\n`]);
      expect(home.saved.key).not.toBe(before);
      // As if the next came much later.
      await queryAsOwner(gate.database, "UPDATE logins SET last_used_at = last_used_at - interval '1 hour'");
    }
    expect((await home.command('whoami')).code).toBe(0);
  });

  it('is renewed while a command goes on, and after a process that was killed', async () => {
    const home = new Home();
    await home.logIn();
    const connection = loginConnection(testContext(home).context);
    home.change({ expires_at: Date.now() });
    // Whoever held this lock is gone.
    writeFileSync(`${home.file}.lock`, '');
    const old = new Date(Date.now() - 60_000);
    utimesSync(`${home.file}.lock`, old, old);
    expect(await connection?.renew?.()).toBe(connection?.key);
    const later = loginConnection(testContext(home).context);
    const keys = await Promise.all([later?.renew?.(), later?.renew?.()]);
    expect(new Set(keys)).toEqual(new Set([home.saved.key]));
    expect(home.saved.key).not.toBe(later?.key);
  });

  it('that was stolen and used is over for its owner, who is told', async () => {
    const home = new Home();
    await home.logIn();
    await refresh(gate, home.saved.refresh_credential);
    await queryAsOwner(gate.database, "UPDATE logins SET last_used_at = last_used_at - interval '1 minute'");
    home.change({ expires_at: Date.now() });
    const told = await home.command('whoami');
    expect(told).toMatchObject({ code: 3, stderr: expect.stringContaining('run `portcullis login`') });
  });

  it('is refused where others can read it or it is damaged, and goes to no other gate', async () => {
    const home = new Home();
    mkdirSync(join(home.folder, 'portcullis'));
    const login: Saved = {
      server: gate.url,
      key: 'pcl_key',
      expires_at: Date.now() + 3e6,
      refresh_credential: 'pcr_x',
    };
    writeFileSync(home.file, JSON.stringify(login), { mode: 0o600 });
    const elsewhere = { environment: { ...home.environment, PORTCULLIS_URL: 'http://127.0.0.1:1' }, cwd: home.folder };
    expect(await runCommand(['whoami'], elsewhere)).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('no key for'),
    });
    expect(await runCommand(['token'], elsewhere)).toMatchObject({ code: 3, stdout: '' });
    for (const mode of [0o640, 0o604, 0o622]) {
      chmodSync(home.file, mode);
      expect((await home.command('whoami')).stderr).toContain('can be read by others');
    }
    chmodSync(home.file, 0o600);
    // Keys that were given come first.
    const given = {
      environment: { ...home.environment, PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: gate.adminKey },
      cwd: home.folder,
    };
    expect((await runCommand(['whoami'], given)).stdout).toContain('ADMIN_API_KEY');
    for (const text of ['', '{', '{"server":1}', 'null']) {
      writeFileSync(home.file, text);
      expect((await home.command('whoami')).stderr).toContain('is damaged');
    }
  });
});

describe('docs/login.md', () => {
  const page = readFileSync(resolve(import.meta.dirname, '../docs/login.md'), 'utf8');
  const blocks = (language: string) =>
    [...page.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'gms'))].map(([, block]) => block ?? '');

  it('shows commands that do what it says', async () => {
    const home = new Home();
    const lines = blocks('sh').flatMap((block) => block.trim().split('\n'));
    const commands = lines.map((line) => line.replace('https://gate.example.com', gate.url).split(' ').slice(1));
    expect(commands.map(([name]) => name)).toEqual(['login', 'whoami', 'logins', 'logout', 'agents']);
    await home.logIn();
    const [, whoami, logins, logout, agents] = commands;
    const asAdmin = { environment: { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: gate.adminKey }, cwd: home.folder };
    expect((await runCommand(agents ?? [], asAdmin)).code).toBe(0);
    const settings = JSON.parse(blocks('json')[0] ?? '') as { apiKeyHelper: string };
    expect((await home.command(...settings.apiKeyHelper.split(' ').slice(1))).stdout).toMatch(/^pcl_\w+\n$/);
    for (const args of [whoami, logins, logout]) expect((await home.command(...(args ?? []))).code).toBe(0);
  });

  it('shows a configuration that holds', () => {
    const findings = { problems: [] as string[], notes: [] as string[] };
    expect(parseConfigFile(blocks('yaml')[0] ?? '', {}, findings)?.issuers).toHaveLength(1);
    expect(findings.problems).toEqual([]);
  });
});
