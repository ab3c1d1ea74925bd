import { csvCellCharsMax, csvColumnsMax } from '../base/limits.ts';
import { invalid } from '../identity/input.ts';

/** One record of a CSV file, and the line that it begins on, from 1. */
export interface CsvRecord {
  readonly line: number;
  readonly cells: readonly string[];
}

type Place = 'cell start' | 'bare' | 'quoted' | 'after quote';

/** Reads CSV (RFC 4180) piece by piece, LF alone as a line's end too; blank lines are no records. Memory: one record. */
export class CsvReader {
  readonly #at: string;
  #line = 1;
  #begun = 1;
  #place: Place = 'cell start';
  #cell = '';
  #cells: string[] = [];
  #sawReturn = false;

  /** @param at what the file is called in refusals */
  constructor(at: string) {
    this.#at = at;
  }

  /** The records that end within `text`. @throws PortcullisError invalid_argument naming the line */
  *push(text: string): Generator<CsvRecord> {
    for (const character of text) {
      if (character === '\n') this.#line++;
      const ended = this.#take(character);
      this.#sawReturn = character === '\r';
      if (ended) yield ended;
    }
  }

  /** What the file ends with. @throws PortcullisError invalid_argument when a quote is still open */
  end(): CsvRecord | null {
    if (this.#place === 'quoted') throw this.#wrong(this.#begun, 'has a quote that nothing closes');
    return this.#record();
  }

  #take(character: string): CsvRecord | null {
    if (this.#place === 'quoted') {
      if (character === '"') this.#place = 'after quote';
      else this.#add(character);
      return null;
    }
    if (character === '\n' && this.#sawReturn) {
      this.#begun = this.#line;
      return null;
    }
    if (character === '\n' || character === '\r') return this.#record();
    if (character === ',') this.#endCell();
    else if (character === '"' && this.#place !== 'bare') {
      // A doubled quote within quotes is one quote.
      if (this.#place === 'after quote') this.#add('"');
      this.#place = 'quoted';
    } else if (this.#place === 'after quote') throw this.#wrong(this.#line, 'has text after a closing quote');
    else {
      this.#add(character);
      this.#place = 'bare';
    }
    return null;
  }

  #add(character: string): void {
    if (this.#cell.length >= csvCellCharsMax)
      throw this.#wrong(this.#line, `has a cell of over ${csvCellCharsMax} characters`);
    this.#cell += character;
  }

  #endCell(): void {
    this.#cells.push(this.#cell);
    this.#cell = '';
    this.#place = 'cell start';
    if (this.#cells.length > csvColumnsMax) throw this.#wrong(this.#line, `has over ${csvColumnsMax} columns`);
  }

  #record(): CsvRecord | null {
    const blank = this.#cells.length === 0 && this.#cell === '' && this.#place === 'cell start';
    const line = this.#begun;
    this.#begun = this.#line;
    if (blank) return null;
    this.#endCell();
    const cells = this.#cells;
    this.#cells = [];
    return { line, cells };
  }

  #wrong(line: number, why: string) {
    return invalid(this.#at, `${this.#at}, line ${line} ${why}.`);
  }
}
