import { PortcullisError } from '../base/errors.ts';
import { keyLifetimeMinS } from '../base/limits.ts';
import { areWithin } from '../net/client-address.ts';
import type { CheckedKey } from './key-input.ts';
import type { Binding, Principal, PrincipalKind } from './model.ts';

/**
 * Refuses a key that would hold where or when its maker's does not, and so undo what limits the maker: by address, by
 * signature, by certificate. A key that an operator's limited key makes for another operator or a service has the same
 * certificate; an agent's has one of its own, since an agent cannot make keys with it.
 * @throws PortcullisError policy_denied
 */
export function requireWithinLimits(by: Principal, key: CheckedKey): void {
  if (by.cidrs !== null && (key.cidrs === null || !areWithin(key.cidrs, by.cidrs))) {
    throw limited(`only from ${by.cidrs.join(', ')}, and so must the keys that it makes: give cidrs within these`);
  }
  if (by.requiresSignature && !key.requireSignature) {
    throw limited('only for signed requests, and so must the keys that it makes: set require_signature');
  }
  if (by.binding === null) return;
  if (key.kind === 'agent' && key.binding === null) {
    throw limited("only with its certificate, so an agent's key that it makes must be bound to a certificate too");
  }
  if (key.kind !== 'agent' && !sameBinding(key.binding, by.binding)) {
    throw limited('only with its certificate, and so must the keys that it makes: bind them to the same one');
  }
}

/**
 * How long a key of this maker may live: as long as was asked, or where nothing was asked no longer than its maker. By
 * whole seconds of this process's clock, so it still has to end with {@link endOf} the maker.
 * @param key with the seconds that were asked for; null never expires
 * @param isAsked whether a caller chose it
 * @throws PortcullisError policy_denied for a key that would outlive its maker, or that would end at once
 */
export function lifetimeWithin(
  by: Principal,
  { kind, lifetimeS: askedS }: CheckedKey,
  isAsked: boolean,
  nowMs: number,
): number | null {
  const endsAt = endOf(by, kind);
  if (endsAt === null) return askedS;
  const leftS = Math.floor((endsAt - nowMs) / 1000);
  if (askedS !== null && askedS <= leftS) return askedS;
  const end = new Date(endsAt).toISOString();
  if (isAsked) throw limited(`until ${end}, and no key that it makes may outlive it`);
  if (leftS < keyLifetimeMinS) throw limited(`until ${end}: it ends too soon to make another key`);
  return leftS;
}

/** What cannot be limited as whoever gives it is: a person's, by their roles or by being enabled; an agent's without a key. */
const unlimited = {
  person: 'what it lets a person do',
  certificate: 'what an agent may do by its certificate',
  token: 'what an agent may do by tokens of its issuer',
} as const;

/**
 * Lets such things be given by callers without limits alone.
 * @throws PortcullisError policy_denied
 */
export function requireUnlimited(by: Principal, what: keyof typeof unlimited): void {
  const given = unlimited[what];
  if (endOf(by, what === 'person' ? 'operator' : 'agent') !== null)
    throw limited(`for a time only: ${given} would have no end`);
  if (by.cidrs !== null) throw limited(`from some addresses only: ${given} would hold from anywhere`);
  if (by.requiresSignature) throw limited(`only for signed requests: ${given} would hold without signatures`);
  if (what !== 'certificate' && by.binding !== null)
    throw limited(`only with its certificate: ${given} would hold without it`);
}

/**
 * When the maker ends, as far as that limits what it makes. What a token, a session or a login has left does not: it is
 * renewed where it came from, and who it names stays. But with the key of a login, which may be stolen, only agents get
 * keys that live on: they can hold nothing that makes keys in turn.
 */
export function endOf({ keyId, loginId, expiresAt }: Principal, kind: PrincipalKind): number | null {
  const isRenewed = keyId === null || (loginId !== undefined && kind === 'agent');
  return isRenewed ? null : expiresAt;
}

function sameBinding(one: Binding | null, other: Binding): boolean {
  return one !== null && one.by === other.by && one.value === other.value;
}

function limited(how: string): PortcullisError {
  return new PortcullisError('policy_denied', `Your credential holds ${how}.`, { rule: 'key.limited' });
}
