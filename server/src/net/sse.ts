import { PortcullisError } from '../base/errors.ts';
import { sseEventBytesMax } from '../base/limits.ts';

/** One frame of an event stream: what stands up to a blank line, that line included. */
export interface SseFrame {
  /** The last `event` field, or empty. */
  readonly event: string;
  /** The `data` fields joined by line feeds; empty for comments and other frames that dispatch nothing. */
  readonly data: string;
  /** The exact bytes: the raws of all frames and the rest, in order, are the stream. */
  readonly raw: Buffer;
}

const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const colon = 0x3a;
const space = 0x20;
const nothing: Buffer = Buffer.alloc(0);

// Where the parser stands between two bytes.
const inLine = 0;
const lineStart = 1;
/** As lineStart, but an LF would still belong to the line before. */
const afterReturn = 2;
/** After the CR of a blank line: the frame ends here, or after an LF. */
const afterBlankReturn = 3;

/**
 * Cuts an event stream (WHATWG HTML, "Server-sent events") into frames, however its bytes arrive; each byte is looked at
 * once. Lines end in LF, CR LF or CR. A frame whose blank line is a CR is complete with the next byte, which may be the
 * LF that belongs to it, or at the end.
 */
export class SseFrames {
  readonly #bytesMax: number;
  /** Holds the bytes of a frame that began in an earlier chunk; the first `#heldLength` count. */
  #held = nothing;
  #heldLength = 0;
  #state = lineStart;
  #isFirst = true;

  constructor(bytesMax: number = sseEventBytesMax) {
    this.#bytesMax = bytesMax;
  }

  /**
   * The frames that `chunk` completes. They may share its memory.
   * @throws PortcullisError upstream_error when a frame is too long
   */
  push(chunk: Buffer): SseFrame[] {
    const frames: SseFrame[] = [];
    let from = 0;
    const endFrame = (end: number): void => {
      frames.push(this.#take(chunk.subarray(from, end)));
      from = end;
    };
    let state = this.#state;
    let nextFeed = find(chunk, lineFeed, 0);
    let nextReturn = find(chunk, carriageReturn, 0);
    let at = 0;
    while (at < chunk.length) {
      const lineEnd = Math.min(nextFeed, nextReturn);
      if (at < lineEnd) {
        if (state === afterBlankReturn) endFrame(at);
        state = inLine;
      }
      if (lineEnd === chunk.length) break;
      at = lineEnd + 1;
      if (lineEnd === nextFeed) {
        if (state === lineStart || state === afterBlankReturn) endFrame(at);
        state = lineStart;
        nextFeed = find(chunk, lineFeed, at);
      } else {
        if (state === afterBlankReturn) endFrame(lineEnd);
        state = state === inLine ? afterReturn : afterBlankReturn;
        nextReturn = find(chunk, carriageReturn, at);
      }
    }
    this.#state = state;
    if (from < chunk.length) this.#hold(chunk.subarray(from));
    return frames;
  }

  /** The stream has ended. `rest` is not empty when it was cut within a frame: no client dispatches that. */
  end(): { readonly frames: SseFrame[]; readonly rest: Buffer } {
    if (this.#state === afterBlankReturn) {
      this.#state = lineStart;
      return { frames: [this.#take(nothing)], rest: nothing };
    }
    return { frames: [], rest: this.#held.subarray(0, this.#heldLength) };
  }

  #take(last: Buffer): SseFrame {
    let raw = last;
    if (this.#heldLength > 0) {
      this.#hold(last);
      raw = this.#held.subarray(0, this.#heldLength);
      this.#held = nothing;
      this.#heldLength = 0;
    }
    this.#checkLength(raw.length);
    const fields = parseFields(raw, this.#isFirst);
    this.#isFirst = false;
    return { ...fields, raw };
  }

  // Doubling keeps the copying linear however small the chunks are.
  #hold(bytes: Buffer): void {
    const length = this.#heldLength + bytes.length;
    this.#checkLength(length);
    if (length > this.#held.length) {
      const grown = Buffer.allocUnsafe(Math.max(length, 2 * this.#held.length));
      this.#held.copy(grown, 0, 0, this.#heldLength);
      this.#held = grown;
    }
    bytes.copy(this.#held, this.#heldLength);
    this.#heldLength = length;
  }

  #checkLength(length: number): void {
    if (length <= this.#bytesMax) return;
    throw new PortcullisError('upstream_error', `The provider sent an event of more than ${this.#bytesMax} bytes.`);
  }
}

/** The next offset of `byte`, or the length. */
function find(chunk: Buffer, byte: number, from: number): number {
  const at = chunk.indexOf(byte, from);
  return at < 0 ? chunk.length : at;
}

const dataField = Buffer.from('data');
const eventField = Buffer.from('event');
const byteOrderMark = Buffer.from('\uFEFF');

/** The bytes of the values alone become text: what else a frame has is looked at and left. */
function parseFields(raw: Buffer, isFirst: boolean): { event: string; data: string } {
  const bytes = raw.includes(carriageReturn)
    ? Buffer.from(raw.toString('latin1').replaceAll(/\r\n?/g, '\n'), 'latin1')
    : raw;
  let at = isFirst && bytes.indexOf(byteOrderMark) === 0 ? byteOrderMark.length : 0;
  let event = '';
  let data: string | null = null;
  while (at < bytes.length) {
    const end = find(bytes, lineFeed, at);
    const value = valueOf(bytes, dataField, at, end);
    if (value !== null) data = data === null ? value : `${data}\n${value}`;
    else event = valueOf(bytes, eventField, at, end) ?? event;
    at = end + 1;
  }
  return { event, data: data ?? '' };
}

/** The value of the line from `at` to `end` if it is a field of that name; null where it is not. */
function valueOf(bytes: Buffer, name: Buffer, at: number, end: number): string | null {
  const nameEnd = at + name.length;
  if (nameEnd > end) return null;
  for (let i = 0; i < name.length; i++) if (bytes[at + i] !== name[i]) return null;
  if (nameEnd === end) return '';
  if (bytes[nameEnd] !== colon) return null;
  return bytes.toString('utf8', bytes[nameEnd + 1] === space ? nameEnd + 2 : nameEnd + 1, end);
}
