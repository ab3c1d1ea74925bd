import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { RequestRecord } from './record.ts';
import type { ScriptInput } from './script.ts';

/** A request as the provider saw it; `body` is null where it was too long to keep. */
export interface SeenRequest extends Omit<RequestRecord, 'body'> {
  readonly body: Buffer | null;
}

export interface MockUpstream {
  /** Without a path, e.g. `http://127.0.0.1:40123`; the OpenAI base URL is this with `/v1`. */
  readonly url: string;
  readonly pid: number;
  /** Every request since the start or the last reset, oldest first (the newest 10,000). */
  requests(): Promise<SeenRequest[]>;
  /** Polls until `done` holds for the record, since what happens on a connection is seen after the client has it. */
  until(done: (requests: readonly SeenRequest[]) => boolean, timeoutMs?: number): Promise<SeenRequest[]>;
  script(script: ScriptInput): Promise<void>;
  /** Drops all scripts and the record in memory. */
  reset(): Promise<void>;
  stop(): Promise<void>;
}

const main = fileURLToPath(new URL('main.ts', import.meta.url));
const pageLimit = 500;

/** Starts a mock provider in a process of its own. `recordFile`: where it appends its record. */
export async function startMockUpstream(options: { readonly recordFile?: string } = {}): Promise<MockUpstream> {
  const args = options.recordFile === undefined ? [] : ['--record', options.recordFile];
  const child = spawn(process.execPath, [main, '--port', '0', '--attached', ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const [line] = (await Promise.race([
    once(createInterface(child.stdout), 'line'),
    exited.then(([code]) =>
      Promise.reject(new Error(`The mock provider ended with ${String(code)} before it listened.`)),
    ),
  ])) as [string];
  const url = `http://127.0.0.1:${(JSON.parse(line) as { port: number }).port}`;

  async function command<T>(method: string, path: string, body?: unknown): Promise<T> {
    const init = body === undefined ? { method } : { method, body: JSON.stringify(body) };
    const response = await fetch(`${url}/__mock/${path}`, init);
    if (!response.ok) throw new Error(`The mock provider refused ${path}: ${await response.text()}`);
    return (await response.json()) as T;
  }

  async function requests(): Promise<SeenRequest[]> {
    const seen: RequestRecord[] = [];
    for (;;) {
      const page = await command<RequestRecord[]>('GET', `requests?after=${seen.at(-1)?.id ?? 0}&limit=${pageLimit}`);
      seen.push(...page);
      if (page.length < pageLimit) break;
    }
    return seen.map((each) => ({ ...each, body: each.body === null ? null : Buffer.from(each.body, 'base64') }));
  }

  return {
    url,
    pid: child.pid ?? 0,
    requests,
    async until(done, timeoutMs = 10_000) {
      const deadlineMs = performance.now() + timeoutMs;
      for (;;) {
        const seen = await requests();
        if (done(seen)) return seen;
        if (performance.now() > deadlineMs) {
          const last = JSON.stringify(seen.at(-1), (key, value: unknown) => (key === 'body' ? undefined : value));
          throw new Error(`The provider's record did not get there in ${timeoutMs} ms; its last request: ${last}`);
        }
        await sleep(20);
      }
    },
    script: (script) => command('POST', 'scripts', script),
    reset: () => command('POST', 'reset'),
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      await exited;
    },
  };
}
