import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Program } from '../support/program.ts';

/** A gate as `npm start` runs it, in a folder of its own. */
export interface ClientsGate {
  readonly folder: string;
  readonly dataDir: string;
  stop(): Promise<void>;
}

const startMs = 120_000;

/**
 * Starts a gate whose routes `over-chat`, `over-messages` and `over-responses` lead to the simulated model through the
 * gate itself, in that dialect: a client that speaks another one is translated there and back.
 */
export async function startClientsGate(): Promise<ClientsGate> {
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-clients-'));
  // As root PostgreSQL runs under a user who must get through to the data.
  chmodSync(folder, 0o755);
  const address = `127.0.0.1:${await freePort()}`;
  const dataDir = join(folder, 'data');
  writeFileSync(join(folder, 'portcullis.yaml'), configuration(`http://${address}`));
  const program = new Program(['up'], {
    cwd: folder,
    env: {
      DATA_DIR: dataDir,
      HTTP_ADDR: address,
      GRPC_ADDR: 'off',
      LOG_FILE: join(folder, 'gate.log'),
      API_KEY: ownKey,
    },
  });
  const stop = async () => {
    await program.end();
    rmSync(folder, { recursive: true, force: true });
  };
  const deadline = performance.now() + startMs;
  while (!program.stdout.includes('Ctrl-C stops everything')) {
    if (program.process.exitCode !== null || performance.now() > deadline) {
      await stop();
      throw new Error(`The gate is not up:\n${program.output}`);
    }
    await sleep(100);
  }
  return { folder, dataDir, stop };
}

/** What the gate calls itself with, as a provider. */
const ownKey = randomBytes(32).toString('base64url');

function configuration(url: string): string {
  const own = { api_key: '${API_KEY}', allow_private: true, price: 'free' };
  const openai = { ...own, kind: 'openai-compatible', base_url: `${url}/v1` };
  // Messages needs an output limit, which Codex never sends.
  const capabilities = { max_output: 8_000 };
  const route = (provider: string) => ({ targets: [{ provider, model: 'sim', capabilities }] });
  return JSON.stringify({
    providers: {
      chat: { ...openai, dialects: ['chat'] },
      messages: { ...own, kind: 'anthropic', base_url: url },
      responses: { ...openai, dialects: ['responses'] },
    },
    models: {
      'over-chat': route('chat'),
      'over-messages': route('messages'),
      'over-responses': route('responses'),
    },
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
