import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CliRun, runCommand } from './cli.ts';
import { startGate, type TestGate } from './gate.ts';
import { type PastAttempt, writePastAttempt } from './ledger-rows.ts';
import { startVendorAdminApi, type VendorAdminApi } from './vendor-admin-api.ts';

/** A key of a vendor's organization; nothing may ever tell it. */
export const adminKey = 'sk-ant-admin-4711-never-told';

/** A matched model, as the control API shows it. */
export interface Match {
  readonly provider: string;
  readonly day: string;
  readonly model: string;
  readonly state: string;
  readonly billedNanousd?: string;
  readonly bookedNanousd: string;
  readonly unexplainedNanousd: string;
}

/** A gate, a vendor's admin API, and the command line between them in a folder of its own. */
export interface BillDesk {
  readonly gate: TestGate;
  readonly vendor: VendorAdminApi;
  readonly folder: string;
  /** `portcullis reconcile …` */
  reconcile(args: readonly string[], environment?: Readonly<Record<string, string>>): Promise<CliRun>;
  usage(args: readonly string[]): Promise<CliRun>;
  save(name: string, content: object | string): void;
  /** Writes a row of the ledger. @returns its id */
  attempt(row: Omit<PastAttempt, 'projectId'>): Promise<string>;
  matches(provider: string): Promise<Match[]>;
  /** How many imports and figures there are. */
  stored(): Promise<object | undefined>;
  stop(): Promise<void>;
}

export async function openBillDesk(): Promise<BillDesk> {
  const gate = await startGate();
  const vendor = await startVendorAdminApi();
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-bills-'));
  const { principal } = await gate.api<{ principal: { projectId: string } }>('SystemService/GetSelf');
  const own = { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: gate.adminKey };
  return {
    gate,
    vendor,
    folder,
    reconcile: (args, environment = {}) =>
      runCommand(['reconcile', ...args], { cwd: folder, environment: { ...own, ...environment } }),
    usage: (args) => runCommand(['usage', ...args], { cwd: folder, environment: own }),
    save: (name, content) =>
      writeFileSync(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content)),
    attempt: (row) => writePastAttempt(gate.database, { projectId: principal.projectId, ...row }),
    matches: async (provider) =>
      (await gate.api<{ days: Match[] }>('ReconciliationService/ListReconciledDays', { provider })).days,
    stored: async () => {
      const { rows } = await gate.database.pool.query<object>(
        'SELECT (SELECT count(*)::int FROM bill_imports) AS imports, (SELECT count(*)::int FROM billed_figures) AS figures',
      );
      return rows[0];
    },
    stop: async () => {
      rmSync(folder, { recursive: true, force: true });
      await vendor.stop();
      await gate.stop();
    },
  };
}

/** The last page of a report. */
export const lastPage = (...data: object[]) => ({ data, has_more: false, next_page: null });
/** A page that another one follows. */
export const pageBefore = (next_page: string, ...data: object[]) => ({ data, has_more: true, next_page });

export const anthropicDay = (day: string, ...results: object[]) => ({
  starting_at: `${day}T00:00:00Z`,
  ending_at: `${new Date(Date.parse(day) + 86_400_000).toISOString().slice(0, 10)}T00:00:00Z`,
  results,
});

/** A line of Anthropic's cost report; one without a model is a fee. */
export const anthropicCost = (cents: string, model: string | null, more: object = {}) => ({
  amount: cents,
  currency: 'USD',
  cost_type: model === null ? 'web_search' : 'tokens',
  description: 'as billed',
  model,
  workspace_id: null,
  ...more,
});

export const anthropicUsage = (input: number, output: number, model: string) => ({
  uncached_input_tokens: input,
  cache_creation: { ephemeral_1h_input_tokens: 0, ephemeral_5m_input_tokens: 0 },
  cache_read_input_tokens: 0,
  output_tokens: output,
  model,
  workspace_id: null,
});
