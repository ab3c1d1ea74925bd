import { type ErrorCode, type ErrorMembers, PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { idempotencyKeptMs, idempotentRefusalKeptMs } from '../base/limits.ts';
import { type WholeAnswer, sealAnswer } from '../base/sealed-answer.ts';
import { isLockTimeout } from '../pg/errors.ts';
import { inRequestTransaction, inTransaction, type Tx } from '../pg/tx.ts';
import { keptAnswer, refusals } from './kept.ts';
import type { Claim, KeyUse } from './model.ts';
import type { IdempotencyOptions } from './service.ts';
import { findKey, finishClaim, insertClaim } from './store.ts';

/** What a write came to: an answer, or a refusal that the same request would get again. */
type Outcome =
  | { readonly answer: Buffer; readonly refusal: null }
  | { readonly answer: null; readonly refusal: PortcullisError };

/** The outcome of a write under a key, of now or of the first time. */
export type Written = Outcome & {
  readonly isReplay: boolean;
  /** The control version from which a replica obeys the write; null where none needs to. */
  readonly version: bigint | null;
};

/** Refusals of what the request says; all others are of the moment, or of a policy that may change, and leave the key free. */
const permanent: ReadonlySet<ErrorCode> = new Set(['invalid_argument', 'insufficient_scope', 'not_found', 'conflict']);

/** See {@link Idempotency.once}. */
export async function writeOnce(
  options: IdempotencyOptions,
  { id, scope, fingerprint }: Omit<KeyUse, 'leaseMs'> & Pick<Claim, 'id'>,
  write: () => Promise<Buffer>,
): Promise<Written> {
  const { pool, key, now } = options;
  return inRequestTransaction(pool, async (tx, transaction) => {
    const at = now();
    const until = (outcome?: Outcome) =>
      new Date(at + (outcome?.refusal ? idempotentRefusalKeptMs : idempotencyKeptMs));
    const claim = { id, claimId: newId('idk'), leaseUntil: at };
    // A key whose time is over may be deleted between the two statements.
    for (let tries = 0; tries < 3; tries++) {
      if (await take(tx, { ...claim, projectId: scope.projectId, fingerprint, expiresAt: until() }, new Date(at))) {
        // A part of its own, so that what it did before it refused is undone and the refusal kept, in one commit.
        const outcome = await inTransaction(pool, write).then(answered, refused);
        const { version } = transaction;
        const sealed = sealAnswer(key, wholeAnswerOf(outcome), id);
        await finishClaim(tx, claim, sealed, new Date(at), until(outcome), version);
        return { ...outcome, isReplay: false, version };
      }
      const record = await findKey(tx, id, fingerprint);
      if (record) {
        const outcome = outcomeOf(keptAnswer(options, record, id, fingerprint));
        return { ...outcome, isReplay: true, version: record.version };
      }
    }
    throw refusals.in_progress();
  });
}

/** Waits for whoever has the key now, no longer than for any lock. */
async function take(tx: Tx, claim: Parameters<typeof insertClaim>[1], now: Date): Promise<boolean> {
  try {
    return await insertClaim(tx, claim, now);
  } catch (error) {
    throw isLockTimeout(error) ? refusals.in_progress() : error;
  }
}

function answered(answer: Buffer): Outcome {
  return { answer, refusal: null };
}

function refused(error: unknown): Outcome {
  if (error instanceof PortcullisError && permanent.has(error.code)) return { answer: null, refusal: error };
  throw error;
}

/** A refusal as it is kept: all that its caller is told. */
interface KeptRefusal {
  readonly code: ErrorCode;
  readonly message: string;
  readonly final: boolean;
  readonly members: ErrorMembers;
}

function wholeAnswerOf({ answer, refusal }: Outcome): WholeAnswer {
  if (refusal === null) return { status: 200, headers: {}, body: answer };
  const { status, code, message, final, members } = refusal;
  const kept: KeptRefusal = { code, message, final, members };
  return { status, headers: {}, body: Buffer.from(JSON.stringify(kept)) };
}

function outcomeOf({ status, body }: WholeAnswer): Outcome {
  if (status === 200) return { answer: body, refusal: null };
  const { code, message, final, members } = JSON.parse(body.toString()) as KeptRefusal;
  return { answer: null, refusal: new PortcullisError(code, message, { ...members, final }) };
}
