import type { KeyObject } from 'node:crypto';
import { digestOf } from '../base/digest.ts';
import { PortcullisError } from '../base/errors.ts';
import { type WholeAnswer, openAnswer } from '../base/sealed-answer.ts';
import type { KeyRecord, KeyScope, Standing } from './model.ts';
import { standingOf } from './rules.ts';

/** How a key is named in the table. */
export function idOf({ projectId, principal, operation, key }: KeyScope): Buffer {
  return digestOf([projectId, principal, operation, key]);
}

/**
 * What a key that was used before gives to a request of this fingerprint.
 * @throws PortcullisError idempotency_mismatch, in_progress, conflict (no answer to give)
 */
export function keptAnswer(
  { key, now }: { readonly key: KeyObject; readonly now: () => number },
  record: KeyRecord,
  id: Buffer,
  fingerprint: Buffer,
): WholeAnswer {
  const standing = standingOf(record, fingerprint, now());
  if (standing !== 'replay') throw refusals[standing]();
  const answer = record.answer && openAnswer(key, record.answer, id);
  if (!answer) throw refusals.not_kept();
  return answer;
}

/** What a request hears whose key was used before, and that gets no answer. */
export const refusals: Readonly<Record<Exclude<Standing, 'replay'>, () => PortcullisError>> = {
  mismatch: () =>
    new PortcullisError(
      'idempotency_mismatch',
      'This Idempotency-Key was used for another request: send that request again, or this one under a new key.',
      { param: 'Idempotency-Key' },
    ),
  in_progress: () =>
    new PortcullisError(
      'in_progress',
      'The first call with this Idempotency-Key is still under way: ask again shortly, under the same key.',
      { retryAfterS: 1, param: 'Idempotency-Key' },
    ),
  unknown: () =>
    new PortcullisError(
      'conflict',
      'How the first call with this Idempotency-Key ended is unknown, since the gate stopped in the middle of it: it may have been made and paid for, and is not repeated. Use a new key to make it again.',
      { rule: 'idempotency.unknown', param: 'Idempotency-Key' },
    ),
  not_kept: () =>
    new PortcullisError(
      'conflict',
      'The call with this Idempotency-Key was made, but its answer is not kept: it was too large, made room for newer ones, or can no longer be opened. Use a new key to make it again.',
      { rule: 'idempotency.not_kept', param: 'Idempotency-Key' },
    ),
};
