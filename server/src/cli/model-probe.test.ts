import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { runCommand } from '../../../test/support/cli.ts';
import { parseConfigFile } from '../config/file.ts';

/** `portcullis add` asks a local server what its models can, and writes that down with its date. */

const cwd = mkdtempSync(join(tmpdir(), 'portcullis-probe-'));
const file = join(cwd, 'portcullis.yaml');
let server: Server;
let baseUrl: string;
/** What the server answers, by its path. */
let answers: Record<string, (body: { model?: string }) => unknown>;

beforeAll(async () => {
  server = createServer((request: IncomingMessage, response) => {
    void text(request).then((body) => {
      const answer = answers[request.url ?? ''];
      if (!answer) return response.writeHead(404).end('<html>');
      return response.end(JSON.stringify(answer(body === '' ? {} : (JSON.parse(body) as object))));
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
});
beforeEach(() => rmSync(file, { force: true }));
afterAll(() => {
  server.close();
  rmSync(cwd, { recursive: true });
});

const list = (...entries: object[]) => ({ '/v1/models': () => ({ data: entries }) });

async function added(preset: string, ...args: string[]) {
  const { code, stderr } = await runCommand(['add', preset, '--base-url', baseUrl, ...args], { cwd, environment: {} });
  expect({ code, stderr }).toMatchObject({ code: 0 });
  const written = readFileSync(file, 'utf8');
  const models = parseConfigFile(written, {}, { problems: [], notes: [] })?.models ?? {};
  const entries = Object.entries(models).map(([name, { targets }]) => [name, targets[0]?.capabilities] as const);
  return { written, capabilities: Object.fromEntries(entries) };
}

test('Ollama tells of each model what it can, and the window that it was loaded with or set to', async () => {
  const models: Record<string, object> = {
    'qwen3:8b': {
      capabilities: ['completion', 'tools', 'thinking'],
      model_info: { 'general.architecture': 'qwen3', 'qwen3.context_length': 40_960 },
    },
    'llava:7b': { capabilities: ['completion', 'vision'], parameters: 'stop "x"\nnum_ctx    8192\n' },
    'loaded:1b': { capabilities: ['completion'], model_info: { 'llama.context_length': 131_072 } },
    'old:1b': { model_info: { 'llama.context_length': -1 } },
  };
  answers = {
    ...list(...Object.keys(models).map((id) => ({ id }))),
    '/api/ps': () => ({ models: [{ name: 'loaded:1b', context_length: 4096 }] }),
    '/api/show': ({ model }) => models[model ?? ''],
  };
  const { written, capabilities } = await added('ollama');
  expect(capabilities).toEqual({
    'qwen3:8b': { context: 40_960, images: false, tools: true, reasoning: 'effort' },
    'llava:7b': { context: 8192, images: true, tools: false, reasoning: 'none' },
    'loaded:1b': { context: 4096, images: false, tools: false, reasoning: 'none' },
    'old:1b': undefined,
  });
  const comments = written.match(/# probed .*/g);
  expect(comments).toEqual([
    expect.stringMatching(
      /^# probed \d{4}-\d\d-\d\d; context is the most of the model, the server may load it with less$/,
    ),
    expect.stringMatching(/^# probed [\d-]+$/),
    expect.stringMatching(/^# probed [\d-]+$/),
  ]);
});

test('LM Studio tells it in a list of its own', async () => {
  answers = {
    ...list({ id: 'gemma' }, { id: 'qwen' }),
    '/api/v0/models': () => ({
      data: [
        {
          id: 'gemma',
          type: 'vlm',
          max_context_length: 131_072,
          loaded_context_length: 8192,
          capabilities: ['tool_use'],
        },
        { id: 'qwen', type: 'llm', max_context_length: 32_768 },
        { id: 'not routed', type: 'llm', max_context_length: 1 },
      ],
    }),
  };
  expect((await added('lm-studio')).capabilities).toEqual({
    gemma: { context: 8192, images: true, tools: true },
    qwen: { context: 32_768, images: false },
  });
});

test("vLLM, llama.cpp and others tell the window in OpenAI's list", async () => {
  answers = list(
    { id: 'vllm', max_model_len: 16_384 },
    { id: 'llama.cpp', meta: { n_ctx_train: 32_768 } },
    { id: 'other', context_length: 4096 },
    { id: 'silent' },
    { id: 'absurd', max_model_len: 1e12 },
  );
  const { written, capabilities } = await added('openai-compatible', '--name', 'lab');
  expect(capabilities).toEqual({
    vllm: { context: 16_384 },
    'llama.cpp': { context: 32_768 },
    other: { context: 4096 },
    silent: undefined,
    absurd: undefined,
  });
  expect(written.match(/may load it with less/g)).toHaveLength(1);
});

test('a server that tells nothing is added all the same, and what stands in the file already stays', async () => {
  answers = list({ id: 'qwen3:8b' });
  expect((await added('ollama')).capabilities).toEqual({ 'qwen3:8b': undefined });
  answers = { ...list({ id: 'qwen3:8b' }, { id: 'new' }), '/api/show': () => ({ capabilities: ['tools'] }) };
  writeFileSync(file, `# mine\n${readFileSync(file, 'utf8')}`);
  const { written, capabilities } = await added('ollama');
  expect(capabilities).toEqual({ 'qwen3:8b': undefined, new: { images: false, tools: true, reasoning: 'none' } });
  expect(written).toMatch(/^# mine\n/);
});
