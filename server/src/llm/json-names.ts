import { jsonNameBytesMax } from '../base/limits.ts';
import { refuseBody, stringText } from './json-text.ts';

/** Up to so many names, an object's duplicates are looked for byte by byte; beyond, in a set. */
const linearMax = 32;

/** Longer names are looked for in a set too: byte by byte, a prefix that they share would be read once for each. */
const linearBytesMax = 64;

/** The names that fields have in these APIs. */
const plainName = /^\w*$/;

/** The member names of the objects that are open while a body is scanned: refuses the second of a name in one object. */
export class MemberNames {
  readonly #body: Buffer;
  /** Ranges of the names seen so far, innermost object last. */
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  // Not the arrays' own length: to shorten an array costs more than all the rest.
  #length = 0;

  constructor(body: Buffer) {
    this.#body = body;
  }

  /** Begins an object. @returns a mark to give to `claim` and `leave` */
  enter(): number {
    return this.#length;
  }

  leave(mark: number): void {
    this.#length = mark;
  }

  /**
   * Notes the name [start, end) in the object of `mark`. Nearly all objects are short and their names plain: bytes are
   * compared. Many names, or an escaped one, give the object a set of unescaped names: returned, and to be given again.
   * @throws PortcullisError invalid_argument for a name that is too long, a duplicate, a lone surrogate, or an escape in a
   * name of letters, digits and underscores: no writer of JSON puts one there, and V8 itself (14.6) misreads such a name
   * after an object whose name in the same place has those very bytes unescaped, so that one request could blind
   * JSON.parse to a field of the next.
   */
  claim(mark: number, start: number, end: number, escaped: boolean, known: Set<string> | null): Set<string> | null {
    if (end - start > jsonNameBytesMax) refuseBody(`a name may have ${jsonNameBytesMax} bytes at most`, start);
    if (known === null && !escaped && end - start <= linearBytesMax && this.#length - mark < linearMax) {
      for (let i = mark; i < this.#length; i++) if (this.#equal(i, start, end)) this.#refuse(start, end, false);
      this.#starts[this.#length] = start;
      this.#ends[this.#length++] = end;
      return null;
    }
    const names = known ?? this.#unescaped(mark);
    const name = stringText(this.#body, start, end, escaped);
    if (!name.isWellFormed()) refuseBody('a member name has a lone surrogate', start);
    if (names.has(name)) this.#refuse(start, end, escaped);
    if (escaped && plainName.test(name)) refuseBody(`the name ${JSON.stringify(name)} needs no escapes`, start);
    return names.add(name);
  }

  #unescaped(mark: number): Set<string> {
    const names = new Set<string>();
    for (let i = mark; i < this.#length; i++) {
      names.add(stringText(this.#body, this.#starts[i] as number, this.#ends[i] as number, false));
    }
    return names;
  }

  #equal(index: number, start: number, end: number): boolean {
    const from = this.#starts[index] as number;
    return (this.#ends[index] as number) - from === end - start && sameBytes(this.#body, from, this.#body, start, end);
  }

  #refuse(start: number, end: number, escaped: boolean): never {
    const name = stringText(this.#body, start, end, escaped).slice(0, 64);
    return refuseBody(`the name ${JSON.stringify(name)} stands twice in one object`, start);
  }
}

/** Whether the bytes of `other` from `from` on are the bytes [start, end) of `body`. */
export function sameBytes(other: Uint8Array, from: number, body: Uint8Array, start: number, end: number): boolean {
  let i = start;
  let j = from;
  while (i < end && body[i] === other[j]) {
    i++;
    j++;
  }
  return i === end;
}
