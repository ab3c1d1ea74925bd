import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { formatUsd } from '../base/money.ts';
import { PortcullisError } from '../base/errors.ts';
import { PriceFile } from '../budget/prices/price-file.ts';
import { loadConfig } from '../config/config.ts';
import { readPriceFile } from '../config/price-file.ts';
import { CliError, type CliContext } from './context.ts';
import { type Column, printJson, printLine, printNote, printTable } from './output.ts';
import { type PriceRow, priceJson, priceRows } from './prices/price-rows.ts';
import { type PriceQuote, quotesOf } from './prices/quotes.ts';

interface ShowOptions {
  readonly provider?: string;
  readonly at?: number;
  readonly json?: true;
}

interface CheckOptions {
  readonly all?: true;
  readonly json?: true;
}

/** `portcullis prices`: what models cost here, and by whose word. Needs no gate. */
export function pricesCommand(context: CliContext): Command {
  return new Command('prices')
    .description('say what models cost here, and where that is from; works on the configuration, without a gate')
    .addCommand(showCommand(context), { isDefault: true })
    .addCommand(checkCommand(context));
}

function showCommand(context: CliContext): Command {
  return new Command('show')
    .description('show the prices of one model, or of all that have a route, in USD per million tokens')
    .argument('[model]', 'as callers name it, or as its provider does')
    .option('--provider <name>', 'at one provider: a name of the configuration, or anthropic, openai, gemini')
    .option('--at <time>', 'at another time, like 2026-12-01 or 2026-12-01T08:00:00Z', parseTime)
    .option('--json', 'print one JSON document')
    .action((model: string | undefined, options: ShowOptions) => show(context, model, options));
}

async function show(context: CliContext, model: string | undefined, options: ShowOptions): Promise<void> {
  const { config, problems } = loadConfig(context.environment, context.cwd);
  for (const problem of problems) printNote(context, `problem: ${problem}`);
  const asked = { model, provider: options.provider, atMs: options.at ?? Date.now() };
  const quotes = await orCliError(() => quotesOf(config, context.cwd, asked));
  if (options.json) {
    const rows = quotes.map(({ price, modelServed, ...rest }) => ({
      ...rest,
      model_served: modelServed,
      price: price && priceJson(price),
    }));
    return printJson(context, { at: new Date(asked.atMs).toISOString(), models: rows });
  }
  const columns = ['MODEL', 'PROVIDER', 'TERMS'].map((title): Column => ({ title }));
  const amounts = ['INPUT', 'OUTPUT', 'CACHE READ', 'WRITE', 'LONG WRITE'];
  printTable(
    context,
    [...columns, ...amounts.map((title): Column => ({ title, align: 'right' })), { title: 'FROM', whole: true }],
    quotes.flatMap(tableRows),
    'No model has a route here.',
  );
  for (const note of new Set(quotes.flatMap(notesOf))) printNote(context, note);
}

function tableRows({ model, provider, modelServed, price }: PriceQuote): string[][] {
  const name = modelServed === model ? model : `${model} (${modelServed})`;
  if (price === null) return [[name, provider, '', '', '', '', '', '', 'unknown']];
  return priceRows(price).map((row, at) => [
    ...(at === 0 ? [name, provider] : ['', '']),
    termsText(row),
    ...[
      row.prices.input,
      row.prices.output,
      row.prices.cacheRead,
      row.prices.cacheWrite5m,
      row.prices.cacheWrite1h,
    ].map(formatUsd),
    at === 0 ? price.version : '',
  ]);
}

function termsText({ terms, aboveInputTokens }: PriceRow): string {
  const above = aboveInputTokens > 0 ? `above ${aboveInputTokens} tokens` : '';
  return [terms ?? '', above].filter((part) => part !== '').join(', ');
}

function notesOf({ modelServed, price }: PriceQuote): string[] {
  if (price === null) return ['Calls of unknown price are refused where a budget counts money: see unknown_price.'];
  const { reasoning, output } = price.base;
  return [
    ...(price.searchUsd ? [`${modelServed}: ${formatUsd(price.searchUsd)} for each search of the provider.`] : []),
    ...(price.imageUsd > 0n ? [`${modelServed}: ${formatUsd(price.imageUsd)} for each image.`] : []),
    ...(reasoning === output ? [] : [`${modelServed}: ${formatUsd(reasoning)} for output that is reasoning.`]),
  ];
}

function checkCommand(context: CliContext): Command {
  return new Command('check')
    .description("say which entries of a file in LiteLLM's format have a price here, and why others have none")
    .argument('<file>', 'like model_prices_and_context_window.json')
    .option('--all', 'list every entry, instead of counting them by reason')
    .option('--json', 'print one JSON document, with every entry')
    .action((name: string, options: CheckOptions) => check(context, name, options));
}

async function check(context: CliContext, name: string, options: CheckOptions): Promise<void> {
  const file = await orCliError(() => new PriceFile(readPriceFile(join(context.cwd, 'portcullis.yaml'), name)));
  const models = [...file.models].map(([model, { why }]) => ({ model, usable: why === null, why }));
  const usable = models.filter((model) => model.usable).length;
  if (options.json)
    return printJson(context, { version: file.version, usable, unusable: models.length - usable, models });
  if (options.all) {
    const rows = models.map(({ model, why }) => [model, why ?? 'usable']);
    printTable(
      context,
      [
        { title: 'ENTRY', whole: true },
        { title: 'STATE', whole: true },
      ],
      rows,
      'It has no entries.',
    );
  } else {
    const reasons = Map.groupBy(models, ({ why }) => why ?? '');
    reasons.delete('');
    const rows = [...reasons]
      .toSorted(([, a], [, b]) => b.length - a.length)
      .map(([why, entries]) => [String(entries.length), entries[0]?.model ?? '', why]);
    const titles: Column[] = [
      { title: 'ENTRIES', align: 'right' },
      { title: 'SUCH AS' },
      { title: 'HAVE NO PRICE', whole: true },
    ];
    if (rows.length > 0) printTable(context, titles, rows, '');
  }
  printLine(context, `${usable} of ${models.length} entries have a price (${file.version}).`);
}

/** What the library's errors say is for the person at the terminal. */
async function orCliError<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof PortcullisError) throw new CliError(error.message);
    throw error;
  }
}

function parseTime(text: string): number {
  const at = /^\d{4}-\d{2}-\d{2}(T[\d:.]+(Z|[+-]\d{2}:\d{2}))?$/.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(at))
    throw new InvalidArgumentError('Write a day like 2026-12-01, or a time like 2026-12-01T08:00:00Z.');
  return at;
}
