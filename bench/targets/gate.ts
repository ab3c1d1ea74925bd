import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startChild } from '../harness/children.ts';
import { waitUntilReady } from '../harness/ready.ts';
import type { RunningTarget, Target, TargetContext } from './target.ts';

const repository = fileURLToPath(new URL('../..', import.meta.url));
const command = [process.execPath, join(repository, 'server/src/main.ts'), 'up'];
const startMs = 90_000;

interface Credentials {
  readonly url: string;
  readonly agent_key: string;
  readonly admin_key: string;
}

/** Budgets that count every call and never refuse one: a gate without any would have less to do than those that people run. */
export const budgets = [
  { name: 'all, a month', unit: 'BUDGET_UNIT_USD', window: 'BUDGET_WINDOW_MONTH', limitAmount: '1000000000000000' },
  { name: 'all, a day', unit: 'BUDGET_UNIT_TOKENS', window: 'BUDGET_WINDOW_DAY', limitAmount: '1000000000000000' },
];

/** How the money of its calls is written down, and what counts it. */
interface Money {
  readonly durability: 'DURABILITY_STRICT' | 'DURABILITY_RELAXED';
  readonly budgets: readonly (typeof budgets)[number][];
}

/** The gate as `npm start` runs it, with its embedded PostgreSQL, all guards and two budgets, before the mock provider. */
export const gate = gateWith('gate', { durability: 'DURABILITY_STRICT', budgets });
export const gateRelaxed = gateWith('gate-relaxed', { durability: 'DURABILITY_RELAXED', budgets });
/** Without any budget: each call still has its hold, which counts nowhere, and its ledger row. */
export const gateUnbudgeted = gateWith('gate-unbudgeted', { durability: 'DURABILITY_STRICT', budgets: [] });
/** Without any budget: each call has its ledger row, written with others a moment later. */
export const gateRelaxedUnbudgeted = gateWith('gate-relaxed-unbudgeted', {
  durability: 'DURABILITY_RELAXED',
  budgets: [],
});

function gateWith(name: string, { durability, budgets }: Money): Target {
  return {
    name,
    async start(context) {
      const running = await startGate(context, configuration(context));
      await control(running, 'ProjectService/UpdateProject', { updateMask: 'durability', durability });
      for (const budget of budgets)
        await control(running, 'BudgetService/CreateBudget', { ...budget, mode: 'BUDGET_MODE_ENFORCE' });
      return running;
    },
  };
}

async function control({ url, credentials }: RunningGate, method: string, message: object): Promise<void> {
  const response = await fetch(`${url}/portcullis.v1.${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${credentials.admin_key}` },
    body: JSON.stringify(message),
  });
  if (!response.ok) throw new Error(`${method} was answered with ${response.status}: ${await response.text()}`);
}

export interface RunningGate extends RunningTarget {
  readonly credentials: Credentials;
}

/** Starts the gate with a configuration file of this text. */
export async function startGate(context: TargetContext, configurationText: string): Promise<RunningGate> {
  const configFile = join(context.directory, 'portcullis.yaml');
  await writeFile(configFile, configurationText);
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
  const credentials = await waitUntilReady(child, startMs, async () => {
    const written = await readJson<Credentials>(join(context.directory, 'credentials.json'));
    if (written === null) return null;
    const ready = await fetch(`${written.url}/readyz`).catch(() => null);
    return ready?.status === 200 ? written : null;
  });
  const { url, agent_key } = credentials;
  return {
    credentials,
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
}

/** Routes of the three public names in models/workloads.ts: each is rewritten to the provider's own name. */
export function configuration({ mockUrl }: Pick<TargetContext, 'mockUrl'>): string {
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
