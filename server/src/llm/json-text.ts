import { PortcullisError } from '../base/errors.ts';

/** The bytes of JSON's grammar (RFC 8259). */

export const quote = 0x22;
export const comma = 0x2c;
export const minus = 0x2d;
export const zero = 0x30;
export const colon = 0x3a;
export const openBracket = 0x5b;
export const backslash = 0x5c;
export const closeBracket = 0x5d;
export const letterE = 0x65;
export const letterF = 0x66;
export const letterN = 0x6e;
export const letterT = 0x74;
export const letterU = 0x75;
export const openBrace = 0x7b;
export const closeBrace = 0x7d;

/** 1 for every byte that a string may hold as it is: neither a control character nor a quote nor a backslash. */
export const plain = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte >= 0x20 && byte !== quote && byte !== backslash ? 1 : 0,
);

/** 1 for every letter that may follow a backslash by itself. */
export const simpleEscapes = Uint8Array.from({ length: 256 }, (_, byte) =>
  '"\\/bfnrt'.includes(String.fromCharCode(byte)) ? 1 : 0,
);

export function isDigit(byte: number): boolean {
  return byte >= zero && byte <= 0x39;
}

export function isHexDigit(byte: number): boolean {
  const lower = byte | 0x20;
  return isDigit(byte) || (lower >= 0x61 && lower <= letterF);
}

/** The text of the string whose characters, escapes and all, are the bytes [start, end). */
export function stringText(body: Buffer, start: number, end: number, escaped: boolean): string {
  return escaped
    ? (JSON.parse(body.toString('utf8', start - 1, end + 1)) as string)
    : body.toString('utf8', start, end);
}

/** @throws PortcullisError invalid_argument, naming what is wrong and the byte where it is */
export function refuseBody(what: string, at: number): never {
  throw new PortcullisError('invalid_argument', `The body is not a JSON object that we accept: ${what} (byte ${at}).`);
}
