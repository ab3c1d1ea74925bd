import { PortcullisError } from '../base/errors.ts';
import type { Dialect } from './dialect.ts';

/** Names kept for the `portcullis-dropped` header; a caller chooses how many unknown fields it sends, and how long. */
const namesMax = 32;
const nameCharsMax = 100;
const reasonCharsMax = 200;

/** What callers know a field by, where that is another name than the one it has here. */
const spellings: Readonly<Record<Dialect, ReadonlyMap<string, string>>> = {
  anthropic: new Map([
    ['stop', 'stop_sequences'],
    ['output_format', 'output_config.format'],
  ]),
  chat: new Map([['output_format', 'response_format']]),
  responses: new Map([['output_format', 'text.format']]),
};

/**
 * The rule of every translation: a field or block is mapped, or refused by name, or, where the route allows it, dropped
 * and listed. One instance goes through one translation and ends with the list.
 */
export class Losses {
  readonly #names = new Set<string>();
  readonly #lossy: 'refuse' | 'allow';
  /** Whose words are read: a caller's request, or a provider's answer. */
  readonly #source: 'request' | 'answer';
  readonly #spelling: ReadonlyMap<string, string> | null;

  /** @param caller the dialect of the caller, who is told of its fields by their own names */
  constructor(lossy: 'refuse' | 'allow', source: 'request' | 'answer' = 'request', caller: Dialect | null = null) {
    this.#lossy = lossy;
    this.#source = source;
    this.#spelling = caller && spellings[caller];
  }

  /** Something that matters has no counterpart. @throws PortcullisError naming it, unless the route allows the loss. */
  drop(path: string, what = 'has no counterpart in the dialect on the other side'): void {
    if (this.#lossy === 'refuse') {
      const reason = what.slice(0, reasonCharsMax);
      throw this.#source === 'request'
        ? refusal(this.#spelled(path), `${reason}: remove it, or set \`lossy: allow\` on the route to have it dropped.`)
        : unreadable(path, `${reason}.`);
    }
    this.hint(path);
  }

  /** Drops what cannot change the meaning of the answer (cache marks, for example): never refused, always listed. */
  hint(path: string): void {
    if (this.#names.size < namesMax) this.#names.add(headerName(this.#spelled(path)));
  }

  #spelled(path: string): string {
    return this.#spelling?.get(path) ?? path;
  }

  /** The error for something that its own dialect does not allow either. `expected` ends the sentence. */
  malformed(path: string, expected: string): PortcullisError {
    return this.#source === 'request'
      ? refusal(path, `must be ${expected}.`)
      : unreadable(path, `must be ${expected}.`);
  }

  /** What was dropped, fit for a header: positions in lists left out, each name once. */
  get names(): string[] {
    return [...this.#names];
  }
}

function refusal(path: string, rest: string): PortcullisError {
  const param = path === '' ? 'body' : path.slice(0, nameCharsMax);
  return new PortcullisError('invalid_argument', `"${param}" ${rest}`, { param });
}

function unreadable(path: string, rest: string): PortcullisError {
  const name = path === '' ? 'the body' : `"${path.slice(0, nameCharsMax)}"`;
  return new PortcullisError('upstream_error', `The provider's answer cannot be translated: ${name} ${rest}`);
}

function headerName(path: string): string {
  return path
    .replaceAll(/\[\d+\]/g, '')
    .replaceAll(/[^\x21-\x2b\x2d-\x7e]/g, '?')
    .slice(0, nameCharsMax);
}
