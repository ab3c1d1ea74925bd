import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { create, createFileRegistry } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { methodRule } from '../server/src/api/methods.ts';
import { run } from './support/program.ts';

// What `npm run check` and the tests rely on must be able to fail: each tool is given a seeded fault, and the same
// without it.

const repository = resolve(import.meta.dirname, '..');
const root = mkdtempSync(join(tmpdir(), 'portcullis-check-'));
afterAll(() => rmSync(root, { recursive: true }));

let tree: string;

/** A tree with nothing but what configures the tools. */
function newTree(): void {
  tree = mkdtempSync(join(root, 'tree-'));
  for (const name of ['.oxlintrc.json', 'tsconfig.json', 'package.json', 'knip.json', 'server/package.json'])
    plant(name, readFileSync(join(repository, name), 'utf8'));
  symlinkSync(join(repository, 'node_modules'), join(tree, 'node_modules'));
}
beforeAll(newTree);

function plant(name: string, content: string): void {
  mkdirSync(dirname(join(tree, name)), { recursive: true });
  writeFileSync(join(tree, name), content);
}

function tool(name: string, ...args: string[]) {
  return run(args, { cwd: tree, command: [join(repository, 'node_modules/.bin', name)] });
}

describe('the linter', () => {
  const seeds: Readonly<Record<string, readonly [path: string, content: string, complaint: RegExp]>> = {
    'an import against the direction': [
      'server/src/base/wrong.ts',
      "import { caller } from '../identity/caller.ts';\nexport const wrong = caller;\n",
      /base\/ may not import this folder/,
    ],
    'an import of a sibling': [
      'server/src/policy/wrong.ts',
      "import { money } from '../budget/money.ts';\nexport const wrong = money;\n",
      /policy\/ may not import this folder/,
    ],
    'an import of the composition root': [
      'server/src/http/wrong.ts',
      "import { wired } from '../main.ts';\nexport const wrong = wired;\n",
      /Nothing imports the composition root/,
    ],
    'rules that are not pure': [
      'server/src/budget/rules.ts',
      "import { readFileSync } from 'node:fs';\nexport const wrong = readFileSync;\n",
      /rules\.ts is pure/,
    ],
    'a cycle': [
      'server/src/net/a.ts',
      "import { b } from './b.ts';\nexport const a = (): number => b();\n",
      /no-cycle/,
    ],
    'an any': ['server/src/net/any.ts', 'export const wrong: any = 1;\n', /no-explicit-any/],
    'a non-null assertion': [
      'server/src/net/assertion.ts',
      'export const wrong = (x: number | null) => x!;\n',
      /no-non-null-assertion/,
    ],
    'a promise that nobody waits for': [
      'server/src/net/promise.ts',
      'export function f() { Promise.resolve(1); }\n',
      /no-floating-promises/,
    ],
    'a default export': ['server/src/net/default.ts', 'const wrong = 1;\nexport default wrong;\n', /no-default-export/],
    'a file of 501 lines': [
      'server/src/net/long.ts',
      `${'// line\n'.repeat(500)}export const long = 1;\n`,
      /max-lines/,
    ],
  };
  let complaints: readonly { readonly filename: string }[];

  beforeAll(async () => {
    plant('server/src/main.ts', 'export const wired = 1;\n');
    plant('server/src/identity/caller.ts', 'export const caller = 1;\n');
    plant('server/src/budget/money.ts', 'export const money = 1;\n');
    plant('server/src/net/b.ts', 'export const b = (): number => 1;\n');
    await tool('oxlint', '--deny-warnings').then(({ code, output }) => code === 0 || Promise.reject(new Error(output)));
    plant('server/src/net/b.ts', "import { a } from './a.ts';\nexport const b = (): number => a();\n");
    for (const [path, content] of Object.values(seeds)) plant(path, content);
    const { stdout } = await tool('oxlint', '--deny-warnings', '--format=json');
    ({ diagnostics: complaints } = JSON.parse(stdout) as { diagnostics: typeof complaints });
  });

  it.each(Object.entries(seeds))('refuses %s', (_what, [path, , complaint]) => {
    expect(JSON.stringify(complaints.filter(({ filename }) => filename === path))).toMatch(complaint);
  });
});

it('knip finds an export that nobody uses, and a file', async () => {
  newTree();
  plant('server/src/main.ts', "import { used } from './used.ts';\nconsole.log(used);\n");
  plant('server/src/used.ts', 'export const used = 1;\n');
  const args = ['--include', 'files,exports'];
  expect(await tool('knip', ...args)).toMatchObject({ code: 0 });
  plant('server/src/used.ts', 'export const used = 1;\nexport const unused = 2;\n');
  plant('server/src/forgotten.ts', 'export const forgotten = 1;\n');
  const { code, stdout } = await tool('knip', ...args);
  expect(code).not.toBe(0);
  expect(stdout).toMatch(/unused\b.*server\/src\/used\.ts/);
  expect(stdout).toContain('server/src/forgotten.ts');
});

it('a method of the schema that declares neither access nor scope cannot be served', () => {
  const file = {
    name: 'seeded.proto',
    package: 'seeded',
    syntax: 'proto3',
    messageType: [{ name: 'Empty' }],
    service: [
      {
        name: 'SeededService',
        method: [{ name: 'Forgotten', inputType: '.seeded.Empty', outputType: '.seeded.Empty' }],
      },
    ],
  };
  const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: [file] }));
  const [method] = registry.getService('seeded.SeededService')?.methods ?? [];
  expect(() => method && methodRule(method)).toThrow('SeededService.Forgotten declares no access class');
});

describe('the contract', () => {
  const path = 'proto/portcullis/v1/run.proto';
  const method = /  rpc GetRun\(.*?\n  }\n/s;

  /** Has the schema of the repository with a change. */
  function plantSchema(change: (text: string) => string): void {
    newTree();
    for (const name of ['proto', 'buf.yaml', 'buf.gen.yaml'])
      cpSync(join(repository, name), join(tree, name), { recursive: true });
    plant(path, change(readFileSync(join(repository, path), 'utf8')));
  }
  const breaking = () => tool('buf', 'breaking', '--against', 'proto/baseline.binpb');

  it('may grow, and may not take back what was released', async () => {
    plantSchema((text) => text.replace('message GetRunRequest {', '$&\n  // More.\n  bool more = 99;'));
    expect(await breaking()).toMatchObject({ code: 0, output: '' });
    plantSchema((text) => text.replace('string run_id = 1', 'bytes run_id = 1'));
    expect(await breaking()).toMatchObject({ code: 100, output: expect.stringContaining('run_id') });
    plantSchema((text) => text.replace(method, ''));
    expect(await breaking()).toMatchObject({ code: 100, output: expect.stringContaining('GetRun') });
  });

  it('must say of each field what it is for', async () => {
    plantSchema((text) => text.replace('message GetRunRequest {', '$&\n  bool more = 99;'));
    expect(await tool('buf', 'lint')).toMatchObject({ code: 100, output: expect.stringContaining('"more"') });
  });
});

/** What others wrote is large, and makes no page. */
const isOurs = (path: string) => !/(?:node_modules|\.venv)$/.test(path);

/** A tree with all that generating reads and writes. */
function newCopy(): void {
  newTree();
  for (const name of [
    'server',
    'client',
    'scripts',
    'test',
    'docs',
    'proto',
    'buf.yaml',
    'buf.gen.yaml',
    '.env.example',
  ])
    cpSync(join(repository, name), join(tree, name), { recursive: true, filter: isOurs });
}

it('a generated file that is not what its source makes of it is found', async () => {
  newCopy();
  const drift = () => run(['scripts/drift.ts'], { cwd: tree, command: [process.execPath] });
  expect(await drift()).toMatchObject({ code: 0, stderr: '' });
  const page = join(tree, 'docs/reference/errors.md');
  writeFileSync(page, readFileSync(page, 'utf8').replace('| 429 |', '| 420 |'));
  const generated = join(tree, 'server/src/gen/portcullis/v1/run_pb.ts');
  writeFileSync(generated, `${readFileSync(generated, 'utf8')}\n`);
  const { code, stderr } = await drift();
  expect(code).toBe(1);
  expect(stderr).toContain('docs/reference/errors.md is stale: run `npm run gen`.');
  expect(stderr).toContain('run_pb.ts is stale');
});

it('a method that declares no access class, or no scope, does not get through generating and checking', async () => {
  newCopy();
  const path = join(tree, 'proto/portcullis/v1/run.proto');
  const schema = readFileSync(path, 'utf8');
  for (const [missing, complaint] of [
    ['    option (access) = ACCESS_PRIVATE_READ;\n', 'portcullis.v1.RunService.GetRun declares no access class'],
    ['    option (scope) = "runs:read";\n', 'portcullis.v1.RunService.GetRun declares no scope that exists'],
  ] as const) {
    const [before = '', after = ''] = schema.split('  rpc GetRun(');
    writeFileSync(path, `${before}  rpc GetRun(${after.replace(missing, '')}`);
    expect(await tool('buf', 'generate')).toMatchObject({ code: 0 });
    for (const step of [['server/src/main.ts', 'docs'], ['scripts/drift.ts']]) {
      const { code, output } = await run(step, { cwd: tree, command: [process.execPath] });
      expect([code, output]).toEqual([1, expect.stringContaining(complaint)]);
    }
  }
});
