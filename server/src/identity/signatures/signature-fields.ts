import { type Parameters, isInnerList, parseDictionary, serializeInnerList, serializeItem } from 'structured-headers';
import type { BodyDigest, GivenSignature, SignatureReason } from './model.ts';
import type { Fields } from './rules.ts';

const tag = 'portcullis';

/** Whether a request carries a signature for this gate. Others sign too, for themselves: theirs are none of our business. */
export function isSigned(fields: Fields): boolean {
  return fields.get('signature-input')?.includes(`tag="${tag}"`) ?? false;
}

/**
 * Reads the one signature with our tag (RFC 9421, sections 4.1 and 4.2). What is not in the one canonical form is
 * refused, so that no byte of it can be changed and mean the same.
 */
export function readSignature(fields: Fields): GivenSignature | SignatureReason {
  const [inputs, signatures] = [fields.get('signature-input'), fields.get('signature')];
  if (inputs === undefined) return 'signature_missing';
  try {
    const ours = [...parseDictionary(inputs)].filter(([, [, params]]) => params.get('tag') === tag);
    const [found, ...others] = ours;
    if (others.length > 0) return 'signature_ambiguous';
    if (found === undefined) return isSigned(fields) ? 'signature_malformed' : 'signature_missing';
    const [label, input] = found;
    const signature = parseDictionary(signatures ?? '').get(label);
    if (signature === undefined || isInnerList(signature) || !isInnerList(input)) return 'signature_malformed';
    const params = serializeInnerList(input);
    const [value] = signature;
    const isCanonical =
      inputs.includes(`${label}=${params}`) && signatures?.includes(`${label}=${serializeItem(value)}`);
    if (!(value instanceof ArrayBuffer) || isCanonical !== true) return 'signature_malformed';
    const [items, parameters] = input;
    const components = items.map(([name, { size }]) => (typeof name === 'string' && size === 0 ? name : null));
    if (!components.every((name) => name !== null)) return 'signature_components';
    return { components, params, signature: Buffer.from(value), ...parametersOf(parameters) };
  } catch {
    return 'signature_malformed';
  }
}

function parametersOf(parameters: Parameters) {
  return {
    created: integer(parameters.get('created')),
    expires: integer(parameters.get('expires')),
    nonce: text(parameters.get('nonce')),
    keyid: text(parameters.get('keyid')),
    alg: text(parameters.get('alg')),
  };
}

/** @throws Error for anything else */
function integer(value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value)) return value;
  throw new Error('not an integer');
}

/** @throws Error for anything else */
function text(value: unknown): string {
  if (typeof value === 'string') return value;
  throw new Error('not a string');
}

const digests: ReadonlyMap<string, keyof BodyDigest> = new Map([
  ['sha-256', 'sha256'],
  ['sha-512', 'sha512'],
]);

/** Whether `Content-Digest` (RFC 9530) has a digest that we know, and all that we know are of this body. */
export function digestMatches(contentDigest: string, body: BodyDigest): boolean {
  try {
    const known = [...parseDictionary(contentDigest)].filter(([name]) => digests.has(name));
    return known.length > 0 && known.every(([name, [value]]) => isDigest(value, body[digests.get(name) ?? 'sha256']));
  } catch {
    return false;
  }
}

function isDigest(value: unknown, digest: Buffer): boolean {
  return value instanceof ArrayBuffer && digest.equals(Buffer.from(value));
}
