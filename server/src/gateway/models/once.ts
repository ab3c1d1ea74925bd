import { digestOf } from '../../base/digest.ts';
import { PortcullisError } from '../../base/errors.ts';
import { idempotencyKeyCharsMax, idempotencyLeaseGraceMs } from '../../base/limits.ts';
import type { WholeAnswer } from '../../base/sealed-answer.ts';
import type { Claim, KeyUse } from '../../idempotency/model.ts';
import { ownHeaders } from './caller-credential.ts';
import { type Exchange, header } from './exchange.ts';
import type { ModelGate } from './gate.ts';
import { type Answered, type AskedCall, answerKept, orNull, tellingHeaders } from './whole-answer.ts';

/**
 * Makes a call with an Idempotency-Key once: the key is claimed, durably, before `make` holds money, and what the call
 * ended with is answered again to whoever repeats it. An end that another try may better gives the key back.
 * @throws PortcullisError invalid_argument (the key), idempotency_mismatch, in_progress, conflict, unavailable, and what
 * `make` throws
 */
export async function once(gate: ModelGate, asked: AskedCall, make: () => Promise<Answered>): Promise<Answered> {
  const use = keyUseOf(gate, asked);
  if (use === null) return make();
  const { claim, answer } = await gate.idempotency.claim(use);
  if (claim === null) {
    gate.metrics.idempotentReplays.inc();
    return answerKept(gate, asked, answer, '(replay)', ['idempotency-replayed', 'true']);
  }
  const made = await make().catch(async (error: unknown) => {
    if (!isUnsettled(error)) await end(gate, asked, claim, null);
    throw error;
  });
  await end(gate, asked, claim, made.answer);
  return made;
}

/** Null where there is no key, or none that counts: a stream cannot be given again, and counting tokens has no effect. */
function keyUseOf(gate: ModelGate, asked: AskedCall): KeyUse | null {
  const { call, principal, plan, body } = asked;
  const { endpoint, exchange } = call;
  if (plan.streamed || endpoint.operation === 'count_tokens') return null;
  const key = idempotencyKey(exchange);
  if (key === null) return null;
  return {
    scope: {
      projectId: principal.projectId,
      principal: `${principal.kind} ${principal.id}`,
      operation: endpoint.path,
      key,
    },
    fingerprint: digestOf([
      'POST',
      exchange.request.url ?? '',
      ...tellingHeaders(exchange),
      header(exchange, 'portcullis-cache') ?? null,
      call.attempt.runId,
      ownAccount(gate, asked),
      body,
    ]),
    // Whichever targets are tried, the call is over when the most patient of them would be.
    leaseMs: Math.max(...plan.route.targets.map(({ deadlines }) => deadlines.totalMs)) + idempotencyLeaseGraceMs,
  };
}

/** Where a target of the route is called with the caller's own credential, that is part of the request; not to be read from it. */
function ownAccount({ idempotency }: ModelGate, { call, plan }: AskedCall): Buffer | null {
  const isAsked = plan.route.targets.some(({ provider }) => provider.credential === 'caller');
  return isAsked ? idempotency.disguise(JSON.stringify(ownHeaders(call.exchange))) : null;
}

const visibleAscii = /^[\x21-\x7e]+$/;

function idempotencyKey({ request }: Exchange): string | null {
  const [key, ...others] = request.headersDistinct['idempotency-key'] ?? [];
  if (key === undefined) return null;
  if (others.length === 0 && key.length <= idempotencyKeyCharsMax && visibleAscii.test(key)) return key;
  throw new PortcullisError(
    'invalid_argument',
    `Idempotency-Key must come once and have 1 to ${idempotencyKeyCharsMax} visible ASCII characters, without spaces.`,
    { param: 'Idempotency-Key' },
  );
}

/** Ends the claim as the call ended. What cannot be written is ended by the lease. */
async function end(gate: ModelGate, { call }: AskedCall, claim: Claim, answer: WholeAnswer | null): Promise<void> {
  const { idempotency } = gate;
  const permanent = answer !== null && isPermanent(answer);
  await orNull(gate, call, permanent ? idempotency.finish(claim, answer) : idempotency.release(claim));
}

/** Whether a call was made that could not be settled (`Ledger.settle`): its key must not lead to another one. */
function isUnsettled(error: unknown): boolean {
  return error instanceof PortcullisError && error.code === 'unavailable' && error.final;
}

// Of the account, of the moment, or of another call: the same request may fare better.
const passing = new Set([401, 402, 403, 408, 409, 425, 429]);

/** Whether the same request would get the same again: all that succeeded, and refusals of what the request says. */
function isPermanent({ status }: WholeAnswer): boolean {
  return status < 500 && !passing.has(status);
}
