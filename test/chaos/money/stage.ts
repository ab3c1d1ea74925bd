import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type MockUpstream, startMockUpstream } from '../../support/mock-upstream/client.ts';
import { behaviours, configuration, modelName, providerNames } from './calls.ts';
import { ChaosDatabase } from './database.ts';
import { replicaCount } from './plan.ts';
import { Replica } from './replica.ts';

/** Everything that a run plays on, each part a process of its own. */
export interface Stage {
  readonly database: ChaosDatabase;
  readonly mock: MockUpstream;
  /** Where the provider keeps its record. */
  readonly recordFile: string;
  readonly replicas: readonly Replica[];
  stop(): Promise<void>;
}

const environment = {
  LOG_LEVEL: 'warn',
  DATABASE_POOL_MAX: '10',
  RATE_LIMIT_MODELS_PER_MINUTE: '10000000',
  RATE_LIMIT_API_PER_MINUTE: '10000000',
  DRAIN_MS: '2000',
};

export async function openStage(): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-chaos-'));
  const recordFile = join(folder, 'provider.jsonl');
  const database = await ChaosDatabase.open();
  const mock = await startMockUpstream({ recordFile });
  const replicas = Array.from({ length: replicaCount }, (_, i) => {
    const home = join(folder, `gate-${i}`);
    mkdirSync(home);
    return new Replica(home, { database: database.forGates, yaml: configuration(mock.url), env: environment });
  });
  // A run that is broken off leaves no process behind.
  const abandon = () => {
    for (const pid of [database.pid, ...replicas.map(({ gate }) => gate.pid)]) if (pid > 0) killQuietly(pid);
  };
  process.once('exit', abandon);
  const stop = async () => {
    await Promise.all(replicas.map((replica) => replica.stop()));
    await Promise.all([mock.stop(), database.stop()]);
    process.off('exit', abandon);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await mock.reset();
    for (const provider of providerNames) {
      for (const [behaviour, script] of Object.entries(behaviours)) {
        await mock.script({ model: modelName(provider, behaviour), ...script });
      }
    }
    await Promise.all(replicas.map((replica) => replica.open()));
    return { database, mock, recordFile, replicas, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}
