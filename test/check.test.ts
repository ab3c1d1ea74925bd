import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { create, createFileRegistry } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { methodRule } from '../server/src/api/methods.ts';
import { run } from './support/program.ts';

// What `npm run check` and the tests rely on must be able to fail: each tool is given a seeded fault, and the same
// without it.

const repository = resolve(import.meta.dirname, '..');
const root = mkdtempSync(join(tmpdir(), 'portcullis-check-'));
afterAll(() => rmSync(root, { recursive: true }));

let tree: string;
beforeEach(() => {
  tree = mkdtempSync(join(root, 'tree-'));
  for (const name of ['.oxlintrc.json', 'tsconfig.json', 'package.json', 'knip.json', 'server/package.json'])
    write(name, readFileSync(join(repository, name), 'utf8'));
  symlinkSync(join(repository, 'node_modules'), join(tree, 'node_modules'));
});

function write(name: string, content: string): void {
  mkdirSync(dirname(join(tree, name)), { recursive: true });
  writeFileSync(join(tree, name), content);
}

function tool(name: string, ...args: string[]) {
  return run(args, { cwd: tree, command: [join(repository, 'node_modules/.bin', name)] });
}

/** Runs `name` without the seeded files, which must be well, and with them. @returns what it then said */
async function fault(name: string, args: readonly string[], seeds: Readonly<Record<string, string>>): Promise<string> {
  const well = await tool(name, ...args);
  expect(well.code, well.output).toBe(0);
  for (const [path, content] of Object.entries(seeds)) write(path, content);
  const ill = await tool(name, ...args);
  expect(ill.code, ill.output).not.toBe(0);
  return ill.output;
}

describe('the linter', () => {
  beforeEach(() => write('server/src/base/sound.ts', 'export const sound = 1;\n'));

  it('refuses an import against the direction', async () => {
    const output = await fault('oxlint', ['--deny-warnings'], {
      'server/src/identity/caller.ts': 'export const caller = 1;\n',
      'server/src/base/wrong.ts': "import { caller } from '../identity/caller.ts';\nexport const wrong = caller;\n",
    });
    expect(output).toContain('base/ may not import this folder');
  });

  it('refuses an import between siblings', async () => {
    const output = await fault('oxlint', ['--deny-warnings'], {
      'server/src/budget/money.ts': 'export const money = 1;\n',
      'server/src/policy/wrong.ts': "import { money } from '../budget/money.ts';\nexport const wrong = money;\n",
    });
    expect(output).toContain('policy/ may not import this folder');
  });

  it('refuses rules that are not pure', async () => {
    const output = await fault('oxlint', ['--deny-warnings'], {
      'server/src/budget/rules.ts': "import { readFileSync } from 'node:fs';\nexport const wrong = readFileSync;\n",
    });
    expect(output).toContain('rules.ts is pure');
  });

  it('refuses a cycle', async () => {
    const output = await fault('oxlint', ['--deny-warnings'], {
      'server/src/base/a.ts': "import { b } from './b.ts';\nexport const a = (): number => b();\n",
      'server/src/base/b.ts': "import { a } from './a.ts';\nexport const b = (): number => a();\n",
    });
    expect(output).toContain('no-cycle');
  });

  it.each([
    ['an any', 'export const wrong: any = 1;\n', 'no-explicit-any'],
    ['a non-null assertion', 'export const wrong = (x: number | null) => x!;\n', 'no-non-null-assertion'],
    ['a promise that nobody waits for', 'export function f() { Promise.resolve(1); }\n', 'no-floating-promises'],
    ['a default export', 'const wrong = 1;\nexport default wrong;\n', 'no-default-export'],
    ['a file of 501 lines', `${'// line\n'.repeat(501)}export const wrong = 1;\n`, 'max-lines'],
  ])('refuses %s', async (_what, content, rule) => {
    expect(await fault('oxlint', ['--deny-warnings'], { 'server/src/base/wrong.ts': content })).toContain(rule);
  });
});

it('knip finds an export that nobody uses, and a file', async () => {
  write('server/src/main.ts', "import { used } from './used.ts';\nconsole.log(used);\n");
  write('server/src/used.ts', 'export const used = 1;\n');
  const output = await fault('knip', ['--include', 'files,exports'], {
    'server/src/used.ts': 'export const used = 1;\nexport const unused = 2;\n',
    'server/src/forgotten.ts': 'export const forgotten = 1;\n',
  });
  expect(output).toMatch(/unused\b.*server\/src\/used\.ts/);
  expect(output).toContain('server/src/forgotten.ts');
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

it('a generated file that is not what its source makes of it is found', async () => {
  for (const name of ['server', 'scripts', 'docs', 'proto', 'buf.yaml', 'buf.gen.yaml', '.env.example'])
    cpSync(join(repository, name), join(tree, name), { recursive: true });
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
