import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Outcome, type Sdks, clientTimeoutMs, familyOf } from '../support/sdks.ts';

const folder = import.meta.dirname;
const windows = process.platform === 'win32';
const python = join(folder, '.venv', windows ? 'Scripts/python.exe' : 'bin/python');

/** Why the Python SDKs cannot be tried here, and what to do about it; null where they can. */
export function missingPython(): string | null {
  const install =
    'python3 -m venv test/python/.venv && test/python/.venv/bin/pip install --require-hashes -r test/python/requirements.txt';
  if (!existsSync(python)) return `there is no test/python/.venv. To try them: ${install}`;
  const wanted = readFileSync(join(folder, 'requirements.txt'), 'utf8').matchAll(/^(anthropic|openai)==(\S+)/gm);
  const installed = packages();
  const missing = [...wanted].filter(([, name, version]) => !installed.includes(`${name}-${version}.dist-info`));
  return missing.length === 0
    ? null
    : `${missing.map(([pinned]) => pinned).join(' and ')} are not in test/python/.venv: ${install}`;
}

function packages(): string[] {
  const library = join(folder, '.venv', windows ? 'Lib' : 'lib');
  const versions = windows ? [library] : readdirSync(library).map((version) => join(library, version));
  return versions.flatMap((version) => readdirSync(join(version, 'site-packages')));
}

/** The Python SDKs, in a process of their own; see `program.py`. */
export function createPythonSdks(): Sdks {
  // Nothing of this process's environment: neither its keys nor its proxies.
  const child: ChildProcess = spawn(python, ['-u', join(folder, 'program.py')], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { PATH: process.env['PATH'] ?? '' },
  });
  const exited = once(child, 'exit');
  const waiting = new Map<number, (outcome: Outcome) => void>();
  let calls = 0;
  if (child.stdout === null || child.stdin === null) throw new Error('Python has no pipes.');
  const { stdin } = child;
  createInterface(child.stdout).on('line', (line) => {
    const { id, told, failure } = JSON.parse(line);
    waiting.get(id)?.(told ? { told: { ...told, said: { $said: id } } } : { failure });
    waiting.delete(id);
  });
  return {
    call(method, params, { gateUrl, apiKey, maxRetries, headers = {} }, family = familyOf(method)) {
      const id = ++calls;
      const client = {
        base_url: family === 'openai' ? `${gateUrl}/v1` : gateUrl,
        api_key: apiKey,
        timeout: clientTimeoutMs / 1000,
        default_headers: headers,
        ...(maxRetries !== undefined && { max_retries: maxRetries }),
      };
      return new Promise((resolve, reject) => {
        waiting.set(id, resolve);
        void exited.then(([code]) => reject(new Error(`The Python program ended with ${String(code)}.`)));
        stdin.write(`${JSON.stringify({ id, method, params, family, client })}\n`);
      });
    },
    async stop() {
      stdin.end();
      await exited;
    },
  };
}
