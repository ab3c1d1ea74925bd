import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { randomBytes } from 'node:crypto';
import { type FaultyLink, openFaultyLink } from '../../test/support/faulty-link.ts';
import { type MockUpstream, startMockUpstream } from '../../test/support/mock-upstream/client.ts';
import { endOfLog, startChild, stopChildren } from '../harness/children.ts';
import { waitUntilReady } from '../harness/ready.ts';
import type { Database } from '../money/database/main.ts';

const main = fileURLToPath(new URL('../../server/src/main.ts', import.meta.url));
const startMs = 60_000;
const databaseMain = fileURLToPath(new URL('../money/database/main.ts', import.meta.url));

/** A gate process of the benchmark. */
export interface Replica {
  readonly url: string;
  readonly adminKey: string;
  readonly link: FaultyLink;
}

/** A database, a provider, and gates that share both. */
export class Replicas {
  readonly #directory: string;
  readonly #databaseUrl: string;
  readonly #mock: MockUpstream;
  readonly #adminKey = randomBytes(24).toString('base64url');
  readonly #secretsKey = randomBytes(24).toString('base64url');
  readonly #links: FaultyLink[] = [];

  private constructor(directory: string, databaseUrl: string, mock: MockUpstream) {
    this.#directory = directory;
    this.#databaseUrl = databaseUrl;
    this.#mock = mock;
  }

  static async open(directory: string): Promise<Replicas> {
    const own = join(directory, 'control');
    await mkdir(own);
    const logFile = join(directory, 'database.log');
    const command = [process.execPath, databaseMain, own];
    const postgres = startChild(command, { name: 'database', side: 'all', logFile, talks: true });
    const { url } = JSON.parse(await postgres.line()) as Database;
    const mock = await startMockUpstream();
    await mock.script({ model: 'endless', tokens: 1_000_000, tokensPerSecond: 100 });
    return new Replicas(directory, url, mock);
  }

  /** Starts a gate. `deaf`: what the database notifies of does not reach it. */
  async start(name: string, { deaf }: { readonly deaf: boolean }): Promise<Replica> {
    const folder = join(this.#directory, name);
    await mkdir(folder);
    const configFile = join(folder, 'portcullis.yaml');
    await writeFile(configFile, configuration(this.#mock.url));
    const link = await openFaultyLink(this.#databaseUrl, { deaf });
    this.#links.push(link);
    const logFile = join(folder, 'gate.log');
    const child = startChild([process.execPath, main, 'serve'], {
      name,
      side: 'all',
      logFile,
      cwd: folder,
      env: {
        DATABASE_URL: link.url,
        SECRETS_KEY: this.#secretsKey,
        ADMIN_API_KEY: this.#adminKey,
        HTTP_ADDR: '127.0.0.1:0',
        GRPC_ADDR: '127.0.0.1:0',
        DATA_DIR: folder,
        CONFIG_FILE: configFile,
        LOG_FILE: join(folder, 'log'),
        RATE_LIMIT_API_PER_MINUTE: '1000000',
        RATE_LIMIT_ADMIN_PER_MINUTE: '1000000',
        RATE_LIMIT_MODELS_PER_MINUTE: '1000000',
      },
    });
    const url = await waitUntilReady(
      child,
      startMs,
      async () => /listens on (http:\S+)/.exec(endOfLog(logFile))?.[1] ?? null,
    );
    return { url, adminKey: this.#adminKey, link };
  }

  /** The gates and the database are children of the benchmark, which ends them. */
  async close(): Promise<void> {
    await stopChildren();
    await Promise.all(this.#links.map((link) => link.close()));
    await this.#mock.stop();
  }
}

function configuration(mockUrl: string): string {
  const price = 'price: { input: 1, output: 2, cache_read: 1, cache_write_5m: 1, cache_write_1h: 1 }';
  return `providers:
  mock: { kind: anthropic, base_url: '${mockUrl}', api_key: mock, allow_private: true, ${price} }
models:
  endless: { targets: [{ provider: mock }], attempts_max: 1 }
`;
}
