import { invalid } from '../identity/input.ts';
import type { BillBuilder } from './bill-builder.ts';
import { dayStart } from './calendar-day.ts';
import { CsvReader, type CsvRecord } from './csv-reader.ts';

export const csvBillColumns = [
  'provider',
  'model',
  'date',
  'amount',
  'currency',
  'input_tokens',
  'output_tokens',
] as const;
type Column = (typeof csvBillColumns)[number];

interface CsvContext {
  /** The file, for refusals. */
  readonly at: string;
  /** The provider where no column says it. */
  readonly provider: string | null;
  readonly wanted: (day: string) => boolean;
}

/** Reads a bill in the columns of `csvBillColumns` piece by piece; the first line names those that it has, in any order. */
export class CsvBillReader {
  readonly #reader: CsvReader;
  readonly #context: CsvContext;
  readonly #bill: BillBuilder;
  readonly #lines = new Map<string, number>();
  #columns: readonly Column[] | null = null;

  constructor(context: CsvContext, bill: BillBuilder) {
    this.#reader = new CsvReader(context.at);
    this.#context = context;
    this.#bill = bill;
  }

  /** @throws PortcullisError invalid_argument naming the line */
  push(text: string): void {
    for (const record of this.#reader.push(text)) this.#take(record);
  }

  /** @throws PortcullisError invalid_argument */
  end(): void {
    const last = this.#reader.end();
    if (last) this.#take(last);
    if (this.#columns === null)
      throw this.#wrong(1, `is missing: the first line names columns (${csvBillColumns.join(', ')})`);
  }

  #take({ line, cells }: CsvRecord): void {
    if (this.#columns === null) {
      this.#columns = this.#header(line, cells);
      return;
    }
    if (cells.length !== this.#columns.length) {
      throw this.#wrong(line, `has ${cells.length} cells, and the first line ${this.#columns.length}`);
    }
    const row = new Map(this.#columns.map((column, index) => [column, cells[index]?.trim() ?? '']));
    this.#add(line, (column) => row.get(column) ?? '');
  }

  #header(line: number, cells: readonly string[]): Column[] {
    const columns = cells.map((cell) => {
      const name = cell
        .replace(/^\uFEFF/, '')
        .trim()
        .toLowerCase();
      const column = csvBillColumns.find((known) => known === name);
      if (column === undefined) {
        throw this.#wrong(line, `has the column "${name.slice(0, 40)}": write ${csvBillColumns.join(', ')}`);
      }
      return column;
    });
    if (new Set(columns).size < columns.length) throw this.#wrong(line, 'names a column twice');
    const needed: Column[] = ['model', 'date', ...(this.#context.provider === null ? (['provider'] as const) : [])];
    const missing = needed.find((column) => !columns.includes(column));
    if (missing !== undefined) throw this.#wrong(line, `has no column "${missing}"`);
    return columns;
  }

  #add(line: number, cell: (column: Column) => string): void {
    const day = cell('date');
    if (dayStart(day) === null) throw this.#wrong(line, `has the date "${day.slice(0, 40)}": write it like 2026-11-22`);
    const provider = cell('provider') || this.#context.provider;
    if (provider === null) throw this.#wrong(line, 'names no provider');
    const currency = cell('currency');
    if (currency !== '' && currency.toUpperCase() !== 'USD') {
      throw this.#wrong(line, `is in ${currency.slice(0, 40)}: only USD can be matched`);
    }
    const model = cell('model');
    const [amount, input, output] = [cell('amount'), cell('input_tokens'), cell('output_tokens')];
    if (amount === '' && input === '' && output === '') throw this.#wrong(line, 'has neither an amount nor tokens');
    if (!this.#context.wanted(day)) return;
    this.#onlyOnce(line, [provider, day, model]);
    const place = { at: `${this.#context.at}, line ${line}`, provider, day, model };
    if (amount !== '') this.#bill.addCost(place, amount);
    if (input !== '' || output !== '') this.#bill.addTokens(place, input || '0', output || '0');
  }

  /** Two lines of one figure are as likely one line pasted twice as two that are to be summed. */
  #onlyOnce(line: number, figure: readonly string[]): void {
    const key = JSON.stringify(figure);
    const before = this.#lines.get(key);
    if (before !== undefined)
      throw this.#wrong(line, `tells the same provider, model and date as line ${before}: keep one`);
    this.#lines.set(key, line);
  }

  #wrong(line: number, why: string) {
    return invalid(this.#context.at, `${this.#context.at}, line ${line} ${why}.`);
  }
}
