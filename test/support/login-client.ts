import { fieldOf, type Visit, Visitor } from './visitor.ts';
import type { Account, PeopleProvider } from './people-provider.ts';
import type { TestGate } from './gate.ts';
import { fromNewAddress } from './doors.ts';

/** As loose as JSON is. */
// oxlint-disable-next-line typescript/no-explicit-any
type Json = any;

export interface OAuthAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly json: Json;
}

/** Sends a form to an endpoint, from an address that nobody else comes from. */
export async function postForm(
  gate: TestGate,
  path: string,
  form: Readonly<Record<string, string>> | string,
  headers: Readonly<Record<string, string>> = {},
): Promise<OAuthAnswer> {
  const answer = await fetch(gate.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...fromNewAddress(), ...headers },
    body: typeof form === 'string' ? form : new URLSearchParams(form).toString(),
  });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, json: text === '' ? null : JSON.parse(text) };
}

export const client = { client_id: 'portcullis-cli' };

/** Begins a login. */
export async function begin(gate: TestGate, more: Readonly<Record<string, string>> = {}): Promise<Json> {
  const { json } = await postForm(gate, '/oauth/device_authorization', { ...client, client_name: 'a test', ...more });
  return json;
}

export function poll(gate: TestGate, deviceCode: string): Promise<OAuthAnswer> {
  const grant = { grant_type: 'urn:ietf:params:oauth:grant-type:device_code', device_code: deviceCode };
  return postForm(gate, '/oauth/token', { ...client, ...grant });
}

export function refresh(gate: TestGate, credential: string, more = {}): Promise<OAuthAnswer> {
  return postForm(gate, '/oauth/token', {
    ...client,
    grant_type: 'refresh_token',
    refresh_token: credential,
    ...more,
  });
}

/** Signs somebody in through the identity provider, in a browser of their own. */
export async function signIn(gate: TestGate, provider: PeopleProvider, who: Account): Promise<Visitor> {
  provider.here = who;
  const visitor = new Visitor();
  const page = await visitor.post(`${gate.url}/sign-in/start`, { return_to: '/account' });
  const [, url = ''] = /content="0; url=([^"]+)"/.exec(page.text) ?? [];
  await visitor.get(url.replaceAll('&amp;', '&'));
  return visitor;
}

/** Decides on a login as its page does. */
export async function decide(
  gate: TestGate,
  visitor: Visitor,
  userCode: string,
  decision: 'approve' | 'deny' | '' = 'approve',
): Promise<Visit> {
  const page = await visitor.get(`${gate.url}/device`);
  return visitor.post(`${gate.url}/device`, { csrf: fieldOf(page, 'csrf'), user_code: userCode, decision });
}
