import { Command } from 'commander';
import { PortcullisError } from '../../base/errors.ts';
import { billDocumentsMax } from '../../base/limits.ts';
import {
  BillSource,
  ImportBillResponseSchema,
  ReconciliationService,
} from '../../gen/portcullis/v1/reconciliation_pb.ts';
import { BillBuilder } from '../../reconciliation/bill-builder.ts';
import { dayOf } from '../../reconciliation/calendar-day.ts';
import { csvBillColumns, CsvBillReader } from '../../reconciliation/csv-bill.ts';
import { parseExactJson } from '../../reconciliation/exact-json.ts';
import type { Bill } from '../../reconciliation/model.ts';
import { type PageContext, SeenBuckets } from '../../reconciliation/report-page.ts';
import { CliError, type CliContext } from '../context.ts';
import { exitCodes } from '../exit-codes.ts';
import { withGate } from '../gate-client.ts';
import { present } from '../gate-command.ts';
import { printAnswer, printLine, printNote } from '../output.ts';
import { projectOf } from '../references.ts';
import { adminKey } from './admin-key.ts';
import { closedDays, type DaySpan, parseDay } from './days.ts';
import { readPieces, readWhole } from './documents.ts';
import { printSummary } from './match-table.ts';
import { toleranceOf, type ToleranceOptions, withTolerance } from './tolerance.ts';
import { VendorApi } from './vendor-api.ts';
import { type Vendor, vendors } from './vendor-reports.ts';

interface ImportOptions extends DaySpan, ToleranceOptions {
  readonly json?: true;
  readonly project?: string;
  readonly provider?: string;
  readonly force?: true;
}

interface VendorOptions extends ImportOptions {
  readonly provider: string;
  readonly account?: string;
  readonly keyEnv: string;
  readonly keyFile?: string;
  readonly baseUrl?: string;
}

// What is fetched unless --since says otherwise.
const daysBack = 30;

/** `portcullis reconcile import`: takes over what providers billed. */
export function importBillCommand(context: CliContext): Command {
  return new Command('import')
    .description('take over what providers billed, from their admin API or from files')
    .addCommand(vendorCommand(context, 'anthropic', BillSource.ANTHROPIC))
    .addCommand(vendorCommand(context, 'openai', BillSource.OPENAI))
    .addCommand(csvCommand(context));
}

function importCommand(name: string, description: string): Command {
  return withTolerance(
    new Command(name)
      .description(description)
      .option('--json', 'print the answer as one JSON document')
      .option(
        '--project <project>',
        'to which project unexplained spend goes (default: the one with most attempts that day)',
      )
      .option('--force', 'also for a provider that is neither in the configuration nor in the ledger on these days')
      .option('--since <day>', 'the first day, like 2026-11-01 or 7d', parseDay)
      .option('--until <day>', 'the last day', parseDay),
  );
}

function vendorCommand(context: CliContext, name: keyof typeof vendors, source: BillSource): Command {
  const vendor = vendors[name];
  return importCommand(name, `${vendor.name}'s usage and costs: from saved pages, or asked for with an admin key`)
    .argument('[files...]', 'saved pages of its reports, in their order; without any they are asked for')
    .requiredOption('--provider <name>', 'whose bill this is: the name of the provider in the configuration')
    .option(
      '--account <id>',
      'only lines of this workspace or project of the vendor (Anthropic: "default" is the one without an id)',
    )
    .option('--key-env <variable>', 'the variable that holds the admin key', vendor.keyVariable)
    .option('--key-file <file>', 'a file that holds it')
    .option('--base-url <url>', `stands for ${vendor.baseUrl}`)
    .action((files: string[], options: VendorOptions) =>
      sendBill(context, source, options, (bill, wanted) => {
        const buckets = new SeenBuckets();
        const { provider, account = null } = options;
        const pageContext = (at: string, costs: boolean): PageContext => {
          const page = {};
          return { at, provider, account, costs, wanted, seen: (kind, bucket) => buckets.see(page, kind, bucket) };
        };
        return files.length > 0
          ? readFiles(context, vendor, files, bill, pageContext)
          : fetchReports(context, vendor, options, bill, pageContext);
      }),
    );
}

function csvCommand(context: CliContext): Command {
  return importCommand('csv', `a CSV file with the columns ${csvBillColumns.join(', ')}`)
    .argument('<file>')
    .option('--provider <name>', 'whose bill this is, where no column says it')
    .action((file: string, options: ImportOptions) =>
      sendBill(context, BillSource.CSV, options, async (bill, wanted) => {
        const reader = new CsvBillReader({ at: file, provider: options.provider ?? null, wanted }, bill);
        for await (const piece of readPieces(context.cwd, file)) reader.push(piece);
        reader.end();
      }),
    );
}

type ContextOf = (at: string, costs: boolean) => PageContext;

async function readFiles(
  { cwd }: CliContext,
  { readPage }: Vendor,
  files: readonly string[],
  bill: BillBuilder,
  contextOf: ContextOf,
): Promise<void> {
  if (files.length > billDocumentsMax)
    throw new CliError(`These are more than ${billDocumentsMax} files.`, exitCodes.usage);
  let next: string | null = null;
  for (const file of files) {
    next = readPage(parseExactJson(file, await readWhole(cwd, file)), contextOf(file, false), bill);
  }
  if (next !== null) throw new CliError(`${files.at(-1)} says that more pages follow: give them too.`);
}

async function fetchReports(
  context: CliContext,
  vendor: Vendor,
  options: VendorOptions,
  bill: BillBuilder,
  contextOf: ContextOf,
): Promise<void> {
  const { firstDay, lastDay } = closedDays(options, daysBack);
  const api = new VendorApi(vendor, options.baseUrl, adminKey(context, options), (line) => printNote(context, line));
  try {
    for (const report of vendor.reports(firstDay, lastDay, options.account ?? null)) {
      const pages = api.pages(report);
      for (let step = await pages.next(null); !step.done;) {
        const { at, page } = step.value;
        step = await pages.next(vendor.readPage(page, contextOf(at, report.costs), bill));
      }
    }
  } finally {
    await api.close();
  }
}

/** Reads a bill, sends it to the gate in one request, and says what came of it. */
async function sendBill(
  context: CliContext,
  source: BillSource,
  options: ImportOptions,
  read: (bill: BillBuilder, wanted: (day: string) => boolean) => Promise<void>,
): Promise<void> {
  const today = dayOf(Date.now());
  const open = new Set<string>();
  const { since = '', until = today } = options;
  const builder = new BillBuilder();
  const bill = await readable(async () => {
    await read(builder, (day) => {
      if (day < since || day > until) return false;
      if (day >= today) open.add(day);
      return day < today;
    });
    return builder.bill();
  });
  if (open.size > 0) printNote(context, `Left out, since they are not over (UTC): ${[...open].join(', ')}.`);
  if (bill.figures.length + bill.wholeDays.length === 0)
    throw new CliError('Nothing was imported: no line is of the days that were asked for and are over.');
  await withGate(context, async (gate) => {
    const project = await projectOf(gate, options);
    const answer = await gate.of(ReconciliationService).importBill({
      source,
      ...figuresOf(bill),
      tolerance: toleranceOf(options),
      allowUnknownProviders: options.force === true,
      ...project,
    });
    if (options.json) return printAnswer(context, ImportBillResponseSchema, answer);
    const { id, firstDay, lastDay, figures, changed } = present(answer.billImport);
    printLine(
      context,
      answer.repeatedImport
        ? `Known already as ${id}: nothing was imported.`
        : `Imported ${id}: ${figures} figures from ${firstDay} to ${lastDay}; ${changed} are new or changed.`,
    );
    printSummary(context, present(answer.summary));
  });
}

/** @throws CliError for what the readers refuse */
async function readable<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof PortcullisError ? new CliError(`Nothing was imported. ${error.message}`) : error;
  }
}

function figuresOf({ figures, wholeDays }: Bill) {
  return {
    figures: figures.map(({ provider, day, model, costUsd, tokensInput, tokensOutput }) => ({
      provider,
      day,
      model,
      ...(costUsd !== null && { costNanousd: costUsd }),
      ...(tokensInput !== null && { inputTokens: tokensInput }),
      ...(tokensOutput !== null && { outputTokens: tokensOutput }),
    })),
    wholeDays: wholeDays.map(({ provider, day }) => ({ provider, day })),
  };
}
