import { createPublicKey, type KeyObject } from 'node:crypto';
import { invalid } from '../input.ts';

const bytesOfKey = 32;

/**
 * Reads an ed25519 public key: PEM with a SubjectPublicKeyInfo (RFC 8410), or the 32 bytes in base64url.
 * @throws PortcullisError invalid_argument for anything else, and for points under which signatures prove nothing
 */
export function readPublicKey(text: string): Buffer {
  const trimmed = text.trim();
  const key = trimmed.startsWith('-----BEGIN') ? fromPem(trimmed) : fromBase64url(trimmed);
  if (key === null) {
    throw invalid(
      'public_key',
      'public_key must be an ed25519 public key: PEM ("BEGIN PUBLIC KEY"), or its 32 bytes in base64url.',
    );
  }
  if (!isSoundPoint(key)) throw invalid('public_key', 'public_key is not a point that only its owner can sign for.');
  return key;
}

/** The key as `crypto.verify` takes it. */
export function publicKeyObject(key: Buffer): KeyObject {
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: key.toString('base64url') }, format: 'jwk' });
}

function fromBase64url(text: string): Buffer | null {
  const key = Buffer.from(text, 'base64url');
  return key.length === bytesOfKey && key.toString('base64url') === text ? key : null;
}

function fromPem(pem: string): Buffer | null {
  // OpenSSL would take the public half out of a private key, which has no business here.
  if (!pem.startsWith('-----BEGIN PUBLIC KEY-----')) return null;
  try {
    const { kty, crv, x } = createPublicKey(pem).export({ format: 'jwk' });
    return kty === 'OKP' && crv === 'Ed25519' && typeof x === 'string' ? Buffer.from(x, 'base64url') : null;
  } catch {
    return null;
  }
}

// RFC 8032, section 5.1
const p = 2n ** 255n - 19n;
const d = 37095705934669439343138083508754565189542113879843219016388785533085940283555n;
// The y of the eight points whose order divides 8: for those a signature can be made that holds without a private key.
const orderEightY = 2707385501144840649318225287225658788936804267575313519463743609750303402022n;

/** Whether this is the canonical encoding of a point of the curve, and not one of small order. */
function isSoundPoint(key: Buffer): boolean {
  const y = littleEndian(key) & (2n ** 255n - 1n);
  if (y >= p || [0n, 1n, p - 1n].includes(y)) return false;
  const y2 = (y * y) % p;
  const [u, v] = [y2 - 1n, d * y2 + 1n];
  // x² = u/v has a solution when u·v is a square (Euler's criterion).
  return power(u * v, (p - 1n) / 2n) === 1n && y !== orderEightY && y !== p - orderEightY;
}

function littleEndian(bytes: Buffer): bigint {
  return BigInt(
    `0x${[...bytes]
      .map((byte) => byte.toString(16).padStart(2, '0'))
      .toReversed()
      .join('')}`,
  );
}

function power(base: bigint, exponent: bigint): bigint {
  let [result, square] = [1n, base % p];
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * square) % p;
    square = (square * square) % p;
  }
  return result;
}
