import { nanoPerUsd } from '../../base/money.ts';
import { visible } from '../terminal-text.ts';

/** A cell: text, a number as text that we wrote ourselves, or nothing. */
export type CsvCell = { readonly text: string } | { readonly number: string } | null;

/** Text from elsewhere; absent is nothing. */
export function text(value: string | undefined): CsvCell {
  return value === undefined || value === '' ? null : { text: value };
}

export function number(value: bigint | number | undefined): CsvCell {
  return value === undefined ? null : { number: String(value) };
}

/** Nano-USD as an exact decimal of USD, without a sign for plus: "12", "-0.000000001". */
export function usd(amount: bigint): CsvCell {
  const size = amount < 0n ? -amount : amount;
  const decimals = (size % nanoPerUsd).toString().padStart(9, '0').replace(/0+$/, '');
  return { number: `${amount < 0n ? '-' : ''}${size / nanoPerUsd}${decimals === '' ? '' : `.${decimals}`}` };
}

/** The cell as a terminal may have it: text in it comes from callers. */
export function visibleCell(cell: CsvCell): CsvCell {
  return cell !== null && 'text' in cell ? { text: visible(cell.text) } : cell;
}

/**
 * One record of CSV (RFC 4180). Spreadsheets take text that begins with one of = + - @, a tab or a return for a formula:
 * such text gets an apostrophe before it (OWASP, "CSV Injection").
 */
export function csvLine(cells: readonly CsvCell[]): string {
  return `${cells.map(cellText).join(',')}\r\n`;
}

function cellText(cell: CsvCell): string {
  if (cell === null) return '';
  if ('number' in cell) return cell.number;
  const safe = /^[=+\-@\t\r\n]/.test(cell.text) ? `'${cell.text}` : cell.text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
