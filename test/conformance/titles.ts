import type { Direction } from './outcome.ts';

/** The titles of the tests that prove a cell. The reference page names them, so they say what the cell is, and stay. */

interface Named {
  readonly name: string;
}

export function column({ from, to }: Direction): string {
  return `${from} → ${to}`;
}

export function requestTitle({ name }: Named, direction: Direction): string {
  return `${column(direction)}: ${name}`;
}

export function answerTitle({ name }: Named, direction: Direction, streamed: boolean): string {
  return `${column(direction)}, ${streamed ? 'streamed' : 'whole'}: ${name}`;
}

/** What the titles of tests through a running gate have in common. */
export const gateTitlePart = 'through a gate';

export function gateTitle({ name }: Named, direction: Direction, streamed: boolean): string {
  return `${column(direction)}, ${streamed ? 'streamed' : 'whole'}, ${gateTitlePart}: ${name}`;
}

/** For `test.each` with `%s`: the runner cuts long titles that it takes from a member. */
export function byTitle<C extends { readonly title: string }>(cells: readonly C[]): [title: string, cell: C][] {
  return cells.map((cell) => [cell.title, cell]);
}
