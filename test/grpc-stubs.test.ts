import { spawnSync } from 'node:child_process';
import { cpSync, globSync, mkdtempSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startGate, type TestGate } from './support/gate.ts';
import { run } from './support/program.ts';

// Clients of other languages, from stubs that are generated here from the schema alone.

const repository = resolve(import.meta.dirname, '..');
const python = join(repository, 'test/python/.venv/bin/python');
const folder = mkdtempSync(join(tmpdir(), 'portcullis-stubs-'));

let gate: TestGate;
beforeAll(async () => {
  gate = await startGate();
});
afterAll(async () => {
  await gate?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const gateEnv = () => ({ GATE_ADDRESS: new URL(gate.grpcUrl).host, GATE_KEY: gate.adminKey });

/** Runs a program that must succeed. @returns what it wrote */
async function must(
  command: readonly string[],
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<string> {
  const { code, stdout, output } = await run(args, { cwd: repository, command, ...options });
  if (code !== 0) throw new Error(`${command.join(' ')} ${args.join(' ')} ended with ${code}:\n${output}`);
  return stdout;
}

/** What is missing here is said, or, where nothing may be skipped, a failure. */
function missing(what: string, command: string, ...args: string[]): boolean {
  if (spawnSync(command, args).status === 0) return false;
  if (process.env['REQUIRE_ALL'] === '1') throw new Error(`REQUIRE_ALL is set, and ${what} is missing`);
  console.log(`Skipped: ${what} is missing.`);
  return true;
}

describe.skipIf(missing('grpcio-tools in test/python/.venv', python, '-c', 'import grpc_tools'))('Python', () => {
  it('reads, writes and is refused with details', async () => {
    const stubs = join(folder, 'python');
    cpSync(join(repository, 'proto'), join(stubs, 'proto'), { recursive: true });
    const files = ['portcullis/v1', 'buf/validate'].flatMap((path) =>
      globSync(`${path}/*.proto`, { cwd: join(stubs, 'proto') }),
    );
    const out = ['-Iproto', '--python_out=.', '--grpc_python_out=.'];
    await must([python, '-m', 'grpc_tools.protoc'], [...out, ...files], { cwd: stubs });
    const told = await must([python, join(repository, 'test/python/grpc_call.py')], [], {
      env: { ...gateEnv(), STUBS: stubs },
    });
    expect(JSON.parse(told)).toEqual({
      self: 'static:ADMIN_API_KEY',
      agent: 'made in Python',
      code: 'INVALID_ARGUMENT',
      details: ['google.rpc.ErrorInfo', 'google.rpc.BadRequest'],
    });
  });
});

describe.skipIf(missing('Go', 'go', 'version'))('Go', () => {
  it('reads, writes and is refused with details', { timeout: 600_000 }, async () => {
    const cwd = join(folder, 'go');
    cpSync(join(repository, 'test/go'), cwd, { recursive: true });
    const env = Object.fromEntries(
      ['GOPROXY', 'GOMODCACHE', 'GOCACHE', 'GOTOOLCHAIN', 'SSL_CERT_FILE', 'HTTPS_PROXY'].flatMap((name) => {
        const value = process.env[name];
        return value === undefined ? [] : [[name, value]];
      }),
    );
    const go = (...args: string[]) => must(['go'], args, { cwd, env: { HOME: homedir(), ...env } });
    const plugins = ['google.golang.org/protobuf/cmd/protoc-gen-go', 'google.golang.org/grpc/cmd/protoc-gen-go-grpc'];
    await go('build', '-o', 'bin/', ...plugins);
    const template = {
      version: 'v2',
      managed: { enabled: true, override: [{ file_option: 'go_package_prefix', value: 'portcullis.test/gen' }] },
      plugins: ['protoc-gen-go', 'protoc-gen-go-grpc'].map((plugin) => ({
        local: join(cwd, 'bin', plugin),
        out: join(cwd, 'gen'),
        opt: ['paths=source_relative'],
      })),
    };
    // The details of errors are read with the stock declarations, not with ours.
    const paths = ['--path', 'proto/portcullis', '--path', 'proto/buf'];
    const buf = join(repository, 'node_modules/.bin/buf');
    await must([buf], ['generate', 'proto', '--template', JSON.stringify(template), ...paths]);
    await go('build', '-o', 'bin/client', '.');
    const told = await must([join(cwd, 'bin/client')], [], { env: gateEnv() });
    expect(JSON.parse(told)).toEqual({
      self: 'static:ADMIN_API_KEY',
      agent: 'made in Go',
      code: 'InvalidArgument',
      reason: 'INVALID_ARGUMENT',
      domain: 'portcullis',
      field: 'name',
    });
  });
});
