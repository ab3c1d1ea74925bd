import { afterAll, beforeAll, expect, it } from 'vitest';
import { startGate, type TestGate } from './support/gate.ts';
import { begin, decide, poll, signIn } from './support/login-client.ts';
import { type Account, PeopleProvider } from './support/people-provider.ts';
import { alertOf, fieldOf, Visitor } from './support/visitor.ts';

// The page on which a person confirms the login of a command line.

let provider: PeopleProvider;
let gate: TestGate;
beforeAll(async () => {
  provider = await PeopleProvider.start();
  gate = await startGate({ yaml: provider.section(), env: { TRUSTED_PROXIES: '127.0.0.1' } });
  provider.register([gate.url]);
});
afterAll(async () => {
  await gate?.stop();
  await provider?.close();
});

let accounts = 0;
function account(): Account {
  const sub = `page-${++accounts}`;
  return { sub, email: `${sub}@example.com`, email_verified: true, name: `Person ${accounts}`, groups: ['engineers'] };
}

it('the page leads who is not signed in to do so, and back to the code', async () => {
  const asked = await begin(gate);
  const visitor = new Visitor();
  const first = await visitor.get(asked.verification_uri_complete);
  expect(fieldOf(first, 'return_to')).toBe(`/device?user_code=${asked.user_code}`);
  const signedIn = await signIn(gate, provider, account());
  const page = await signedIn.get(asked.verification_uri_complete);
  expect(page.text).toContain(asked.user_code);
  expect(page.text).toContain('Continue only if your own terminal shows this very code');
  expect(page.text).toContain('deny it');
  for (const shown of ['a test', 'models:invoke', 'default', '198.18.']) expect(page.text).toContain(shown);
  expect(page.headers['referrer-policy']).toBe('same-origin');
  expect(page.headers['cache-control']).toBe('no-store');
  expect(await gate.settledLog()).not.toContain(asked.user_code);
});

it('the page confirms nothing without its CSRF token and our own Origin', async () => {
  const visitor = await signIn(gate, provider, account());
  const asked = await begin(gate);
  const csrf = fieldOf(await visitor.get(`${gate.url}/device`), 'csrf');
  const foreign = fieldOf(await (await signIn(gate, provider, account())).get(`${gate.url}/device`), 'csrf');
  const form = { user_code: asked.user_code, decision: 'approve' };
  for (const [token, headers] of [
    ['', {}],
    [foreign, {}],
    [csrf, { origin: '' }],
    [csrf, { origin: 'http://localhost:1' }],
    [csrf, { origin: gate.url, 'sec-fetch-site': 'cross-site' }],
  ] as const)
    expect((await visitor.post(`${gate.url}/device`, { ...form, csrf: token }, headers as never)).status).toBe(403);
  expect((await poll(gate, asked.device_code)).json.error).toBe('authorization_pending');
  expect(
    (await visitor.get(`${gate.url}/device?user_code=${asked.user_code}&decision=approve&csrf=${csrf}`)).status,
  ).toBe(200);
  expect((await poll(gate, asked.device_code)).json.error).toBe('slow_down');
});

it('the page is for people: a session on a key, the one of the configuration or an operator’s own, confirms nothing', async () => {
  const who = account();
  await signIn(gate, provider, who);
  const all = await gate.api<{ people: { id: string; subject: string }[] }>('ProjectService/ListPeople');
  const personId = all.people.find(({ subject }) => subject === who.sub)?.id;
  expect(personId).toMatch(/^psn_/);
  const made = await gate.api<{ secret: string }>('AgentService/CreateKey', {
    name: 'hers',
    kind: 'PRINCIPAL_KIND_OPERATOR',
    personId,
    scopes: ['telemetry:read'],
  });
  const asked = await begin(gate);
  for (const key of [gate.adminKey, made.secret]) {
    const visitor = new Visitor();
    await visitor.post(`${gate.url}/sign-in`, { key });
    const page = await visitor.get(asked.verification_uri_complete);
    expect(page.status).toBe(403);
    expect(alertOf(page)).toContain('must be confirmed by a person');
    const csrf = fieldOf(await visitor.get(`${gate.url}/account`), 'csrf');
    const form = { csrf, user_code: asked.user_code, decision: 'approve' };
    expect((await visitor.post(`${gate.url}/device`, form)).status).toBe(403);
  }
  expect((await poll(gate, asked.device_code)).json.error).toBe('authorization_pending');
});

it('the page lets nobody guess: ten codes a minute, and then a right one is not looked at either', async () => {
  const visitor = await signIn(gate, provider, account());
  const asked = await begin(gate);
  const statuses: number[] = [];
  for (let tries = 0; tries < 12; tries++)
    statuses.push((await decide(gate, visitor, 'BBBB-BBBB', tries % 2 ? 'approve' : '')).status);
  expect(statuses).toEqual([...Array<number>(10).fill(404), 429, 429]);
  expect((await decide(gate, visitor, asked.user_code)).status).toBe(429);
  const page = await visitor.get(asked.verification_uri_complete);
  expect([page.status, alertOf(page)]).toEqual([429, expect.stringContaining('wait')]);
  expect((await poll(gate, asked.device_code)).json.error).toBe('authorization_pending');
});
