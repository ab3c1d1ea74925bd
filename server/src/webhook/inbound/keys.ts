import { createHash } from 'node:crypto';
import type { Proof } from './model.ts';

/**
 * The digests by which an event of a source is known again: of the id that its sender signed, and of what it signed. All have one
 * length, whatever was sent, and each kind its own beginning.
 * @param bodyId an id that stands in the signed body; empty is none
 */
export function eventKeys({ id, known }: Proof, bodyId: string): Buffer[] {
  const keys = known.map((parts, nth) => digest(`signed ${nth}\0`, parts));
  for (const one of new Set([id, bodyId])) if (one !== '') keys.push(digest('id\0', [one]));
  // In one order everywhere: two that are written at once wait for each other, and never in a circle.
  return keys.sort((one, other) => Buffer.compare(one, other));
}

/** By what a callback is known again: its path, and what came by it. */
export function callbackKey(callbackId: string, body: Buffer): Buffer[] {
  return [digest('callback\0', [`${callbackId}\0`, body])];
}

function digest(kind: string, parts: readonly (string | Buffer)[]): Buffer {
  const hash = createHash('sha256').update(kind);
  for (const part of parts) hash.update(part);
  return hash.digest();
}
