import { styleText } from 'node:util';

const colour = process.stdout.isTTY && !process.env['NO_COLOR'];
const strong = (text: string) => (colour ? styleText('bold', text) : text);

/** One line of the story: what the agent did, and what came of it. */
export function step(what: string, result: string): void {
  console.log(`${strong(what.padEnd(28))} ${result.replace(/\s+/g, ' ').slice(0, 220)}`);
}

interface LedgerRow {
  readonly startTime: string;
  readonly modelAsked?: string;
  readonly dialectIn: string;
  readonly streamed?: boolean;
  readonly inputTokens?: string;
  readonly outputTokens?: string;
  readonly costNanousd?: string;
  readonly provenance: string;
  readonly outcome: string;
  readonly rule?: string;
  readonly errorClass?: string;
}

/** Prints the ledger, oldest first; rows that say the same follow each other as one with a count. */
export function printLedger({ attempts }: { readonly attempts: readonly LedgerRow[] }): void {
  const head = ['model', 'dialect', 'stream', 'in', 'out', 'cost', 'amounts are', 'outcome', 'why', 'times'];
  const rows: string[][] = [];
  for (const row of attempts.toReversed()) {
    const cells = cellsOf(row);
    const last = rows.at(-1);
    if (last && cells.every((cell, i) => cell === last[i])) last[cells.length] = String(Number(last[cells.length]) + 1);
    else rows.push([...cells, '1']);
  }
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd();
  console.log(`\n${strong('What the ledger says')}\n${strong(line(head))}`);
  for (const row of rows) console.log(line(row));
}

function cellsOf(row: LedgerRow): string[] {
  return [
    row.modelAsked ?? '',
    row.dialectIn,
    row.streamed ? 'yes' : '',
    row.inputTokens ?? '0',
    row.outputTokens ?? '0',
    `$${(Number(row.costNanousd ?? 0) / 1e9).toFixed(6)}`,
    word(row.provenance, 'PROVENANCE_'),
    word(row.outcome, 'ATTEMPT_OUTCOME_'),
    row.rule ?? row.errorClass ?? '',
  ];
}

function word(name: string, prefix: string): string {
  return name.replace(prefix, '').toLowerCase().replaceAll('_', ' ');
}
