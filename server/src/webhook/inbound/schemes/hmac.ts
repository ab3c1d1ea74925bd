import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Judge, Proof, ReceivedHeaders, Refusal, Scheme } from '../model.ts';
import { isRefusal, malformed, nearTime, oneHeader } from './header.ts';

/** How an HMAC is made and where it stands. */
export interface HmacOptions {
  readonly secrets: readonly string[];
  readonly algorithm: 'sha256' | 'sha512';
  readonly encoding: 'hex' | 'base64';
  readonly signatureHeader: string;
  readonly prefix: string;
  readonly timestampHeader: string | null;
  readonly idHeader: string | null;
  readonly toleranceS: number;
  /** What is signed, in its order. */
  readonly parts: readonly SignedPart[];
}

export type SignedPart = { readonly of: 'body' | 'timestamp' | 'id' } | { readonly text: string };

/** Reads `v0:{timestamp}:{body}`. */
export function signedParts(template: string): SignedPart[] {
  return template
    .split(/(\{(?:body|timestamp|id)\})/)
    .filter((part) => part !== '')
    .map((part) => {
      const name = /^\{(body|timestamp|id)\}$/.exec(part)?.[1] as 'body' | 'timestamp' | 'id' | undefined;
      return name === undefined ? { text: part } : { of: name };
    });
}

/** One signature in one header, over the body and, where they are signed, a time and an id. */
export function hmacScheme(options: HmacOptions): Pick<Scheme, 'prepare'> {
  const pattern = new RegExp(
    options.encoding === 'hex'
      ? `^[0-9a-f]{${options.algorithm === 'sha256' ? 64 : 128}}$`
      : `^[A-Za-z0-9+/]{${options.algorithm === 'sha256' ? '43}=' : '86}=='}$`,
  );
  return {
    prepare(headers, nowS) {
      const given = oneHeader(headers, options.signatureHeader);
      if (isRefusal(given)) return given;
      const signature = given.slice(options.prefix.length);
      if (!given.startsWith(options.prefix) || !pattern.test(signature)) return malformed;
      const signed = signedHeaders(options, headers, nowS);
      return isRefusal(signed) ? signed : judge(options, signature, signed);
    },
  };
}

interface SignedHeaders {
  readonly timestamp: string;
  readonly id: string;
}

function signedHeaders(
  { timestampHeader, idHeader, toleranceS }: HmacOptions,
  headers: ReceivedHeaders,
  nowS: number,
): SignedHeaders | Refusal {
  const timestamp = timestampHeader === null ? '' : nearTime(oneHeader(headers, timestampHeader), nowS, toleranceS);
  if (isRefusal(timestamp)) return timestamp;
  const id = idHeader === null ? '' : oneHeader(headers, idHeader);
  return isRefusal(id) ? id : { timestamp, id };
}

function judge(
  { secrets, algorithm, encoding, parts }: HmacOptions,
  signature: string,
  { timestamp, id }: SignedHeaders,
): Judge {
  const content = (body: Buffer, time: string) =>
    parts.map((part) => ('text' in part ? part.text : { body, timestamp: time, id }[part.of]));
  return (body): Proof | null => {
    const isSigned = anySecret(secrets, (secret) =>
      isSame(hmac(algorithm, secret, content(body, timestamp)).toString(encoding), signature),
    );
    return isSigned ? { id, known: [content(body, '')] } : null;
  };
}

/** The HMAC of parts that follow each other. */
export function hmac(algorithm: string, secret: string | Buffer, parts: readonly (string | Buffer)[]): Buffer {
  const made = createHmac(algorithm, secret);
  for (const part of parts) made.update(part);
  return made.digest();
}

/** Whether any secret fits. All are tried, so that the time tells nothing of which. */
export function anySecret<T>(secrets: readonly T[], fits: (secret: T) => boolean): boolean {
  let found = false;
  for (const secret of secrets) found = fits(secret) || found;
  return found;
}

/** Compares texts of known length in constant time. As texts: two ways to write one signature would be two signatures. */
export function isSame(made: string, given: string): boolean {
  const [one, other] = [Buffer.from(made), Buffer.from(given)];
  return one.length === other.length && timingSafeEqual(one, other);
}
