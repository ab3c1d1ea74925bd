import { once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CliRun, runCommand } from './support/cli.ts';
import { type CuttingLink, openCuttingLink } from './support/cutting-link.ts';
import { type Kind, nameOf, standingRows, writeExportedRows } from './support/exported-rows.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { Program } from './support/program.ts';

let gate: TestGate;
let link: CuttingLink;
let projectId: string;
const folder = mkdtempSync(join(tmpdir(), 'portcullis-export-'));

beforeAll(async () => {
  gate = await startGate();
  const made = await gate.api<{ agent: { id: string; projectId: string } }>('AgentService/CreateAgent', {
    name: 'one',
  });
  ({ projectId } = made.agent);
  await writeExportedRows(gate.database.pool, { projectId, agentId: made.agent.id }, 400);
  link = await openCuttingLink(gate.url);
});
afterAll(async () => {
  await link?.close();
  await gate?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const environment = (url: string) => ({ PORTCULLIS_URL: url, PORTCULLIS_KEY: gate.adminKey });

function run(args: readonly string[], url = gate.url): Promise<CliRun> {
  return runCommand(['export', 'state', ...args], { environment: environment(url), cwd: folder });
}

/** That each record which stands in the database is on a line of its own, once. */
async function expectWhole(text: string): Promise<void> {
  const told = new Map<string, string[]>();
  for (const line of text.trimEnd().split('\n')) {
    for (const [kind, record] of Object.entries(JSON.parse(line) as Record<string, object>)) {
      told.set(kind, [...(told.get(kind) ?? []), nameOf(kind, record)]);
    }
  }
  expect(told.get('project')).toEqual([projectId]);
  for (const [kind, names] of await standingRows(gate.database, projectId)) {
    expect((told.get(kind) ?? []).toSorted(), kind satisfies Kind).toEqual(names.toSorted());
  }
}

/** What there is of that name, or of one made of it. */
const left = (name: string) => readdirSync(folder).filter((found) => found.startsWith(name));

const read = (name: string) => readFileSync(join(folder, name), 'utf8');

test('a file has a record a line, appears when it is whole, is for its owner alone, and is not replaced unasked', async () => {
  expect(await run(['--output', 'whole.ndjson'])).toMatchObject({ code: 0, stdout: '' });
  await expectWhole(read('whole.ndjson'));
  expect(statSync(join(folder, 'whole.ndjson')).mode & 0o777).toBe(0o600);
  expect(left('whole.ndjson')).toEqual(['whole.ndjson']);
  const again = await run(['--output', 'whole.ndjson']);
  expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('whole.ndjson exists: --force replaces it.')]);
  expect((await run(['--output', 'whole.ndjson', '--force'])).code).toBe(0);
  await expectWhole(read('whole.ndjson'));
});

test('standard output has the same, and some kinds alone where they are asked for', async () => {
  const all = await run(['--output', '-']);
  await expectWhole(all.stdout);
  const { stdout, stderr } = await run(['--output', '-', '--kind', 'agent', '--kind', 'project']);
  const kinds = stdout
    .trimEnd()
    .split('\n')
    .map((line) => Object.keys(JSON.parse(line) as object)[0]);
  expect(kinds).toEqual(['project', 'agent']);
  expect(stderr).toBe('2 records: project 1, agent 1.\n');
  expect((await run(['--output', '-', '--resume'])).code).toBe(2);
});

test('a connection that breaks again and again costs nothing but time', async () => {
  let bytes = 20_000;
  link.cutAfter(bytes);
  const patience = setInterval(() => link.cutAfter((bytes += 20_000)), 100);
  const done = await run(['--output', 'broken.ndjson'], link.url).finally(() => clearInterval(patience));
  link.cutAfter(null);
  expect(done.code, done.stderr).toBe(0);
  expect(done.stderr).toContain('The stream broke');
  await expectWhole(read('broken.ndjson'));
});

/** Runs the command line in a process of its own, through a link that breaks, and kills it when it has written something. */
async function killMidway(name: string): Promise<void> {
  const partial = join(folder, `${name}.partial`);
  const size = () => (existsSync(partial) ? statSync(partial).size : 0);
  const before = size();
  link.cutAfter(60_000);
  const more = before > 0 ? ['--resume'] : [];
  const program = new Program(['export', 'state', '--output', name, ...more], {
    cwd: folder,
    env: environment(link.url),
  });
  await expect.poll(size, { timeout: 60_000, interval: 20 }).toBeGreaterThan(before);
  program.process.kill('SIGKILL');
  await program.exited;
  link.cutAfter(null);
}

test('what was killed goes on with --resume, behind a torn line too, and not without', async () => {
  const name = 'killed.ndjson';
  await killMidway(name);
  expect(existsSync(join(folder, name))).toBe(false);
  appendFileSync(join(folder, `${name}.partial`), '{"task":{"id":"torn');
  const unasked = await run(['--output', name]);
  expect([unasked.code, unasked.stderr]).toEqual([1, expect.stringContaining('--resume goes on with it')]);
  await killMidway(name);
  expect((await run(['--output', name, '--resume'])).code).toBe(0);
  await expectWhole(read(name));
  expect(left(name)).toEqual([name]);
});

test.each([
  ['{}', /is damaged: begin anew with --force/],
  ['null', /is damaged: begin anew with --force/],
  ['', /does not say how far it came: begin anew with --force/],
])(
  'a checkpoint that is damaged is not gone on with, and replaced where that is asked: "%s"',
  async (content, said) => {
    const name = `damaged-${content}.ndjson`;
    writeFileSync(join(folder, `${name}.partial`), '{}\n');
    writeFileSync(join(folder, `${name}.position`), content);
    const resumed = await run(['--output', name, '--resume']);
    expect([resumed.code, resumed.stderr]).toEqual([1, expect.stringMatching(said)]);
    expect((await run(['--output', name, '--force'])).code).toBe(0);
    await expectWhole(read(name));
    expect(left(name)).toEqual([name]);
  },
);

/** Begins an export in a process of its own, and stops that without ending it when it has written something. */
async function stopMidway(name: string, args: readonly string[] = [], key = gate.adminKey): Promise<Program> {
  const partial = join(folder, `${name}.partial`);
  link.cutAfter(60_000);
  const program = new Program(['export', 'state', '--output', name, ...args], {
    cwd: folder,
    env: { ...environment(link.url), PORTCULLIS_KEY: key },
  });
  await expect
    .poll(() => (existsSync(partial) ? statSync(partial).size : 0), { timeout: 60_000, interval: 20 })
    .toBeGreaterThan(0);
  program.process.kill('SIGSTOP');
  // It stops a moment later, and a thread of it may be writing.
  await expect
    .poll(async () => {
      const size = statSync(partial).size;
      await sleep(100);
      return statSync(partial).size - size;
    })
    .toBe(0);
  link.cutAfter(null);
  return program;
}

test('two processes never write one file: the second is refused, whatever it asks, and the first goes on', async () => {
  const name = 'contended.ndjson';
  const first = await stopMidway(name);
  const before = readFileSync(join(folder, `${name}.partial`));
  for (const more of [[], ['--resume'], ['--force']]) {
    const second = await run(['--output', name, ...more]);
    expect([second.code, second.stderr]).toEqual([1, expect.stringContaining('Another process is writing')]);
  }
  expect(readFileSync(join(folder, `${name}.partial`)).equals(before)).toBe(true);
  first.process.kill('SIGCONT');
  expect(await first.exited, first.stderr).toBe(0);
  await expectWhole(read(name));
  expect(left(name)).toEqual([name]);
});

test('a file that was put in the place of the one that is written does not get its name', async () => {
  const name = 'replaced.ndjson';
  const first = await stopMidway(name);
  rmSync(join(folder, `${name}.partial`));
  writeFileSync(join(folder, `${name}.partial`), 'foreign');
  first.process.kill('SIGCONT');
  expect(await first.exited).toBe(1);
  expect(first.stderr).toContain('is another file than was written');
  expect(existsSync(join(folder, name))).toBe(false);
});

test('with a key that is revoked meanwhile it ends, and it goes on with another', async () => {
  const name = 'revoked.ndjson';
  const request = { name: 'brief', kind: 'PRINCIPAL_KIND_OPERATOR', scopes: ['admin:read'] };
  const made = await gate.api<{ key: { id: string }; secret: string }>('AgentService/CreateKey', request);
  const first = await stopMidway(name, [], made.secret);
  await gate.api('AgentService/RevokeKey', { keyId: made.key.id });
  first.process.kill('SIGCONT');
  expect(await first.exited, first.stderr).toBe(3);
  expect((await run(['--output', name, '--resume'])).code).toBe(0);
  await expectWhole(read(name));
});

test('of many that begin at once one writes, and what it writes is whole', async () => {
  const name = 'crowded.ndjson';
  const begun = Array.from({ length: 3 }, (_, n) => {
    const more = n % 2 === 0 ? ['--force'] : ['--resume'];
    const args = ['export', 'state', '--output', name, ...more];
    return new Program(args, { cwd: folder, env: environment(gate.url) });
  });
  const codes = await Promise.all(begun.map(({ exited }) => exited));
  expect(codes).toContain(0);
  const refused = begun.filter((_, n) => codes[n] !== 0).map(({ stderr }) => stderr);
  for (const why of refused) expect(why).toMatch(/Another process is writing|exists: --force/);
  await expectWhole(read(name));
  expect(left(name)).toEqual([name]);
});

test('what is resumed has the kinds and the project that it was begun with, and is not asked for others', async () => {
  const name = 'asked.ndjson';
  const kinds = ['--kind', 'run_event', '--kind', 'attempt'];
  const begun = await stopMidway(name, ['--project', projectId, ...kinds]);
  await begun.end('SIGKILL');
  for (const other of [
    ['--kind', 'note'],
    ['--project', 'prj_other'],
  ]) {
    const refused = await run(['--output', name, '--resume', ...other]);
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('kinds run_event, attempt of project')]);
  }
  const resumed = await run(['--output', name, '--resume', '--kind', 'attempt', '--kind', 'run_event']);
  expect(resumed.code, resumed.stderr).toBe(0);
  const told = new Set(
    read(name)
      .trimEnd()
      .split('\n')
      .map((line) => Object.keys(JSON.parse(line) as object)[0]),
  );
  expect(told).toEqual(new Set(['runEvent', 'attempt']));
});

test('what is no regular file is neither replaced nor written to, and is refused before the export begins', async () => {
  const elsewhere = join(folder, 'elsewhere.txt');
  writeFileSync(elsewhere, 'mine');
  mkdirSync(join(folder, 'a-folder'));
  const socket = createServer().listen(join(folder, 'a-socket'));
  await once(socket, 'listening');
  symlinkSync(elsewhere, join(folder, 'a-link'));
  symlinkSync(join(folder, 'nowhere.txt'), join(folder, 'linked.ndjson.partial'));
  symlinkSync(elsewhere, join(folder, 'checked.ndjson.position'));
  for (const name of ['a-folder', 'a-socket', 'a-link', 'checked.ndjson']) {
    const refused = await run(['--output', name, '--force']);
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('is no regular file')]);
    expect(left(name)).toEqual([name === 'checked.ndjson' ? 'checked.ndjson.position' : name]);
  }
  expect(readFileSync(elsewhere, 'utf8')).toBe('mine');
  expect((await run(['--output', 'linked.ndjson', '--resume'])).code).toBe(1);
  expect((await run(['--output', 'linked.ndjson', '--force'])).code).toBe(0);
  expect(existsSync(join(folder, 'nowhere.txt'))).toBe(false);
  socket.close();
});

test('a file that somebody left open to all is not what is written with --force', async () => {
  const name = 'open.ndjson';
  writeFileSync(join(folder, `${name}.partial`), 'x', { mode: 0o666 });
  chmodSync(join(folder, `${name}.partial`), 0o666);
  const foreign = openSync(join(folder, `${name}.partial`), 'r');
  expect((await run(['--output', name, '--force'])).code).toBe(0);
  expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
  expect(readFileSync(foreign, 'utf8')).toBe('x');
  closeSync(foreign);
});

test('a folder that is not there is said to be the trouble, and not the database', async () => {
  const { code, stderr } = await run(['--output', 'not-there/all.ndjson']);
  expect([code, stderr]).toEqual([1, expect.stringMatching(/^.*not-there\/all\.ndjson cannot be written: ENOENT/)]);
  expect(stderr).not.toMatch(/database| at .*\.ts/);
});

/** An export that ends where the file may grow no more. */
function runLimited(name: string): Program {
  const main = resolve(import.meta.dirname, '../server/src/main.ts');
  const command = ['sh', '-c', 'ulimit -f 200; exec "$0" "$@"', process.execPath, main];
  const env = environment(gate.url);
  return new Program(['export', 'state', '--output', name], { cwd: folder, env, command });
}

test('a file that cannot grow any more is left to be gone on with, which is said', async () => {
  const name = 'limited.ndjson';
  const limited = runLimited(name);
  expect(await limited.exited, limited.stderr).toBe(1);
  expect(limited.stderr).toMatch(/limited\.ndjson cannot be written: EFBIG.* --resume goes on with it\.\n$/);
  expect(limited.stderr).not.toMatch(/ at .*\.ts/);
  const resumed = await run(['--output', name, '--resume']);
  expect([resumed.code, resumed.stderr]).toEqual([0, expect.stringMatching(/^Going on behind \d+ records/)]);
  await expectWhole(read(name));
});

test('a file that lost what its checkpoint says is not gone on with', async () => {
  const name = 'lost.ndjson';
  await runLimited(name).exited;
  truncateSync(join(folder, `${name}.partial`));
  const lost = await run(['--output', name, '--resume']);
  expect([lost.code, lost.stderr]).toEqual([1, expect.stringContaining('shorter than its checkpoint says')]);
  expect((await run(['--output', name, '--force'])).code).toBe(0);
  await expectWhole(read(name));
});

test('a key whose requests must be signed exports with a signature, and not without', async () => {
  const request = { name: 'signer', kind: 'PRINCIPAL_KIND_OPERATOR', scopes: ['admin:read'], requireSignature: true };
  const { key, secret } = await gate.api<{ key: { id: string }; secret: string }>('AgentService/CreateKey', request);
  const added = await runCommand(['keys', 'signing', 'add', key.id, '--new', 'new.pem'], {
    environment: environment(gate.url),
    cwd: folder,
  });
  const signing = { PORTCULLIS_SIGNING_KEY_ID: added.stdout.trim(), PORTCULLIS_SIGNING_KEY_FILE: 'new.pem' };
  const bare = { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: secret };
  const args = ['export', 'state', '--output', '-', '--kind', 'project'];
  expect((await runCommand(args, { environment: bare, cwd: folder })).code).toBe(3);
  const signed = await runCommand(args, { environment: { ...bare, ...signing }, cwd: folder });
  expect(signed.code, signed.stderr).toBe(0);
  expect(signed.stdout).toContain(projectId);
});

test('a key that may not is told so, and leaves nothing that the next would stumble over', async () => {
  const request = { name: 'lesser', kind: 'PRINCIPAL_KIND_OPERATOR', scopes: ['telemetry:read'] };
  const { secret } = await gate.api<{ secret: string }>('AgentService/CreateKey', request);
  const denied = await runCommand(['export', 'state', '--output', 'denied.ndjson'], {
    environment: { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: secret },
    cwd: folder,
  });
  expect([denied.code, denied.stderr]).toEqual([3, expect.stringContaining('admin:read')]);
  expect(left('denied.ndjson')).toEqual([]);
});
