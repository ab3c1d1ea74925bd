import { type KeyObject, createHash } from 'node:crypto';
import { type WholeAnswer, openAnswer, sealAnswer } from '../base/sealed-answer.ts';

/** Where an entry belongs, and until when it holds. Times are epoch milliseconds. */
export interface EntryHead {
  readonly projectId: string;
  /** SHA-256 of everything that the answer depends on. */
  readonly key: Buffer;
  readonly storedAt: number;
  readonly expiresAt: number;
}

export interface CacheEntry {
  readonly answer: WholeAnswer;
  readonly storedAt: number;
  readonly expiresAt: number;
}

/** What can be wrong with an entry. */
export type EntryFault = 'malformed' | 'version' | 'truncated' | 'digest' | 'project' | 'key' | 'seal';

export type DecodedEntry =
  | { readonly fault: null; readonly entry: CacheEntry }
  | { readonly fault: EntryFault; readonly entry: null };

/*
 * An entry, big-endian:
 *
 *   magic "PCRC" | version u16 | project length u16 | key 32 | stored at u64 ms | expires at u64 ms | payload length u32
 *   project, UTF-8
 *   SHA-256 of all the rest, 32
 *   payload: the answer, sealed for these fields
 */
const magic = Buffer.from('PCRC');
const version = 1;
const fixedBytes = magic.length + 2 + 2 + 32 + 8 + 8 + 4;
const digestBytes = 32;

/** Writes an entry. Anybody can check it for damage; only a holder of `sealKey` can read it, or make one. */
export function encodeEntry(sealKey: KeyObject, head: EntryHead, answer: WholeAnswer): Buffer {
  const project = Buffer.from(head.projectId);
  const fields = Buffer.alloc(fixedBytes - 4);
  let at = magic.copy(fields);
  at = fields.writeUInt16BE(version, at);
  at = fields.writeUInt16BE(project.length, at);
  at += head.key.copy(fields, at);
  at = fields.writeBigUInt64BE(BigInt(head.storedAt), at);
  fields.writeBigUInt64BE(BigInt(head.expiresAt), at);
  const payload = sealAnswer(sealKey, answer, Buffer.concat([fields, project]));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(payload.length);
  const before = Buffer.concat([fields, length, project]);
  return Buffer.concat([before, digest(before, payload), payload]);
}

/**
 * Reads the entry that was found for `projectId` and `key`, and believes nothing of it: every field is checked, and
 * then the seal. Never throws.
 */
export function decodeEntry(sealKey: KeyObject, bytes: Buffer, projectId: string, key: Buffer): DecodedEntry {
  if (!bytes.subarray(0, magic.length).equals(magic)) return faulty('malformed');
  if (bytes.length < fixedBytes) return faulty('truncated');
  let at = magic.length;
  if (bytes.readUInt16BE(at) !== version) return faulty('version');
  const projectAt = fixedBytes;
  const digestAt = projectAt + bytes.readUInt16BE((at += 2));
  const keyAt = (at += 2);
  const storedAt = bytes.readBigUInt64BE((at += 32));
  const expiresAt = bytes.readBigUInt64BE((at += 8));
  const payloadAt = digestAt + digestBytes;
  if (bytes.length !== payloadAt + bytes.readUInt32BE((at += 8))) return faulty('truncated');
  const payload = bytes.subarray(payloadAt);
  if (!digest(bytes.subarray(0, digestAt), payload).equals(bytes.subarray(digestAt, payloadAt)))
    return faulty('digest');
  if (bytes.toString('utf8', projectAt, digestAt) !== projectId) return faulty('project');
  if (!bytes.subarray(keyAt, keyAt + 32).equals(key)) return faulty('key');
  const context = Buffer.concat([bytes.subarray(0, fixedBytes - 4), bytes.subarray(projectAt, digestAt)]);
  const answer = openAnswer(sealKey, payload, context);
  if (answer === null) return faulty('seal');
  return { fault: null, entry: { answer, storedAt: Number(storedAt), expiresAt: Number(expiresAt) } };
}

function faulty(fault: EntryFault): DecodedEntry {
  return { fault, entry: null };
}

function digest(before: Buffer, payload: Buffer): Buffer {
  return createHash('sha256').update(before).update(payload).digest();
}
