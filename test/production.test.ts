import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from './support/database.ts';
import { eventually, send } from './support/doors.ts';
import { Program, run } from './support/program.ts';

const strong = 'Zq8vN2xW5rT7yU4iO9pL3kJ6hG1fD0sA';
const folder = mkdtempSync(join(tmpdir(), 'portcullis-production-'));

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database?.drop();
  rmSync(folder, { recursive: true });
});

/** A configuration that production starts on, changed; an undefined name is left out. */
function safe(change: Record<string, string | undefined> = {}): Record<string, string> {
  const environment = {
    NODE_ENV: 'production',
    SECRETS_KEY: strong,
    DATABASE_URL: database.appUrl,
    DATA_DIR: join(folder, 'data'),
    HTTP_ADDR: '127.0.0.1:0',
    GRPC_ADDR: '127.0.0.1:0',
    ...change,
  };
  return Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== undefined));
}

/** Starts what must not start. @returns what it said, a line each */
async function refusal(command: string, environment: Record<string, string>): Promise<string[]> {
  const { code, stdout, stderr } = await run([command], { cwd: folder, env: environment });
  expect(code, stderr).toBe(1);
  expect(stdout).toBe('');
  expect(stderr).not.toMatch(/\n\s+at |listens on/);
  // Nothing was made: no data folder, no log, no lock.
  expect(readdirSync(folder).filter((name) => !name.endsWith('.yaml'))).toEqual([]);
  return stderr.trimEnd().split('\n');
}

describe('production', () => {
  it.each([
    ['no SECRETS_KEY', { SECRETS_KEY: undefined }, /^problem: SECRETS_KEY is missing/],
    ['a short SECRETS_KEY', { SECRETS_KEY: 'short' }, /^problem: SECRETS_KEY is weak/],
    [
      'a SECRETS_KEY from a tutorial',
      { SECRETS_KEY: 'changeme-changeme-changeme-changeme' },
      /^problem: SECRETS_KEY is weak/,
    ],
    ['one letter over and over', { SECRETS_KEY: 'x'.repeat(40) }, /^problem: SECRETS_KEY is weak/],
    ['a weak ADMIN_API_KEY', { ADMIN_API_KEY: 'hunter2' }, /^problem: ADMIN_API_KEY is weak/],
    ['a weak API_KEY', { API_KEY: 'hunter2' }, /^problem: API_KEY is weak/],
    ['a weak METRICS_API_KEY', { METRICS_API_KEY: 'hunter2' }, /^problem: METRICS_API_KEY is weak/],
    ['a weak AUTH_TOKEN', { AUTH_TOKEN: 'hunter2', ALLOW_LEGACY_AUTH_TOKEN: 'true' }, /^problem: AUTH_TOKEN is weak/],
    ['Basic', { ENABLE_BASIC_AUTH_FALLBACK: 'true' }, /^problem: Basic Auth fallback MUST be disabled/],
    ['reflection', { ENABLE_REFLECTION: 'true' }, /^problem: gRPC reflection must be off/],
    ['a plaintext public URL', { PUBLIC_URL: 'http://gate.example.com' }, /^problem: PUBLIC_URL is plaintext/],
    ['no DATABASE_URL', { DATABASE_URL: undefined }, /^problem: DATABASE_URL is missing/],
    ['a file as the database', { DATABASE_URL: 'sqlite:data.db' }, /^problem: DATABASE_URL: .*DATA_DIR/],
    ['an address that is none', { HTTP_ADDR: 'everywhere' }, /^problem: HTTP_ADDR="everywhere"/],
    ['a proxy that is no address', { TRUSTED_PROXIES: 'proxy.example.com' }, /^problem: TRUSTED_PROXIES=/],
    ['an origin that is none', { ALLOWED_ORIGINS: 'https://app.example.com/path' }, /^problem: ALLOWED_ORIGINS=/],
    ['half an issuer', { AUTH_DOMAIN: 'id.example.com' }, /^problem: The token issuer is only partly configured/],
    ['a configuration file that is not there', { CONFIG_FILE: '/nowhere/x.yaml' }, /^problem: CONFIG_FILE/],
    [
      'a secret in two places',
      { SECRETS_KEY_FILE: '/dev/null' },
      /^problem: SECRETS_KEY and SECRETS_KEY_FILE are both set/,
    ],
  ])('refuses %s with one clear line', async (_what, change, line) => {
    const lines = await refusal('serve', safe(change));
    expect(lines.filter((each) => line.test(each))).toHaveLength(1);
    expect(lines.at(-1)).toMatch(/^Configuration validation: failed \(\d\)\. Nothing was started\.$/);
    expect(lines.join('\n')).not.toContain('hunter2');
  });

  it('is also called METTLE_ENVIRONMENT and ENVIRONMENT', async () => {
    for (const name of ['METTLE_ENVIRONMENT', 'ENVIRONMENT']) {
      const lines = await refusal('serve', safe({ NODE_ENV: undefined, [name]: 'production', SECRETS_KEY: 'short' }));
      expect(lines.join('\n')).toContain('SECRETS_KEY is weak');
    }
  });

  it('lists everything that is wrong at once, for the embedded start too', async () => {
    const change = { SECRETS_KEY: 'short', ENABLE_REFLECTION: 'true', HTTP_ADDR: 'x' };
    for (const [command, count] of [
      ['serve', 3],
      ['up', 4],
    ] as const) {
      const lines = await refusal(command, safe(command === 'up' ? { ...change, DATABASE_URL: undefined } : change));
      expect(lines.filter((line) => line.startsWith('problem: '))).toHaveLength(count);
    }
  });

  it('refuses a route of which nothing can be made, before it touches the database', async () => {
    const file = join(folder, 'portcullis.yaml');
    writeFileSync(file, 'providers: { lab: { kind: openai-compatible, base_url: "http://127.0.0.1:1/v1" } }\n');
    const lines = await refusal('serve', safe({ DATABASE_URL: 'postgres://nobody@127.0.0.1:1/x' }));
    rmSync(file);
    expect(lines.at(-1)).toBe('Provider lab has a private address: set allow_private: true if that is meant.');
  });

  it('does not read .env', async () => {
    writeFileSync(join(folder, '.env'), `SECRETS_KEY=${strong}\n`);
    const { code, stderr } = await run(['serve'], { cwd: folder, env: safe({ SECRETS_KEY: undefined }) });
    rmSync(join(folder, '.env'));
    expect([code, stderr]).toEqual([1, expect.stringContaining('SECRETS_KEY is missing')]);
  });

  it('starts on a safe configuration, with secrets from files', async () => {
    const secret = join(folder, 'secret.yaml');
    writeFileSync(secret, `${strong}\n`);
    const gate = new Program(['serve'], {
      cwd: folder,
      env: safe({ SECRETS_KEY: undefined, SECRETS_KEY_FILE: secret }),
    });
    const url = await eventually(() => {
      const [, found = ''] = /listens on (\S+)/.exec(gate.stderr) ?? [];
      expect(found, gate.output).not.toBe('');
      return found;
    });
    expect((await send(url, { path: '/readyz' })).status).toBe(200);
    expect(await gate.end()).toBe(0);
    expect(gate.stderr).toMatch(/^Configuration validation: ok$/m);
    for (const line of gate.stdout.trimEnd().split('\n')) expect(() => JSON.parse(line) as unknown).not.toThrow();
  });
});

describe('whatever the environment, one line says why a gate does not start', () => {
  const development = (change: Record<string, string>) => safe({ NODE_ENV: 'development', ...change });

  it('a schema that is behind', async () => {
    const empty = await createEmptyDatabase();
    const lines = await refusal('serve', development({ DATABASE_URL: empty.appUrl }));
    await empty.drop();
    expect(lines.at(-1)).toMatch(/^The schema is at version 0, this code needs \d+: run `portcullis migrate` first\.$/);
  });

  it('a database that is away, or does not know us', async () => {
    const away = await refusal('serve', development({ DATABASE_URL: 'postgres://me:hunter2@127.0.0.1:1/x' }));
    expect(away.at(-1)).toMatch(/^The database cannot be used: .*ECONNREFUSED/);
    const wrong = new URL(database.appUrl);
    wrong.password = 'hunter2';
    const stranger = await refusal('serve', development({ DATABASE_URL: wrong.href }));
    expect(stranger.at(-1)).toMatch(/^The database cannot be used: .*authentication failed/);
    expect([...away, ...stranger].join('\n')).not.toContain('hunter2');
  });

  it('a port that is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((listening) => other.once('listening', listening));
    const { port } = other.address() as { port: number };
    const lines = await refusal('serve', development({ HTTP_ADDR: `127.0.0.1:${port}` }));
    other.close();
    expect(lines.at(-1)).toBe(`HTTP_ADDR=127.0.0.1:${port} cannot be used: another program listens there.`);
  });

  it('a log that cannot be written', async () => {
    const lines = await refusal('serve', development({ LOG_FILE: '/dev/null/gate.log' }));
    expect(lines.at(-1)).toMatch(/^The log cannot be written: /);
  });

  it('up with a DATABASE_URL, and serve without', async () => {
    expect((await refusal('up', development({}))).at(-1)).toMatch(/^DATABASE_URL is set: use .*serve/);
    const { DATABASE_URL: _, ...without } = development({});
    expect((await refusal('serve', without)).at(-1)).toMatch(/^DATABASE_URL is not set: `portcullis up`/);
  });

  it('migrate on a database that is away', async () => {
    const lines = await refusal('migrate', development({ DATABASE_URL: 'postgres://me:hunter2@127.0.0.1:1/x' }));
    expect(lines.at(-1)).toMatch(/ECONNREFUSED/);
    expect(lines.join('\n')).not.toContain('hunter2');
  });
});

it('development goes on without what does not hold, and /readyz says so', async () => {
  const gate = new Program(['serve'], { cwd: folder, env: safe({ NODE_ENV: 'development', DRAIN_MS: 'long' }) });
  const url = await eventually(
    () => /listens on (\S+)/.exec(gate.stderr)?.[1] ?? Promise.reject(new Error(gate.output)),
  );
  const { status, json } = await send(url, { path: '/readyz' });
  expect([status, json.configuration]).toEqual([200, 'degraded']);
  expect(gate.stderr).toMatch(/^problem: DRAIN_MS="long": write a whole number\.$/m);
  expect(gate.stderr).toMatch(/^Configuration validation: degraded/m);
  expect(await gate.end('SIGINT')).toBe(0);
});
