import { once } from 'node:events';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { runCommand } from '../../../test/support/cli.ts';
import { parseConfigFile } from '../config/file.ts';

const root = mkdtempSync(join(tmpdir(), 'portcullis-add-'));
const models = [{ id: 'qwen3:8b' }, { id: 'bad \u001b[2J name' }, { id: 'with*star' }, { id: 'nomic-embed-text' }];
let server: Server;
let baseUrl: string;
let cwd: string;

beforeAll(async () => {
  server = createServer((request, response) => {
    if (request.url === '/v1/models') return response.end(JSON.stringify({ data: models }));
    if (request.url === '/empty/models') return response.end('{"data":[]}');
    return response.writeHead(404).end('<html>');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.close();
  rmSync(root, { recursive: true });
});
beforeEach(() => {
  cwd = mkdtempSync(join(root, 'cwd-'));
});

const file = () => join(cwd, 'portcullis.yaml');
const add = (args: string[], environment: Record<string, string> = {}) =>
  runCommand(['add', ...args], { cwd, environment });

function parsed(environment: Record<string, string> = { ANTHROPIC_API_KEY: 'k' }) {
  const findings = { problems: [], notes: [] };
  return parseConfigFile(readFileSync(file(), 'utf8'), environment, findings);
}

describe('portcullis add', () => {
  test('makes the file, with a reference to the key and never the key', async () => {
    const { code, stdout, stderr } = await add(['anthropic'], { ANTHROPIC_API_KEY: 'sk-ant-canary' });
    expect(code).toBe(0);
    expect(stdout).toContain('+   anthropic:');
    expect(stderr).toContain('reloads it by itself');
    const text = readFileSync(file(), 'utf8');
    expect(text).toContain('api_key: ${ANTHROPIC_API_KEY}');
    expect(text + stdout + stderr).not.toContain('sk-ant-canary');
    expect(parsed()?.models['claude-*']?.targets).toMatchObject([{ provider: 'anthropic' }]);
  });

  test('leaves every other byte as it is, comments and blank lines included', async () => {
    const before = `# my gate
providers:
  # the lab
  lab: { kind: openai-compatible, base_url: "http://127.0.0.1:8000/v1", allow_private: true, price: free } # mine

models:
  # quick answers
  fast:
    targets: [{ provider: lab, model: qwen3 }] # by hand
# the end
`;
    writeFileSync(file(), before);
    const { stdout } = await add(['anthropic']);
    expect(stdout).not.toMatch(/^- /m);
    const added = '  anthropic:\n    kind: anthropic\n    api_key: ${ANTHROPIC_API_KEY}\n';
    const route = '  claude-*:\n    targets:\n      - provider: anthropic\n';
    const expected = before.replace('\n\nmodels:', `\n${added}\nmodels:`).replace('# the end', `${route}# the end`);
    expect(readFileSync(file(), 'utf8')).toBe(expected);
  });

  test('gives the file the same meaning in any style that YAML knows', async () => {
    const files = [
      'providers: { lab: { kind: sim } } # braces\nmodels: {}\n',
      'models:\n    fast:\n        targets:\n        - { provider: lab }\nproviders:\n    lab:\n        kind: sim',
      '---\nproviders:\n  lab: &lab\n    kind: sim\n...\n',
      '\ufeffproviders:\n  lab:\n    kind: sim\n  # last\n\n\n# end',
      'providers:\r\n  lab:\r\n    kind: sim\r\n',
    ];
    for (const before of files) {
      writeFileSync(file(), before);
      expect(await add(['anthropic'])).toMatchObject({ code: 0 });
      expect(parsed()?.providers).toMatchObject({ lab: { kind: 'sim' }, anthropic: { kind: 'anthropic' } });
      expect(parsed()?.models).toHaveProperty('claude-*');
      for (const [comment] of before.matchAll(/#.*/g)) expect(readFileSync(file(), 'utf8')).toContain(comment);
    }
  });

  test('works on a file of comments alone, and on sections with nothing in them', async () => {
    for (const before of ['# nothing yet\n', 'providers:\nmodels: {}\n']) {
      writeFileSync(file(), before);
      expect((await add(['anthropic'])).code).toBe(0);
      expect(parsed()?.providers['anthropic']?.kind).toBe('anthropic');
      expect(readFileSync(file(), 'utf8')).toContain('api_key: ${ANTHROPIC_API_KEY}');
    }
  });

  test('says which variable is missing and what to do', async () => {
    const { code, stderr } = await add(['openai']);
    expect(code).toBe(0);
    expect(stderr).toContain('Not set here: OPENAI_API_KEY');
  });

  test('asks a local server what it has, and leaves out names that cannot be a route', async () => {
    const { code, stdout } = await add(['ollama', '--base-url', `${baseUrl}/v1`]);
    expect(code).toBe(0);
    expect(stdout).not.toContain('\u001b');
    const written = parsed();
    expect(Object.keys(written?.models ?? {})).toEqual(['qwen3:8b', 'nomic-embed-text']);
    expect(written?.providers['ollama']).toMatchObject({ allow_private: true, price: 'free' });
  });

  test('adds what is new when it is run again', async () => {
    await add(['ollama', '--base-url', `${baseUrl}/v1`, '--model', 'qwen3:8b']);
    const { stdout, stderr } = await add(['ollama', '--base-url', `${baseUrl}/v1`]);
    expect(stdout).toContain('+   nomic-embed-text:');
    expect(stderr).toContain('which stays: qwen3:8b');
    expect((await add(['ollama', '--base-url', `${baseUrl}/v1`])).stdout).toBe('There is nothing to add.\n');
  });

  test('prices a remote server as it is told, and names it after its host', async () => {
    const args = [
      'openai-compatible',
      '--base-url',
      'https://api.deepseek.com/v1',
      '--api-key-env',
      'DEEPSEEK_API_KEY',
    ];
    const { code } = await add([...args, '--model', 'deepseek-chat', '--price', '0.27,1.10']);
    expect(code).toBe(0);
    expect(parsed({ DEEPSEEK_API_KEY: 'k' })?.providers['deepseek']?.price).toEqual({
      input: 270_000_000n,
      output: 1_100_000_000n,
    });
  });

  test('knows Gemini by its key, and Azure by its address, with or without the path of its API', async () => {
    expect((await add(['gemini'])).code).toBe(0);
    for (const [name, path] of [
      ['plain', ''],
      ['whole', '/openai/v1/'],
    ]) {
      const address = ['--base-url', `https://ours.openai.azure.com${path}`, '--name', String(name)];
      expect((await add(['azure', ...address, '--model', `gpt-5-${name}`])).code).toBe(0);
    }
    const written = parsed({ GEMINI_API_KEY: 'k', AZURE_OPENAI_API_KEY: 'k' });
    expect(written?.models['gemini-*']?.targets).toMatchObject([{ provider: 'gemini' }]);
    expect(written?.providers['gemini']).toMatchObject({ kind: 'gemini', api_key: 'k' });
    const azure = { kind: 'azure', api_key: 'k', base_url: 'https://ours.openai.azure.com' };
    expect([written?.providers['plain'], written?.providers['whole']]).toMatchObject([azure, azure]);
  });

  test('refuses in one line, and leaves the file as it was', async () => {
    const before = 'providers:\n  anthropic: { kind: sim }\n';
    writeFileSync(file(), before);
    const cases: [string[], number, RegExp][] = [
      [['anthropic'], 1, /another provider "anthropic"/],
      [['ollama', '--base-url', 'http://127.0.0.1:1/v1'], 1, /No model server answers/],
      [['ollama', '--base-url', baseUrl], 1, /No model server answers/],
      [['ollama', '--base-url', `${baseUrl}/empty`], 1, /has no models/],
      [['openai-compatible'], 2, /--base-url/],
      [['azure', '--model', 'x'], 2, /--base-url https:\/\/NAME\.openai\.azure\.com/],
      [['azure', '--base-url', 'https://x.openai.azure.com'], 2, /--model/],
      [['openai-compatible', '--base-url', 'https://api.example.com/v1'], 2, /--model/],
      [['openai-compatible', '--base-url', 'http://api.example.com/v1', '--model', 'x'], 2, /use https/],
      [['openai', '--name', 'not a name'], 1, /would not hold/],
      [['openai', '--model', 'two words'], 1, /would not hold/],
      [['openai', '--api-key-env', 'sk-live/123'], 2, /never the key itself/],
      [['openai', '--base-url', 'https://user:pw@api.example.com'], 2, /--api-key-env/],
      [['openai', '--price', 'cheap'], 2, /0\.27,1\.10/],
    ];
    for (const [args, code, message] of cases) {
      const run = await add(args);
      expect({ args, code: run.code }).toEqual({ args, code });
      expect(run.stderr).toMatch(message);
    }
    expect(readFileSync(file(), 'utf8')).toBe(before);
  });

  test('leaves a broken file alone', async () => {
    for (const before of ['providers: [\n', 'providers: text\n', 'unknown: 1\n']) {
      writeFileSync(file(), before);
      expect((await add(['anthropic'])).code).toBe(1);
      expect(readFileSync(file(), 'utf8')).toBe(before);
    }
  });

  test('means the file beside the data when bin/portcullis is called from another directory', async () => {
    const installation = resolve(import.meta.dirname, '../../..');
    const environment = { DATA_DIR: join(installation, 'data') };
    const elsewhere = await add(['anthropic', '--name', 'test-only', '--dry-run'], environment);
    expect(elsewhere.stderr).toContain(`${join(installation, 'portcullis.yaml')} was left as it is`);
    writeFileSync(file(), '');
    expect((await add(['anthropic', '--name', 'test-only', '--dry-run'], environment)).stderr).toContain(
      `${file()} was left as it is`,
    );
    const named = await add(['anthropic', '--name', 'test-only', '--dry-run'], {
      ...environment,
      CONFIG_FILE: 'other.yaml',
    });
    expect(named.stderr).toContain(`${join(cwd, 'other.yaml')} was left as it is`);
  });

  test('shows what would change without changing it', async () => {
    const { stdout } = await add(['anthropic', '--dry-run']);
    expect(stdout).toContain('+   claude-*:');
    expect(readdirSync(cwd)).toEqual([]);
  });

  test('replaces the file at once, through a link, with the mode that it had', async () => {
    mkdirSync(join(cwd, 'etc'));
    const target = join(cwd, 'etc', 'gate.yaml');
    writeFileSync(target, '# mine\n');
    chmodSync(target, 0o600);
    symlinkSync(target, file());
    expect((await add(['anthropic'])).code).toBe(0);
    expect(lstatSync(file()).isSymbolicLink()).toBe(true);
    expect(statSync(target).mode & 0o777).toBe(0o600);
    expect(readFileSync(target, 'utf8')).toContain('claude-*');
    expect(readdirSync(join(cwd, 'etc'))).toEqual(['gate.yaml']);
  });
});
