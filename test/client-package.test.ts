import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, extname, join, normalize, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chromiumMissing, launchChromium } from './support/chromium.ts';
import { installClient, must } from './support/client-package.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { run } from './support/program.ts';

// The package as others get it: packed, installed into a project that has nothing else, and used there.

const client = resolve(import.meta.dirname, '../client');
const project = mkdtempSync(join(tmpdir(), 'portcullis-consumer-'));
const installed = join(project, 'node_modules');

let tarball: string;
beforeAll(() => {
  tarball = installClient(project);
});
afterAll(() => rmSync(project, { recursive: true, force: true }));

it('holds what is published and nothing else', () => {
  const files = must('tar', ['tzf', tarball]).trim().split('\n');
  expect(files).toEqual(
    expect.arrayContaining(['package/package.json', 'package/README.md', 'package/LICENSE', 'package/dist/index.js']),
  );
  expect(
    files.filter((name) => !/^package\/(dist\/.*\.(js|d\.ts)|package\.json|README\.md|LICENSE)$/.test(name)),
  ).toEqual([]);
});

const program = `
  import { createPortcullis, PortcullisError, withRun } from '@portcullis/client';
  const portcullis = createPortcullis({ url: process.env.GATE_URL, key: process.env.GATE_KEY });
  const { agent } = await portcullis.agents.createAgent({ name: process.version });
  const refusal = await portcullis.agents.createAgent({ name: '' }).catch((error) => error);
  console.log(JSON.stringify({
    agent: agent.name,
    refused: refusal instanceof PortcullisError && refusal.code,
    withRun: typeof withRun,
  }));
`;
const told = { agent: expect.stringMatching(/^v\d+/), refused: 'invalid_argument', withRun: 'function' };

/** A Node of the floor that the package promises, where one is on the PATH. */
function findNode(major: number): string | null {
  const candidates = (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, 'node'));
  const found = candidates.find(
    (path) => existsSync(path) && spawnSync(path, ['--version'], { encoding: 'utf8' }).stdout?.startsWith(`v${major}.`),
  );
  if (found === undefined && process.env['REQUIRE_ALL'] === '1') throw new Error(`no Node ${major} is on the PATH`);
  if (found === undefined) console.warn(`The client is not tried in Node ${major}: none is on the PATH.`);
  return found ?? null;
}

describe('against a gate', () => {
  const pages = createServer((request, response) => {
    const path = new URL(request.url ?? '', 'http://localhost').pathname;
    const file = join(installed, normalize(path));
    if (path === '/') {
      const page = `<!doctype html><script type="importmap">${JSON.stringify({ imports: importMap() })}</script>`;
      response.writeHead(200, { 'content-type': 'text/html' }).end(page);
    } else if (extname(file) === '.js' && existsSync(file)) {
      response.writeHead(200, { 'content-type': 'text/javascript' }).end(readFileSync(file));
    } else {
      response.writeHead(path === '/favicon.ico' ? 204 : 404).end();
    }
  });
  let gate: TestGate;
  let origin: string;
  beforeAll(async () => {
    pages.listen(0, '127.0.0.1');
    await once(pages, 'listening');
    origin = `http://127.0.0.1:${(pages.address() as AddressInfo).port}`;
    gate = await startGate({ env: { ALLOWED_ORIGINS: origin } });
  });
  afterAll(async () => {
    pages.close();
    await gate?.stop();
  });

  const env = () => ({ GATE_URL: gate.url, GATE_KEY: gate.adminKey });

  it('is used from plain JavaScript', async () => {
    writeFileSync(join(project, 'program.js'), program);
    const ended = await run(['program.js'], { cwd: project, command: [process.execPath], env: env() });
    expect(ended.stderr).toBe('');
    expect(JSON.parse(ended.stdout)).toEqual(told);
  });

  const node20 = findNode(20);
  it.skipIf(node20 === null)('is used in Node 20, the oldest that it is for', async () => {
    writeFileSync(join(project, 'program.js'), program);
    const ended = await run(['program.js'], { cwd: project, command: [node20 ?? ''], env: env() });
    expect(ended.stderr).toBe('');
    expect(JSON.parse(ended.stdout)).toEqual(told);
  });

  if (chromiumMissing) console.warn(`The client is not tried in a browser: ${chromiumMissing}.`);
  it.skipIf(chromiumMissing !== null)(
    'is used in a page of another origin, by an import map and no bundler',
    async () => {
      const browser = await launchChromium();
      try {
        const page = await browser.newPage();
        const problems: string[] = [];
        page.on('console', (message) => void problems.push(message.text()));
        page.on('pageerror', (error) => void problems.push(String(error)));
        await page.goto(origin);
        const answer = await page.evaluate(`(async ([url, key]) => {
        const { createPortcullis } = await import('@portcullis/client');
        const portcullis = createPortcullis({ url, key });
        const headers = [];
        const { agent } = await portcullis.agents.createAgent(
          { name: 'made by a page' },
          { idempotencyKey: 'of a page', onHeader: (all) => headers.push(all.get('x-request-id')) },
        );
        const again = await portcullis.agents.createAgent({ name: 'made by a page' }, { idempotencyKey: 'of a page' });
        return { agent: agent.name, same: again.agent.id === agent.id, headers };
      })(${JSON.stringify([gate.url, gate.adminKey])})`);
        expect(answer).toEqual({ agent: 'made by a page', same: true, headers: [expect.stringMatching(/^req_/)] });
        const refusal = page.evaluate(`import('@portcullis/client').then(({ createPortcullis }) =>
        createPortcullis({ url: ${JSON.stringify(gate.url)}, key: 'wrong' }).system.getSelf({})).catch(({ code }) => code)`);
        expect(await refusal).toBe('unauthenticated');
        expect(problems.filter((text) => !text.includes('401'))).toEqual([]);
      } finally {
        await browser.close();
      }
    },
  );
});

/** What each specifier of the packages stands for in a page. */
function importMap(): Record<string, string> {
  const map: Record<string, string> = {};
  for (const name of ['@portcullis/client', '@bufbuild/protobuf', '@connectrpc/connect']) {
    const { exports } = JSON.parse(readFileSync(join(installed, name, 'package.json'), 'utf8')) as {
      exports: Record<string, { readonly import?: string; readonly default?: string }>;
    };
    for (const [path, { import: esm, default: file = esm }] of Object.entries(exports)) {
      if (file) map[join(name, path)] = `/${join(name, esm ?? file)}`;
    }
  }
  return map;
}

const consumer = `
  import { type CallOptions, createPortcullis, type Portcullis, PortcullisError, type Run, RunState, withRun } from '@portcullis/client';
  const portcullis: Portcullis = createPortcullis({ url: 'https://gate.example.com', key: async () => 'pcl_key' });
  const options: CallOptions = { timeoutMs: 1_000, idempotencyKey: 'k' };
  export async function use(): Promise<[Run | undefined, RunState, bigint | undefined]> {
    const { value, run, totals } = await withRun(portcullis, { workflow: 'review' }, async (run) => {
      run.event({ type: 'started', level: 'info', data: { n: 1 } });
      return run.headers['x-portcullis-run'].length;
    });
    const length: number = value;
    for await (const { told } of portcullis.runs.watchRun({ runId: run.id })) if (told.case === 'ended') break;
    // @ts-expect-error -- no such field
    await portcullis.agents.createAgent({ nmae: 'typo' }, options).catch((error: unknown) => {
      if (error instanceof PortcullisError && error.code === 'conflict') console.log(error.rule, length);
    });
    return [run, run.state, totals?.costNanousd];
  }
`;

/** What programs in the README and the example use of Node. */
const globals = `
  declare const process: {
    readonly env: Readonly<Record<string, string | undefined>>;
    exitCode: number;
    once(signal: string, listener: () => void): void;
  };
`;

function blocksOfReadme(): string[] {
  const blocks = readFileSync(join(client, 'README.md'), 'utf8').matchAll(/^```ts\n(.*?)^```/gms);
  return [...blocks].map(([, block]) => block ?? '');
}

describe('its types hold under the strictest of compilers', () => {
  // The generator of messages brings an old compiler.
  const generator = createRequire(realpathSync(join(client, '../node_modules/.bin/protoc-gen-es')));
  const compilers = [createRequire(import.meta.url), createRequire(generator.resolve('@bufbuild/protoplugin'))].map(
    (from) => dirname(from.resolve('typescript/package.json')),
  );
  it.each([
    ['the current one', compilers[0] ?? '', 'nodenext', 'nodenext', false],
    ['the current one, as bundlers resolve', compilers[0] ?? '', 'esnext', 'bundler', false],
    // The declarations of its dependencies are for newer ones.
    ['an old one', compilers[1] ?? '', 'nodenext', 'nodenext', true],
  ])('%s', (_which, typescript, module, moduleResolution, skipLibCheck) => {
    const files = ['globals.d.ts', 'consumer.ts', 'orchestrator.ts'];
    writeFileSync(join(project, 'globals.d.ts'), globals);
    writeFileSync(join(project, 'consumer.ts'), consumer);
    cpSync(join(client, 'examples/orchestrator.ts'), join(project, 'orchestrator.ts'));
    for (const [place, block] of blocksOfReadme().entries()) {
      files.push(`readme-${place}.ts`);
      writeFileSync(join(project, `readme-${place}.ts`), block);
    }
    const compilerOptions = {
      target: 'es2022',
      lib: ['es2023', 'dom', 'dom.iterable'],
      types: [],
      module,
      moduleResolution,
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      verbatimModuleSyntax: true,
      skipLibCheck,
      noEmit: true,
    };
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }));
    // It throws where anything is wrong.
    expect(must(process.execPath, [join(typescript, 'bin/tsc'), '-p', project])).toBe('');
  });
});
