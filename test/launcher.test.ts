import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';

const launcher = resolve(import.meta.dirname, '../bin/portcullis');
const root = realpathSync(mkdtempSync(join(tmpdir(), 'portcullis-launcher-')));
afterAll(() => rmSync(root, { recursive: true }));

// A repository whose program says what it was started with; the launcher is the real one.
const program = `
const [what, ...rest] = process.argv.slice(2);
if (what === 'exit') process.exit(Number(rest[0]));
if (what === 'wait') { process.once('SIGTERM', () => process.exit(42)); setTimeout(() => {}, 60_000); process.stdout.write('waiting'); }
else console.log(JSON.stringify({ args: process.argv.slice(2), cwd: process.cwd(), exec: process.execPath, data: process.env.DATA_DIR, config: process.env.CONFIG_FILE }));
`;
let repo: string;
let elsewhere: string;
beforeEach(() => {
  const here = mkdtempSync(join(root, 'a b-'));
  repo = join(here, 'repo $x');
  elsewhere = join(here, 'elsewhere');
  for (const dir of ['bin', 'server/src', 'node_modules/.bin']) mkdirSync(join(repo, dir), { recursive: true });
  mkdirSync(elsewhere);
  copyFileSync(launcher, join(repo, 'bin/portcullis'));
  chmodSync(join(repo, 'bin/portcullis'), 0o755);
  writeFileSync(join(repo, 'server/src/main.ts'), program);
  symlinkSync(process.execPath, join(repo, 'node_modules/.bin/node'));
});

const system = '/usr/bin:/bin';

function run(path: string, args: string[], environment: Record<string, string> = {}, cwd = elsewhere) {
  return spawnSync(path, args, { cwd, env: { PATH: system, ...environment }, encoding: 'utf8' });
}

function told(...call: Parameters<typeof run>): Record<string, unknown> {
  return JSON.parse(run(...call).stdout) as Record<string, unknown>;
}

describe('bin/portcullis', () => {
  test('works from any directory, and passes the arguments as they are', () => {
    const args = ['keys', 'create', '--name', 'two  words', '*', "it's", ''];
    expect(told(join(repo, 'bin/portcullis'), args)).toEqual({
      args,
      cwd: elsewhere,
      exec: realpathSync(process.execPath),
      data: join(repo, 'data'),
    });
  });

  test('works through symbolic links, relative and absolute, and a chain of them', () => {
    symlinkSync(join(repo, 'bin/portcullis'), join(elsewhere, 'absolute'));
    symlinkSync('absolute', join(elsewhere, 'chain'));
    symlinkSync('../repo $x/bin/portcullis', join(elsewhere, 'relative'));
    for (const name of ['absolute', 'chain', 'relative'])
      expect(told(join(elsewhere, name), []).data).toBe(join(repo, 'data'));
    expect(told('portcullis', [], { PATH: `${join(repo, 'bin')}:${system}`, CDPATH: repo }).data).toBe(
      join(repo, 'data'),
    );
  });

  test('leaves alone what the caller or the .env of the directory names', () => {
    expect(told(join(repo, 'bin/portcullis'), [], { DATA_DIR: '/srv/x' }).data).toBe('/srv/x');
    writeFileSync(join(elsewhere, '.env'), '# mine\nexport DATA_DIR=/srv/y\n');
    expect(told(join(repo, 'bin/portcullis'), [])).not.toHaveProperty('data');
  });

  test('takes the configuration of the repository unless the directory has its own', () => {
    expect(told(join(repo, 'bin/portcullis'), [])).not.toHaveProperty('config');
    writeFileSync(join(repo, 'portcullis.yaml'), '');
    expect(told(join(repo, 'bin/portcullis'), []).config).toBe(join(repo, 'portcullis.yaml'));
    writeFileSync(join(elsewhere, 'portcullis.yaml'), '');
    expect(told(join(repo, 'bin/portcullis'), [])).not.toHaveProperty('config');
  });

  test('falls back to a Node on the PATH that is new enough, and else says one line', () => {
    rmSync(join(repo, 'node_modules'), { recursive: true });
    const tools = join(elsewhere, 'tools');
    mkdirSync(tools);
    symlinkSync(process.execPath, join(tools, 'node'));
    expect(told(join(repo, 'bin/portcullis'), [], { PATH: `${tools}:${system}` }).data).toBe(join(repo, 'data'));
    rmSync(join(tools, 'node'));
    writeFileSync(join(tools, 'node'), '#!/bin/sh\nexit 1\n');
    chmodSync(join(tools, 'node'), 0o755);
    const { status, stderr } = run(join(repo, 'bin/portcullis'), [], { PATH: `${tools}:${system}` });
    expect(status).toBe(1);
    expect(stderr).toMatch(/^portcullis: Node 24 or later is needed: .*\n$/);
  });

  test('gives back the exit code, and hands signals to the program', async () => {
    expect(run(join(repo, 'bin/portcullis'), ['exit', '3']).status).toBe(3);
    const child = spawn(join(repo, 'bin/portcullis'), ['wait'], { cwd: elsewhere, env: { PATH: system } });
    await once(child.stdout, 'data');
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([42, null]);
  });
});
