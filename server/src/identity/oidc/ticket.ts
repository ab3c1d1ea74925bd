import { createHmac, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto';
import { clockSkewS, signInMs } from '../../base/limits.ts';

/** A sign-in that a browser began. */
export interface Ticket {
  readonly state: string;
  readonly nonce: string;
  /** RFC 7636, section 4.1. */
  readonly codeVerifier: string;
  /** A path of ours. */
  readonly returnTo: string;
}

/**
 * What a browser keeps while it is at the identity provider. All that must be secret or unguessable follows from its random
 * bits under our key, so that nothing of it is stored here: no stranger can fill a table, and any replica takes the
 * browser back. Only the browser that began can end it, since the answer must fit to what it keeps.
 */
export function newTicket(key: KeyObject, returnTo: string, nowMs: number): string {
  const body = [
    randomBytes(32).toString('base64url'),
    Math.floor(nowMs).toString(36),
    Buffer.from(returnTo).toString('base64url'),
  ].join('.');
  return `${body}.${keyed(key, `ticket ${body}`)}`;
}

/** Null for a ticket that is not ours, is too old, or is of a time to come. */
export function openTicket(key: KeyObject, text: string, nowMs: number): Ticket | null {
  const [random = '', begun = '', returnTo = '', tag = '', ...more] = text.split('.');
  const expected = Buffer.from(keyed(key, `ticket ${random}.${begun}.${returnTo}`));
  const presented = Buffer.from(tag);
  if (more.length > 0 || presented.length !== expected.length || !timingSafeEqual(presented, expected)) return null;
  const ageMs = nowMs - parseInt(begun, 36);
  if (ageMs > signInMs || ageMs < -clockSkewS * 1000) return null;
  return {
    state: keyed(key, `state ${random}`),
    nonce: keyed(key, `nonce ${random}`),
    codeVerifier: keyed(key, `code verifier ${random}`),
    returnTo: Buffer.from(returnTo, 'base64url').toString(),
  };
}

function keyed(key: KeyObject, text: string): string {
  return createHmac('sha256', key).update(`sign-in ${text}`).digest('base64url');
}
