import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { vi } from 'vitest';
import { type TestDatabase, createTestDatabase } from './database.ts';

const main = resolve(import.meta.dirname, '../../server/src/main.ts');

/** SECRETS_KEY of every gate under test. */
export const secretsKey = 'Zq8vN2xW5rT7yU4iO9pL3kJ6hG1fD0sA';

export interface GateOptions {
  /** The text of portcullis.yaml. */
  readonly yaml?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Another gate's database, for a second replica. */
  readonly database?: TestDatabase;
}

/** A gate in a process of its own, on a database of its own; what a black-box test drives. */
export class TestGate {
  readonly adminKey = `admin-${randomBytes(24).toString('base64url')}`;
  readonly database: TestDatabase;
  readonly folder = mkdtempSync(join(tmpdir(), 'portcullis-gate-'));
  readonly configFile = join(this.folder, 'portcullis.yaml');
  readonly logFile = join(this.folder, 'gate.log');
  /** Everything the process wrote to standard output and error. */
  output = '';
  url = '';
  readonly #env: Readonly<Record<string, string>>;
  readonly #ownsDatabase: boolean;
  #process: ChildProcess | undefined;

  constructor(database: TestDatabase, options: GateOptions) {
    this.database = database;
    this.#ownsDatabase = options.database === undefined;
    this.#env = options.env ?? {};
    writeFileSync(this.configFile, options.yaml ?? 'providers: {}\n');
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** Where gRPC is spoken. @throws Error when the gate does not say */
  get grpcUrl(): string {
    const [, url] = /^gRPC is at (\S+)$/m.exec(this.output) ?? [];
    if (url === undefined) throw new Error(`the gate does not say where gRPC is:\n${this.output}`);
    return url;
  }

  get log(): string {
    try {
      return readFileSync(this.logFile, 'utf8');
    } catch {
      return '';
    }
  }

  /**
   * The log with everything that was logged before this call: lines are buffered, so a request of our own is awaited in
   * it, and lines keep their order.
   */
  async settledLog(): Promise<string> {
    const id = `log-${randomBytes(8).toString('hex')}`;
    await fetch(`${this.url}/healthz`, { headers: { 'x-request-id': id } });
    return vi.waitFor(
      () => {
        const { log } = this;
        if (!log.includes(id)) throw new Error('the log is not written yet');
        return log;
      },
      { timeout: 30_000, interval: 20 },
    );
  }

  /** Starts the process and waits until it listens. @throws Error with its output when it exits instead */
  async start(): Promise<void> {
    const child = spawn(process.execPath, [main, 'serve'], {
      cwd: this.folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env['PATH'] ?? '',
        NODE_ENV: 'test',
        DATABASE_URL: this.database.appUrl,
        SECRETS_KEY: secretsKey,
        ADMIN_API_KEY: this.adminKey,
        HTTP_ADDR: '127.0.0.1:0',
        GRPC_ADDR: '127.0.0.1:0',
        CONFIG_FILE: this.configFile,
        LOG_FILE: this.logFile,
        DATA_DIR: this.folder,
        RATE_LIMIT_API_PER_MINUTE: '100000',
        RATE_LIMIT_MODELS_PER_MINUTE: '100000',
        ...this.#env,
      },
    });
    this.#process = child;
    const before = this.output.length;
    this.url = await new Promise<string>((found, failed) => {
      const read = (chunk: Buffer) => {
        this.output += chunk.toString();
        const match = /listens on (http:\S+)\n/.exec(this.output.slice(before));
        if (match?.[1]) found(match[1]);
      };
      child.stdout?.on('data', read);
      child.stderr?.on('data', read);
      child.once('exit', (code) => failed(new Error(`the gate exited with ${code}:\n${this.output}`)));
    });
  }

  /** Ends the process with `signal` and waits for it. @returns its exit code */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
    return child.exitCode;
  }

  /** Ends everything and removes what was made. */
  async stop(): Promise<void> {
    await this.end();
    if (this.#ownsDatabase) await this.database.drop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Calls a method of the control API. @throws Error with the answer when it is refused */
  async api<T = Record<string, unknown>>(method: string, body: object = {}, key: string = this.adminKey): Promise<T> {
    const answer = await fetch(`${this.url}/portcullis.v1.${method}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      body: JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method}: ${answer.status} ${text}`);
    return JSON.parse(text) as T;
  }

  /** Registers an agent and issues a key for it. */
  async agent(name: string, key: object = {}): Promise<{ agentId: string; keyId: string; secret: string }> {
    const { agent } = await this.api<{ agent: { id: string } }>('AgentService/CreateAgent', { name });
    const made = await this.api<{ key: { id: string }; secret: string }>('AgentService/CreateKey', {
      agentId: agent.id,
      name,
      kind: 'PRINCIPAL_KIND_AGENT',
      scopes: ['models:invoke', 'runs:write'],
      ...key,
    });
    return { agentId: agent.id, keyId: made.key.id, secret: made.secret };
  }

  /** Makes a budget. @returns its id */
  async budget(made: NewBudget): Promise<string> {
    const { name, unit, limit, window = 'LIFETIME', selector = {}, mode = 'ENFORCE' } = made;
    const { budget } = await this.api<{ budget: { id: string } }>('BudgetService/CreateBudget', {
      name,
      selector,
      unit: `BUDGET_UNIT_${unit}`,
      window: `BUDGET_WINDOW_${window}`,
      timeZone: 'UTC',
      mode: `BUDGET_MODE_${mode}`,
      ...(limit !== null && { limitAmount: limit.toString() }),
    });
    return budget.id;
  }

  /** Changes a budget's limit; when it resolves, this gate knows the budget, whichever made it. */
  async setLimit(budgetId: string, limit: bigint): Promise<void> {
    await this.api('BudgetService/UpdateBudget', {
      budgetId,
      updateMask: 'limitAmount',
      limitAmount: limit.toString(),
    });
  }

  /** Where a budget stands. @throws Error when there is none of that name */
  async standing(name: string): Promise<Standing> {
    interface Status {
      readonly budget: { readonly name: string };
      readonly standing: {
        readonly postedAmount: string;
        readonly heldAmount: string;
        readonly remainingAmount?: string;
      };
    }
    const { budgets = [] } = await this.api<{ budgets?: Status[] }>('BudgetService/ListBudgets', { pageSize: 500 });
    const found = budgets.find(({ budget }) => budget.name === name);
    if (!found) throw new Error(`there is no budget "${name}"`);
    const { postedAmount, heldAmount, remainingAmount } = found.standing;
    return {
      posted: BigInt(postedAmount),
      held: BigInt(heldAmount),
      remaining: remainingAmount === undefined ? null : BigInt(remainingAmount),
    };
  }

  /** All rows of the ledger, newest first. */
  async ledger(): Promise<LedgerRow[]> {
    const rows: LedgerRow[] = [];
    let pageToken = '';
    do {
      const page = await this.api<{ attempts?: LedgerRow[]; nextPageToken?: string }>('AnalyticsService/ListAttempts', {
        pageSize: 500,
        pageToken,
      });
      rows.push(...(page.attempts ?? []));
      pageToken = page.nextPageToken ?? '';
    } while (pageToken !== '');
    return rows;
  }

  /** The ledger's row of a request, which may be written somewhat after its answer. */
  async ledgerRow(requestId: string): Promise<LedgerRow> {
    return vi.waitFor(
      async () => {
        const rows = (await this.ledger()).filter((row) => row.requestId === requestId);
        if (rows.length !== 1 || !rows[0]) throw new Error(`${rows.length} ledger rows of ${requestId}`);
        return rows[0];
      },
      { timeout: 10_000, interval: 50 },
    );
  }

  /** How many holds are in each state, as the database says; those that ended are gone. */
  async holds(): Promise<Partial<Record<'held' | 'posted' | 'abandoned', number>>> {
    const { rows } = await this.database.pool.query<{ state: string; count: number }>(
      'SELECT state, count(*)::int AS count FROM holds GROUP BY state',
    );
    return Object.fromEntries(rows.map(({ state, count }) => [state, count]));
  }
}

/** A budget as the control API makes it; amounts are nano-USD, tokens, requests or milliseconds. */
export interface NewBudget {
  readonly name: string;
  readonly unit: 'USD' | 'TOKENS' | 'REQUESTS' | 'CONCURRENT_REQUESTS' | 'LATENCY_MS';
  /** Null only counts. */
  readonly limit: bigint | null;
  /** Without it: `LIFETIME`. */
  readonly window?: 'ATTEMPT' | 'RUN' | 'HOUR' | 'DAY' | 'MONTH' | 'LIFETIME';
  readonly selector?: object;
  readonly mode?: 'ENFORCE' | 'DRY_RUN';
}

export interface Standing {
  readonly posted: bigint;
  readonly held: bigint;
  readonly remaining: bigint | null;
}

/** A row of the ledger, as the control API shows it; what is zero or absent is left out. */
export interface LedgerRow {
  readonly id: string;
  readonly requestId: string;
  readonly agentId?: string;
  readonly route?: string;
  readonly provider?: string;
  readonly modelAsked?: string;
  readonly modelServed?: string;
  readonly dialectIn: string;
  readonly dialectOut?: string;
  readonly streamed?: boolean;
  readonly inputTokens?: string;
  readonly outputTokens?: string;
  readonly cacheReadTokens?: string;
  readonly cacheWrite5mTokens?: string;
  readonly cacheWrite1hTokens?: string;
  readonly reasoningTokens?: string;
  readonly costNanousd?: string;
  readonly notionalNanousd?: string;
  readonly provenance: string;
  readonly outcome: string;
  readonly errorClass?: string;
  readonly rule?: string;
  readonly connectMs?: number;
  readonly overrun?: boolean;
  readonly corrects?: string;
  readonly shadowVerdicts?: readonly {
    readonly budgetId: string;
    readonly limit: string;
    readonly observed: string;
  }[];
}

/** A started gate; the caller stops it. */
export async function startGate(options: GateOptions = {}): Promise<TestGate> {
  const gate = new TestGate(options.database ?? (await createTestDatabase()), options);
  try {
    await gate.start();
  } catch (error) {
    await gate.stop();
    throw error;
  }
  return gate;
}
