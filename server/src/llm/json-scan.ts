import { isUtf8 } from 'node:buffer';
import { jsonMembersMax, watchedValueBytesMax, watchedValuesMax } from '../base/limits.ts';
import { MemberNames, sameBytes } from './json-names.ts';
import {
  backslash,
  closeBrace,
  closeBracket,
  colon,
  comma,
  isDigit,
  isHexDigit,
  letterE,
  letterF,
  letterN,
  letterT,
  letterU,
  minus,
  openBrace,
  openBracket,
  plain,
  quote,
  refuseBody,
  simpleEscapes,
  stringText,
  zero,
} from './json-text.ts';

/**
 * One strict pass over the bytes of a request body (RFC 8259).
 *
 * The gate decides by what it reads here, and the upstream reads the same bytes with a parser of its own. So everything
 * on which parsers are known to disagree is refused, at every depth: duplicate names (compared after unescaping), needless
 * escapes and lone surrogates in names, a BOM, invalid UTF-8, bytes after the object. Nested duplicates matter as much as those on top: with
 * `{"type":"text","type":"image"}` we would price a text and the upstream would see an image.
 */

export type JsonKind = 'object' | 'array' | 'string' | 'number' | 'boolean' | 'null';

/** The bytes [start, end) of a body. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** A value in a body. */
export interface Member extends ByteRange {
  readonly kind: JsonKind;
  /** Elements of an array, members of an object, else 0. */
  readonly count: number;
}

/** What the members of one watched name hold, wherever they stand in the body. */
export interface Sighting {
  /** The distinct strings among their values. */
  readonly values: ReadonlySet<string>;
  /** False where a string was too long or there were too many to keep: `values` then lacks some. */
  readonly complete: boolean;
}

export interface ScannedBody {
  /** The members of the object by their unescaped names, in their order. */
  readonly members: ReadonlyMap<string, Member>;
  /** The watched names that occur at any depth; a watched name that does not occur is absent. */
  readonly sightings: ReadonlyMap<string, Sighting>;
}

/**
 * The names to look for at every depth; none can hold an escape (see MemberNames). They tell whether a body can hold
 * anything but text: most cannot, and need no further parsing (see the dialects' `facts.ts`).
 */
const watchedNames = ['type', 'ttl', 'image_url', 'input_audio', 'file', 'audio_url', 'video_url', 'audio', 'file_id'];

/**
 * Scans a body that must be one JSON object.
 * @throws PortcullisError invalid_argument, naming the byte at which the body went wrong
 */
export function scanObject(body: Buffer, { depthMax }: { readonly depthMax: number }): ScannedBody {
  if (body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf) refuseBody('a byte order mark is not allowed', 0);
  if (!isUtf8(body)) refuseBody('the text is not UTF-8', firstInvalidByte(body));
  return new Scanner(body, depthMax).scan();
}

/** The string in `range`, unescaped. @throws PortcullisError invalid_argument for lone surrogates */
export function readString(body: Buffer, range: ByteRange): string {
  const escaped = body.subarray(range.start, range.end).includes(backslash);
  const text = stringText(body, range.start + 1, range.end - 1, escaped);
  if (!text.isWellFormed()) refuseBody('a lone surrogate is not text', range.start);
  return text;
}

/** The number in `range`; one beyond the doubles is Infinity. */
export function readNumber(body: Buffer, range: ByteRange): number {
  return Number(body.toString('latin1', range.start, range.end));
}

/** The boolean in `range`. */
export function readBoolean(body: Buffer, range: ByteRange): boolean {
  return body[range.start] === letterT;
}

/** A change of a body: the bytes of the range become `json`; an empty range inserts. */
export interface BodyEdit extends ByteRange {
  readonly json: string;
}

/** A copy of `body` with all `edits` made; their ranges are those of `body` and do not overlap. */
export function editBody(body: Buffer, edits: readonly BodyEdit[]): Buffer {
  const parts: Buffer[] = [];
  let at = 0;
  for (const { start, end, json } of edits.toSorted((a, b) => a.start - b.start)) {
    parts.push(body.subarray(at, start), Buffer.from(json));
    at = end;
  }
  parts.push(body.subarray(at));
  return Buffer.concat(parts);
}

const literals = { true: Buffer.from('true'), false: Buffer.from('false'), null: Buffer.from('null') };

const watchedBytes = watchedNames.map((name) => Buffer.from(name));

/** 1 at the lengths that watched names have: nearly every name is passed over by this one look. */
const watchedLengths = new Uint8Array(256);
for (const { length } of watchedBytes) watchedLengths[length] = 1;

/** Bodies in use have about as many different types. */
const rangesMax = 16;

/** What was seen of a watched name so far. The first plain strings stay ranges until the end: each is then made once. */
class SightingLog implements Sighting {
  readonly values = new Set<string>();
  readonly ranges: ByteRange[] = [];
  complete = true;
}

class Scanner {
  readonly #body: Buffer;
  readonly #view: DataView;
  readonly #depthMax: number;
  readonly #names: MemberNames;
  /** By the index of the watched name. */
  readonly #logs: (SightingLog | undefined)[] = [];
  #at = 0;
  /** The count of the array or object that ended last. */
  #count = 0;

  constructor(body: Buffer, depthMax: number) {
    this.#body = body;
    this.#view = new DataView(body.buffer, body.byteOffset, body.length);
    this.#depthMax = depthMax;
    this.#names = new MemberNames(body);
  }

  scan(): ScannedBody {
    const members = new Map<string, Member>();
    this.#skipSpace();
    if (this.#body[this.#at] !== openBrace) this.#fail('an object is expected');
    this.#object(1, members);
    this.#skipSpace();
    if (this.#at < this.#body.length) this.#fail('nothing may follow the object');
    const sightings = new Map<string, Sighting>();
    for (const [i, name] of watchedNames.entries()) {
      const log = this.#logs[i];
      if (log === undefined) continue;
      for (const { start, end } of log.ranges) log.values.add(stringText(this.#body, start, end, false));
      sightings.set(name, log);
    }
    return { members, sightings };
  }

  #value(depth: number): JsonKind {
    this.#count = 0;
    switch (this.#body[this.#at]) {
      case quote:
        this.#string();
        return 'string';
      case openBrace:
        this.#object(depth + 1, null);
        return 'object';
      case openBracket:
        this.#array(depth + 1);
        return 'array';
      case letterT:
        return this.#literal(literals.true, 'boolean');
      case letterF:
        return this.#literal(literals.false, 'boolean');
      case letterN:
        return this.#literal(literals.null, 'null');
      default:
        this.#number();
        return 'number';
    }
  }

  #object(depth: number, members: Map<string, Member> | null): void {
    if (depth > this.#depthMax) this.#fail(`objects and arrays may nest ${this.#depthMax} deep at most`);
    const body = this.#body;
    const mark = this.#names.enter();
    let count = 0;
    let names: Set<string> | null = null;
    this.#at++;
    this.#skipSpace();
    if (body[this.#at] === closeBrace) {
      this.#at++;
      this.#count = 0;
      return;
    }
    for (;;) {
      if (body[this.#at] !== quote) this.#fail('a member name is expected');
      const start = this.#at + 1;
      const escaped = this.#string();
      const end = this.#at - 1;
      names = this.#names.claim(mark, start, end, escaped, names);
      if (++count > jsonMembersMax) this.#fail(`an object may have ${jsonMembersMax} members at most`);
      this.#skipSpace();
      if (body[this.#at] !== colon) this.#fail('a colon is expected');
      this.#at++;
      this.#skipSpace();
      const valueStart = this.#at;
      const kind = this.#value(depth);
      this.#watch(start, end, valueStart, kind);
      if (members !== null) {
        members.set(stringText(body, start, end, escaped), {
          start: valueStart,
          end: this.#at,
          kind,
          count: this.#count,
        });
      }
      this.#skipSpace();
      if (body[this.#at] === closeBrace) break;
      if (body[this.#at] !== comma) this.#fail('a comma or the end of the object is expected');
      this.#at++;
      this.#skipSpace();
    }
    this.#at++;
    this.#count = count;
    this.#names.leave(mark);
  }

  #array(depth: number): void {
    if (depth > this.#depthMax) this.#fail(`objects and arrays may nest ${this.#depthMax} deep at most`);
    const body = this.#body;
    let count = 0;
    this.#at++;
    this.#skipSpace();
    if (body[this.#at] === closeBracket) {
      this.#at++;
      this.#count = 0;
      return;
    }
    for (;;) {
      this.#value(depth);
      count++;
      this.#skipSpace();
      if (body[this.#at] === closeBracket) break;
      if (body[this.#at] !== comma) this.#fail('a comma or the end of the array is expected');
      this.#at++;
      this.#skipSpace();
    }
    this.#at++;
    this.#count = count;
  }

  /** Passes the string that begins here. @returns whether it has escapes */
  #string(): boolean {
    const body = this.#body;
    let at = this.#at + 1;
    let escaped = false;
    for (;;) {
      at = this.#skipPlain(at);
      const byte = body[at] as number;
      if (byte === backslash) {
        escaped = true;
        at += simpleEscapes[body[at + 1] as number] === 1 ? 2 : this.#unicodeEscape(at);
      } else {
        this.#at = at;
        if (byte !== quote)
          this.#fail(byte === undefined ? 'the string has no end' : 'a control character must be escaped');
        this.#at++;
        return escaped;
      }
    }
  }

  /**
   * The first offset from `from` on that is not plain: a control character, a quote, a backslash, or the end.
   * Four bytes at a time: with t = byte XOR 2, the quote and the control characters are the bytes whose t is below 0x21.
   * Subtracting sets the top bit of the lanes that are below, and perhaps of lanes above one of those: the lowest is exact.
   */
  #skipPlain(from: number): number {
    const view = this.#view;
    const last = this.#body.length - 4;
    let at = from;
    for (; at <= last; at += 4) {
      const x = view.getInt32(at, true);
      const t = x ^ 0x02020202;
      const b = x ^ 0x5c5c5c5c;
      const special = (((t - 0x21212121) & ~t) | ((b - 0x01010101) & ~b)) & 0x80808080;
      if (special !== 0) return at + ((31 - Math.clz32(special & -special)) >> 3);
    }
    while (plain[this.#body[at] as number] === 1) at++;
    return at;
  }

  /** Checks the escape at `at`, which is none of the simple ones. @returns its length */
  #unicodeEscape(at: number): number {
    this.#at = at;
    if (this.#body[at + 1] !== letterU) this.#fail('there is no such escape');
    for (let i = at + 2; i < at + 6; i++) {
      if (!isHexDigit(this.#body[i] ?? 0)) this.#fail('four hexadecimal digits must follow \\u');
    }
    return 6;
  }

  #number(): void {
    const body = this.#body;
    const start = this.#at;
    if (body[this.#at] === minus) this.#at++;
    if (body[this.#at] === zero) this.#at++;
    else this.#digits(start);
    if (body[this.#at] === 0x2e) {
      this.#at++;
      this.#digits(start);
    }
    if (((body[this.#at] ?? 0) | 0x20) === letterE) {
      this.#at++;
      if (body[this.#at] === 0x2b || body[this.#at] === minus) this.#at++;
      this.#digits(start);
    }
  }

  #digits(start: number): void {
    const first = this.#at;
    while (isDigit(this.#body[this.#at] ?? 0)) this.#at++;
    if (this.#at === first) this.#fail(first === start ? 'a value is expected' : 'the number is not complete');
  }

  #literal(bytes: Buffer, kind: JsonKind): JsonKind {
    for (const byte of bytes) {
      if (this.#body[this.#at] !== byte) this.#fail('a value is expected');
      this.#at++;
    }
    return kind;
  }

  #skipSpace(): void {
    const body = this.#body;
    let byte = body[this.#at] as number;
    if (byte > 0x20) return;
    while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = body[++this.#at] as number;
  }

  /** Notes the member with the name [start, end), whose value ends here, if its name is watched. */
  #watch(start: number, end: number, valueStart: number, kind: JsonKind): void {
    if (watchedLengths[end - start] !== 1) return;
    for (let i = 0; i < watchedBytes.length; i++) {
      const bytes = watchedBytes[i] as Buffer;
      if (end - start !== bytes.length || !sameBytes(bytes, 0, this.#body, start, end)) continue;
      const log = (this.#logs[i] ??= new SightingLog());
      if (kind === 'string') this.#noteValue(log, valueStart + 1, this.#at - 1);
      return;
    }
  }

  #noteValue(log: SightingLog, start: number, end: number): void {
    if (!log.complete) return;
    if (end - start > watchedValueBytesMax) {
      log.complete = false;
      return;
    }
    const body = this.#body;
    for (const range of log.ranges) {
      if (range.end - range.start === end - start && sameBytes(body, range.start, body, start, end)) return;
    }
    const escaped = body.subarray(start, end).includes(backslash);
    if (!escaped && log.ranges.length < rangesMax) log.ranges.push({ start, end });
    else log.values.add(stringText(body, start, end, escaped));
    log.complete = log.values.size <= watchedValuesMax;
  }

  #fail(what: string): never {
    return refuseBody(this.#at < this.#body.length ? what : `${what}, but the body ends`, this.#at);
  }
}

/** The offset of the first byte that decoding and encoding again does not give back. */
function firstInvalidByte(body: Buffer): number {
  const again = Buffer.from(body.toString());
  let at = 0;
  while (body[at] === again[at]) at++;
  return at;
}
