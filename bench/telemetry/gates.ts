import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { endOfLog, type Side, startChild } from '../harness/children.ts';
import { waitUntilReady } from '../harness/ready.ts';
import { configuration } from '../targets/gate.ts';

const main = fileURLToPath(new URL('../../server/src/main.ts', import.meta.url));
const startMs = 120_000;

/** A gate process as `serve` runs it, on a database that others may use too. */
export interface Gate {
  readonly url: string;
  readonly grpcUrl: string;
  readonly adminKey: string;
  readonly pid: number;
  /** From the start of the process until it listened. */
  readonly startedMs: number;
  /** Calls a method of the control API. @throws Error with the answer when it is refused */
  api<T>(method: string, request: object): Promise<T>;
  alive(): void;
  stop(): Promise<void>;
}

/** What gates on one database share. */
export interface GateOptions {
  readonly directory: string;
  readonly databaseUrl: string;
  readonly mockUrl: string;
}

const secretsKey = randomBytes(24).toString('base64url');
const adminKey = randomBytes(24).toString('base64url');

export async function startGate(name: string, side: Side, options: GateOptions): Promise<Gate> {
  const folder = join(options.directory, name);
  await mkdir(folder);
  const configFile = join(folder, 'portcullis.yaml');
  await writeFile(configFile, configuration(options));
  const logFile = join(folder, 'gate.out');
  const began = performance.now();
  const child = startChild([process.execPath, main, 'serve'], {
    name,
    side,
    logFile,
    cwd: folder,
    env: {
      DATABASE_URL: options.databaseUrl,
      SECRETS_KEY: secretsKey,
      ADMIN_API_KEY: adminKey,
      HTTP_ADDR: '127.0.0.1:0',
      GRPC_ADDR: '127.0.0.1:0',
      DATA_DIR: folder,
      CONFIG_FILE: configFile,
      LOG_FILE: join(folder, 'log'),
      // What was seeded stays, however long ago it was.
      LEDGER_RETENTION_DAYS: '0',
      // The client says of each call from where it is.
      TRUSTED_PROXIES: '127.0.0.1',
      // The limiters work on every call and refuse none.
      RATE_LIMIT_API_PER_MINUTE: '10000000',
      RATE_LIMIT_ADMIN_PER_MINUTE: '10000000',
      RATE_LIMIT_MODELS_PER_MINUTE: '10000000',
    },
  });
  const { url, grpcUrl } = await waitUntilReady(child, startMs, async () => {
    const output = endOfLog(logFile);
    const [, url] = /listens on (http:\S+)/.exec(output) ?? [];
    const [, grpcUrl] = /gRPC is at (\S+)/.exec(output) ?? [];
    return url === undefined || grpcUrl === undefined ? null : { url, grpcUrl };
  });
  return {
    url,
    grpcUrl,
    adminKey,
    pid: child.pid,
    startedMs: performance.now() - began,
    api: async <T>(method: string, request: object) => {
      const answer = await fetch(`${url}/portcullis.v1.${method}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${adminKey}` },
        body: JSON.stringify(request),
      });
      const text = await answer.text();
      if (!answer.ok) throw new Error(`${method} was answered with ${answer.status}: ${text}`);
      return JSON.parse(text) as T;
    },
    alive: () => child.alive(),
    stop: () => child.stop(),
  };
}
