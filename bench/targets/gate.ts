import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startChild } from '../harness/children.ts';
import { waitUntilReady } from '../harness/ready.ts';
import type { Target, TargetContext } from './target.ts';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const command = [process.execPath, join(repository, 'server/src/main.ts'), 'up'];
const startMs = 90_000;

interface Credentials {
  readonly url: string;
  readonly agent_key: string;
}

/** The gate as `npm start` runs it, with its embedded PostgreSQL and all guards on, before the mock provider. */
export const gate: Target = {
  name: 'gate',
  async start(context) {
    const configFile = join(context.directory, 'portcullis.yaml');
    await writeFile(configFile, configuration(context));
    const child = startChild(command, {
      name: 'the gate',
      side: 'target',
      logFile: context.logFile,
      cwd: context.directory,
      env: {
        HTTP_ADDR: '127.0.0.1:0',
        GRPC_ADDR: '127.0.0.1:0',
        DATA_DIR: context.directory,
        CONFIG_FILE: configFile,
        // The limiter works on every call and refuses none: one key makes all of them.
        RATE_LIMIT_MODELS_PER_MINUTE: '10000000',
      },
    });
    const { url, agent_key } = await waitUntilReady(child, startMs, async () => {
      const credentials = await readJson<Credentials>(join(context.directory, 'credentials.json'));
      if (credentials === null) return null;
      const ready = await fetch(`${credentials.url}/readyz`).catch(() => null);
      return ready?.status === 200 ? credentials : null;
    });
    return {
      url,
      pid: child.pid,
      databasePid: await postmasterPid(context.directory),
      headers: {
        chat: { authorization: `Bearer ${agent_key}` },
        anthropic: { 'x-api-key': agent_key, 'anthropic-version': '2023-06-01' },
      },
      alive: () => child.alive(),
      stop: () => child.stop(),
    };
  },
};

/** Routes of the three public names in models/workloads.ts: each is rewritten to the provider's own name. */
function configuration({ mockUrl }: TargetContext): string {
  const price = 'price: { input: 3, output: 15, cache_read: 0.3, cache_write_5m: 3.75, cache_write_1h: 6 }';
  return `providers:
  mock-chat: { kind: openai-compatible, base_url: '${mockUrl}/v1', allow_private: true, ${price} }
  mock-anthropic: { kind: anthropic, base_url: '${mockUrl}', api_key: mock, allow_private: true, ${price} }
models:
  bench-chat: { targets: [{ provider: mock-chat, model: mock }] }
  bench-anthropic: { targets: [{ provider: mock-anthropic, model: mock }] }
  bench-translated: { targets: [{ provider: mock-chat, model: mock }] }
`;
}

/** The first line of the file that PostgreSQL keeps while it runs; null when the gate did not start one. */
async function postmasterPid(directory: string): Promise<number | null> {
  const text = await readFile(join(directory, 'pg/data/postmaster.pid'), 'utf8').catch(() => '');
  return Number(text.split('\n')[0]) || null;
}

async function readJson<T>(path: string): Promise<T | null> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as T;
  } catch {
    return null; // Not there yet, or half written.
  }
}
