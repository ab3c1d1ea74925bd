import { createHmac, hash, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto';
import { type ApiKey, apiKeyFrom } from '../api-key.ts';
import type { StoredLogin } from './model.ts';

// Credentials of a login are not kept but derived, from a key of the server and what only the login's row has: two who
// refresh at once get the same ones, and every refresh credential that there ever was is known when it comes back.

type Seeded = Pick<StoredLogin, 'id' | 'seed'>;

const refreshForm = /^pcr_([0-9a-z]{26})_([1-9]\d{0,8})_([\w-]{43})$/;
const deviceForm = /^pcd_[\w-]{43}$/;

/** A refresh credential taken apart; whether it is one is not said. */
export interface PresentedRefresh {
  readonly loginId: string;
  readonly generation: number;
  readonly text: string;
}

export function readRefreshCredential(text: string): PresentedRefresh | null {
  const [, id = '', generation = ''] = refreshForm.exec(text) ?? [];
  return id === '' ? null : { loginId: `lgn_${id}`, generation: Number(generation), text };
}

/** The refresh credential of a generation. */
export function refreshCredential(key: KeyObject, login: Seeded, generation: number): string {
  const tag = derive(key, 'refresh', login, generation).toString('base64url');
  return `pcr_${login.id.slice('lgn_'.length)}_${generation}_${tag}`;
}

/** Whether the credential is, or once was, one of the login. */
export function isOfLogin(key: KeyObject, login: Seeded, { generation, text }: PresentedRefresh): boolean {
  const [expected, actual] = [refreshCredential(key, login, generation), text].map((each) =>
    hash('sha256', each, 'buffer'),
  );
  return expected !== undefined && actual !== undefined && timingSafeEqual(expected, actual);
}

/** The API key of a generation. */
export function loginKey(key: KeyObject, login: Seeded, generation: number): ApiKey {
  return apiKeyFrom(derive(key, 'api key', login, generation));
}

/** A device code of 256 random bits. */
export function newDeviceCode(): string {
  return `pcd_${randomBytes(32).toString('base64url')}`;
}

/** By what a device code is found; null for a text that is none. */
export function deviceCodeDigest(text: string): Buffer | null {
  return deviceForm.test(text) ? hash('sha256', text, 'buffer') : null;
}

/** By what a user code is found: keyed, since there are few enough to try them all. */
export function userCodeDigest(key: KeyObject, userCode: string): Buffer {
  return createHmac('sha256', key).update(`user code ${userCode}`).digest();
}

function derive(key: KeyObject, purpose: string, { id, seed }: Seeded, generation: number): Buffer {
  return createHmac('sha256', key).update(`${purpose} ${id} ${generation} `).update(seed).digest();
}
