import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startChild } from '../harness/children.ts';
import { freePort } from '../harness/free-port.ts';
import { waitUntilReady } from '../harness/ready.ts';
import type { Target } from './target.ts';

const folder = fileURLToPath(new URL('../peers/litellm', import.meta.url));
const python = join(folder, 'venv/bin/python');
const startMs = 120_000;

/**
 * LiteLLM's proxy with one worker, as its documentation says for one core; it checks one key, and has no database, limits
 * or ledger. It is measured where somebody installed it: it is most of a gigabyte.
 */
export const litellm: Target = {
  name: 'litellm',
  async start({ mockUrl, directory, logFile }) {
    if (!existsSync(python)) {
      throw new Error(
        'it is not installed: cd bench/peers/litellm && python3 -m venv venv && venv/bin/pip install -r requirements.txt',
      );
    }
    const configFile = join(directory, 'config.yaml');
    await writeFile(configFile, configuration(mockUrl));
    const port = await freePort();
    // It starts without one only when told that this is unsafe.
    const key = `sk-${randomBytes(32).toString('hex')}`;
    const options = ['--config', configFile, '--host', '127.0.0.1', '--port', String(port), '--num_workers', '1'];
    const child = startChild([python, join(folder, 'venv/bin/litellm'), ...options], {
      name: 'LiteLLM',
      side: 'target',
      logFile,
      cwd: directory,
      env: {
        LITELLM_MASTER_KEY: key,
        LITELLM_LOG: 'ERROR',
        LITELLM_LOCAL_MODEL_COST_MAP: 'True',
        LITELLM_TELEMETRY: 'False',
      },
    });
    const url = `http://127.0.0.1:${port}`;
    await waitUntilReady(child, startMs, () =>
      fetch(`${url}/health/liveliness`).then(
        (response) => (response.ok ? true : null),
        () => null,
      ),
    );
    return {
      url,
      pid: child.pid,
      databasePid: null,
      headers: {
        chat: { authorization: `Bearer ${key}` },
        anthropic: { 'x-api-key': key, 'anthropic-version': '2023-06-01' },
      },
      alive: () => child.alive(),
      stop: () => child.stop(),
    };
  },
};

function configuration(mockUrl: string): string {
  return `model_list:
  - model_name: bench-chat
    litellm_params: { model: openai/mock, api_base: '${mockUrl}/v1', api_key: mock }
  - model_name: bench-anthropic
    litellm_params: { model: anthropic/mock, api_base: '${mockUrl}', api_key: mock }
litellm_settings: { num_retries: 0, telemetry: false }
`;
}
