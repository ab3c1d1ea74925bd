import { afterAll, beforeAll, expect, vi } from 'vitest';
import { queryAsOwner } from './database.ts';
import { bearer, fromNewAddress } from './doors.ts';
import { startGate, type TestGate } from './gate.ts';
import { begin, decide, poll, signIn } from './login-client.ts';
import { type Account, PeopleProvider } from './people-provider.ts';
import { alertOf } from './visitor.ts';

// Two replicas on one database, and people who sign in at a real identity provider.

export let provider: PeopleProvider;
export let gate: TestGate;
export let other: TestGate;

/** Opens them for the tests of a file, and closes them after. */
export function useLoginGates(): void {
  beforeAll(openGates);
  afterAll(closeGates);
}

async function openGates(): Promise<void> {
  provider = await PeopleProvider.start();
  const env = { TRUSTED_PROXIES: '127.0.0.1' };
  const yaml = provider.section();
  gate = await startGate({ yaml, env });
  other = await startGate({ yaml, env, database: gate.database });
  provider.register([gate.url, other.url]);
}

async function closeGates(): Promise<void> {
  await other?.stop();
  await gate?.stop();
  await provider?.close();
}

let accounts = 0;
export function account(groups: readonly string[] = ['engineers']): Account {
  const sub = `login-${++accounts}`;
  return { sub, email: `${sub}@example.com`, email_verified: true, name: `Person ${accounts}`, groups };
}

export interface Tokens {
  readonly access_token: string;
  readonly refresh_token: string;
  readonly expires_in: number;
  readonly scope: string;
}

/** Somebody who is signed in and logged in. */
export async function logIn(who = account(), more: Readonly<Record<string, string>> = {}) {
  const visitor = await signIn(gate, provider, who);
  const asked = await begin(gate, more);
  const page = await decide(gate, visitor, asked.user_code);
  expect([page.status, alertOf(page)]).toEqual([200, null]);
  const { status, json } = await poll(gate, asked.device_code);
  expect(status, JSON.stringify(json)).toBe(200);
  return { visitor, asked, tokens: json as Tokens, who };
}

export interface Self {
  readonly principal: { id: string; personId: string; keyId: string; scopes: string[]; kind: string; name: string };
}

export const self = (key: string, at = gate) => at.api<Self>('SystemService/GetSelf', {}, key);

/** Asked from an address that nobody else comes from, since failures count. */
export async function holds(key: string, at = gate): Promise<boolean> {
  const answer = await fetch(`${at.url}/portcullis.v1.SystemService/GetSelf`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...bearer(key), ...fromNewAddress() },
    body: '{}',
  });
  expect([200, 401]).toContain(answer.status);
  return answer.status === 200;
}

/** Within a second or two, on both. */
export async function endsEverywhere(...keys: string[]): Promise<void> {
  for (const at of [gate, other])
    for (const key of keys)
      await vi.waitFor(async () => expect(await holds(key, at)).toBe(false), { timeout: 20_000, interval: 50 });
}

export const set = (statement: string, values: unknown[] = []) => queryAsOwner(gate.database, statement, values);

export async function audited(action: string): Promise<{ target: string; payload: Record<string, unknown> }[]> {
  return queryAsOwner(gate.database, 'SELECT target, payload FROM audit_entries WHERE action = $1 ORDER BY id', [
    action,
  ]);
}

export async function isNotedAsUsed(keyId: string): Promise<boolean> {
  const rows = await set('SELECT FROM api_keys WHERE id = $1 AND last_used_at IS NOT NULL', [keyId]);
  return rows.length > 0;
}

export async function invoke(at: TestGate, key: string): Promise<string> {
  const answer = await fetch(`${at.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...bearer(key), ...fromNewAddress() },
    body: JSON.stringify({ model: 'none', messages: [{ role: 'user', content: 'x' }] }),
  });
  return answer.text();
}

export const developerScopes = 'models:invoke policy:read runs:write tasks:read telemetry:read tools:call';
