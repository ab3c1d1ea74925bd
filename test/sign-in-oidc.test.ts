import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { queryAsOwner } from './support/database.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { type Account, clientSecret, PeopleProvider } from './support/people-provider.ts';
import { alertOf, fieldOf, type Visit, Visitor } from './support/visitor.ts';

let provider: PeopleProvider;
let gate: TestGate;
beforeAll(async () => {
  provider = await PeopleProvider.start();
  gate = await startGate({
    yaml: provider.section('  email_domains: [example.com]\n'),
    env: { TRUSTED_PROXIES: '127.0.0.1' },
  });
  provider.register([gate.url]);
});
afterAll(async () => {
  await gate?.stop();
  await provider?.close();
});
beforeEach(() => provider.goAway(false));

let accounts = 0;
/** Somebody whom nobody has seen yet. */
function account(more: Partial<Account> = {}): Account {
  const number = ++accounts;
  return {
    sub: `sub-${number}`,
    email: addressOf(number),
    email_verified: true,
    name: `Person ${number}`,
    groups: ['engineers'],
    ...more,
  };
}

const addressOf = (number: number) => `person-${number}@example.com`;

/** Begins a sign-in, and goes as far as the gate's own page allows. */
async function begin(visitor: Visitor, at = gate, returnTo = '/account'): Promise<string> {
  const page = await visitor.post(`${at.url}/sign-in/start`, { return_to: returnTo });
  expect(page.status).toBe(200);
  const [, url = ''] = /content="0; url=([^"]+)"/.exec(page.text) ?? [];
  return url.replaceAll('&amp;', '&');
}

/** Signs `who` in, in a browser of their own unless said otherwise. */
async function signIn(who: Account, visitor = new Visitor(), at = gate): Promise<{ visitor: Visitor; visit: Visit }> {
  provider.here = who;
  return { visitor, visit: await visitor.get(await begin(visitor, at)) };
}

interface Person {
  readonly id: string;
  readonly email: string;
  readonly name: string;
  readonly state: string;
  readonly roles?: { readonly roles: string[] };
  readonly teamIds: string[];
  readonly subject?: string;
}

async function personOf({ sub }: Account): Promise<Person | undefined> {
  const { people } = await gate.api<{ people: Person[] }>('ProjectService/ListPeople', { pageSize: 500 });
  return people.find(({ subject }) => subject === sub);
}

async function teams(): Promise<Map<string, string>> {
  const all = await gate.api<{ teams: { id: string; name: string }[] }>('ProjectService/ListTeams', { pageSize: 500 });
  return new Map(all.teams.map(({ id, name }) => [name, id]));
}

/** Calls a method as a script of our own page does. */
async function call(visitor: Visitor, method: string, body: object = {}, at = gate) {
  const csrf = fieldOf(await visitor.once('GET', `${at.url}/account`, {}), 'csrf');
  const headers = { 'content-type': 'application/json', origin: at.url, 'x-portcullis-csrf': csrf };
  const answer = await visitor.once('POST', `${at.url}/portcullis.v1.${method}`, headers, JSON.stringify(body));
  return { status: answer.status, json: JSON.parse(answer.text) as Record<string, unknown> };
}

const isSignedIn = async (visitor: Visitor, at = gate) =>
  (await visitor.once('GET', `${at.url}/account`, {})).status === 200;

describe('signing in through the identity provider', () => {
  it('makes a person of who comes first, with the roles and teams of their groups', async () => {
    const ada = account({ groups: ['engineers', 'unknown', 'constructor'] });
    const { visitor, visit } = await signIn(ada);
    expect(visit).toMatchObject({ status: 200, url: `${gate.url}/account` });
    const person = await personOf(ada);
    expect(person).toMatchObject({ email: ada.email, name: ada.name, roles: { roles: ['PERSON_ROLE_DEVELOPER'] } });
    expect(person?.teamIds).toEqual([(await teams()).get('Engineering')]);
    expect(await call(visitor, 'SystemService/GetSelf')).toMatchObject({
      status: 200,
      json: {
        principal: {
          kind: 'PRINCIPAL_KIND_OPERATOR',
          id: person?.id,
          personId: person?.id,
          scopes: ['models:invoke', 'policy:read', 'runs:write', 'tasks:read', 'telemetry:read', 'tools:call'],
        },
      },
    });
    expect(await call(visitor, 'AgentService/CreateAgent', { name: 'no' })).toMatchObject({ status: 403 });
  });

  it('finds them again by issuer and subject, with what their groups and names are now', async () => {
    const before = account();
    const { visitor: first } = await signIn(before);
    const id = (await personOf(before))?.id;
    const after = { ...before, name: 'Renamed', email: `moved-${before.sub}@example.com`, groups: ['admins'] };
    const { visitor } = await signIn(after);
    expect(await personOf(before)).toMatchObject({
      id,
      name: 'Renamed',
      email: after.email,
      roles: { roles: ['PERSON_ROLE_ADMIN'] },
      teamIds: [],
    });
    // Whoever is signed in elsewhere may do the same from now on.
    expect(await call(first, 'ProjectService/ListPeople')).toMatchObject({ status: 200 });
    expect(await call(visitor, 'ProjectService/ListPeople')).toMatchObject({ status: 200 });
  });

  it('refuses who has no role, and ends what they had', async () => {
    const stranger = account({ groups: [] });
    const refused = await signIn(stranger);
    expect(refused.visit.status).toBe(403);
    expect(alertOf(refused.visit)).toContain('none of your groups at the identity provider gives you a role here');
    expect(await personOf(stranger)).toBeUndefined();

    const leaver = account();
    const { visitor } = await signIn(leaver);
    expect((await signIn({ ...leaver, groups: ['unknown'] })).visit.status).toBe(403);
    expect(await isSignedIn(visitor)).toBe(false);
    expect(await personOf(leaver)).toMatchObject({ roles: { roles: [] } });
  });

  it.each<[string, Partial<Account>, string]>([
    ['an address that is not verified', { email_verified: false }, 'has not verified your e-mail address'],
    ['an address of which nothing is said', { email_verified: undefined }, 'has not verified your e-mail address'],
    ['no address', { email: undefined }, 'gave no e-mail address'],
    ['something else for an address', { email: 'nobody' }, 'gave something that is no e-mail address'],
    ['an address elsewhere', { email: 'ada@example.org' }, 'Addresses of example.org may not sign in here'],
    ['an address that only looks like ours', { email: 'ada@example.com.evil.example' }, 'may not sign in here'],
  ])('refuses %s', async (_what, more, sentence) => {
    const who = account(more);
    const { visit, visitor } = await signIn(who);
    expect(visit.status).toBe(403);
    expect(alertOf(visit)).toContain(sentence);
    expect(await isSignedIn(visitor)).toBe(false);
    expect(await personOf(who)).toBeUndefined();
  });

  it('is refused to a disabled person, until they are enabled', async () => {
    const who = account();
    const { visitor } = await signIn(who);
    const personId = (await personOf(who))?.id;
    await gate.api('ProjectService/DisablePerson', { personId });
    expect(await isSignedIn(visitor)).toBe(false);
    const refused = await signIn(who);
    expect(refused.visit.status).toBe(403);
    expect(alertOf(refused.visit)).toContain('disabled');
    await gate.api('ProjectService/EnablePerson', { personId });
    expect(await isSignedIn(visitor)).toBe(false);
    expect((await signIn(who)).visit.status).toBe(200);
  });
});

describe('a person and their account at the identity provider', () => {
  const byHand = (email: string) =>
    gate
      .api<{ person: Person }>('ProjectService/CreatePerson', { email, name: 'By hand' })
      .then(({ person }) => person);

  it('come together by a verified address, once, for somebody who was made by hand', async () => {
    const who = account();
    const made = await byHand(who.email ?? '');
    expect((await signIn({ ...who, email_verified: false })).visit.status).toBe(403);
    expect((await signIn(who)).visit.status).toBe(200);
    expect(await personOf(who)).toMatchObject({ id: made.id, name: who.name });
  });

  it('do not come together for who has no role: nobody without one changes anything of the person', async () => {
    const who = account({ groups: ['unknown'] });
    const made = await byHand(who.email ?? '');
    expect((await signIn(who)).visit.status).toBe(403);
    expect(await personOf(who)).toBeUndefined();
    const { people } = await gate.api<{ people: Person[] }>('ProjectService/ListPeople', { pageSize: 500 });
    expect(people.find(({ id }) => id === made.id)).toEqual(made);
  });

  it('stay together: another account with the address is refused, until somebody unlinks them', async () => {
    const who = account();
    const { visitor } = await signIn(who);
    const imposter = account({ email: who.email });
    const refused = await signIn(imposter);
    expect(refused.visit.status).toBe(403);
    expect(alertOf(refused.visit)).toContain('Somebody else signed in here with the address');
    const id = (await personOf(who))?.id;
    await gate.api('ProjectService/UnlinkPerson', { personId: id });
    expect(await isSignedIn(visitor)).toBe(false);
    expect((await signIn(imposter)).visit.status).toBe(200);
    expect(await personOf(imposter)).toMatchObject({ id });
  });

  it("keep the address that they had where another person's would be taken", async () => {
    const [one, other] = [account(), account()];
    await signIn(one);
    await signIn(other);
    expect((await signIn({ ...other, email: one.email })).visit.status).toBe(200);
    expect(await personOf(other)).toMatchObject({ email: other.email });
  });

  it('keep teams that were given by hand and are in no rule', async () => {
    const who = account();
    await signIn(who);
    const { team } = await gate.api<{ team: { id: string } }>('ProjectService/CreateTeam', { name: 'By hand' });
    const id = (await personOf(who))?.id;
    const engineering = (await teams()).get('Engineering');
    await gate.api('ProjectService/UpdatePerson', { personId: id, updateMask: 'teamIds', teamIds: [team.id] });
    await signIn(who);
    expect(new Set((await personOf(who))?.teamIds)).toEqual(new Set([team.id, engineering]));
  });

  it('bound the keys of the person, whatever these were made with', async () => {
    const who = account();
    const made = await byHand(who.email ?? '');
    const { secret } = await gate.api<{ secret: string }>('AgentService/CreateKey', {
      name: 'wide',
      kind: 'PRINCIPAL_KIND_OPERATOR',
      personId: made.id,
      scopes: ['admin'],
    });
    const scopes = async () =>
      (await gate.api<{ principal: { scopes: string[] } }>('SystemService/GetSelf', {}, secret)).principal.scopes;
    expect(await scopes()).toEqual(['admin']);
    await signIn(who);
    expect(await scopes()).toEqual([
      'models:invoke',
      'policy:read',
      'runs:write',
      'tasks:read',
      'telemetry:read',
      'tools:call',
    ]);
    await signIn({ ...who, groups: [] });
    expect(await scopes()).toEqual([]);
  });
});

describe('the way to the identity provider and back', () => {
  it('has state, nonce and PKCE, and the exact redirect URI', async () => {
    const url = new URL(await begin(new Visitor()));
    expect(url.origin).toBe(provider.issuer);
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      response_type: 'code',
      redirect_uri: `${gate.url}/sign-in/callback`,
      code_challenge_method: 'S256',
      scope: 'openid email profile groups',
      state: expect.stringMatching(/^[\w-]{43}$/),
      nonce: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
    });
  });

  /** Where the provider sends the browser back to, not gone to yet. */
  async function answerFor(who: Account, visitor: Visitor): Promise<string> {
    provider.here = who;
    let visit = await visitor.once('GET', await begin(visitor), {});
    for (;;) {
      const next = new URL(String(visit.headers['location']), visit.url).href;
      if (next.startsWith(gate.url)) return next;
      visit = await visitor.once('GET', next, {});
    }
  }

  it('brings only that browser in which it was begun', async () => {
    const attacker = new Visitor();
    const answer = await answerFor(account(), attacker);
    const victim = new Visitor();
    expect(await victim.get(answer)).toMatchObject({ status: 403 });
    const begun = new Visitor();
    await begin(begun);
    const visit = await begun.get(answer);
    expect(visit.status).toBe(403);
    expect(alertOf(visit)).toContain('does not hold, or was used already');
    expect([await isSignedIn(victim), await isSignedIn(begun)]).toEqual([false, false]);
    expect(await attacker.get(answer)).toMatchObject({ status: 200 });
  });

  it('is gone once: the same answer again is refused, with what the browser kept too', async () => {
    const visitor = new Visitor();
    const answer = await answerFor(account(), visitor);
    const kept = new Map(visitor.cookies.get(gate.url));
    expect(await visitor.get(answer)).toMatchObject({ status: 200 });
    expect(await visitor.get(answer)).toMatchObject({ status: 403 });
    const replay = new Visitor();
    replay.cookies.set(gate.url, kept);
    expect(await replay.get(answer)).toMatchObject({ status: 403 });
    expect(await isSignedIn(replay)).toBe(false);
  });

  it.each<[string, (url: URL) => void]>([
    ['another state', (url) => url.searchParams.set('state', 'x'.repeat(43))],
    ['no state', (url) => url.searchParams.delete('state')],
    ['another issuer', (url) => url.searchParams.set('iss', 'https://evil.example')],
    ['no issuer', (url) => url.searchParams.delete('iss')],
    ['another code', (url) => url.searchParams.set('code', 'nonsense')],
    ['two codes', (url) => url.searchParams.append('code', 'nonsense')],
    [
      'an error',
      (url) =>
        (url.search = `?error=access_denied&state=${url.searchParams.get('state')}&iss=${url.searchParams.get('iss')}`),
    ],
    ['nothing', (url) => (url.search = '')],
  ])('refuses an answer with %s', async (_what, change) => {
    const visitor = new Visitor();
    const answer = new URL(await answerFor(account(), visitor));
    change(answer);
    const visit = await visitor.get(answer.href);
    expect(visit.status).toBe(403);
    expect(alertOf(visit)).toContain('does not hold, or was used already');
    expect(await isSignedIn(visitor)).toBe(false);
  });

  it('is refused when what the browser keeps was changed', async () => {
    const visitor = new Visitor();
    const answer = await answerFor(account(), visitor);
    const jar = visitor.cookies.get(gate.url);
    const ticket = jar?.get('portcullis-sign-in') ?? '';
    const [random, , , tag] = ticket.split('.');
    const elsewhere = Buffer.from('https://evil.example').toString('base64url');
    for (const changed of ['', 'x', `${ticket}.x`, [random, Date.now().toString(36), elsewhere, tag].join('.')]) {
      jar?.set('portcullis-sign-in', changed);
      expect(await visitor.get(answer)).toMatchObject({ status: 403 });
    }
  });

  it('leads to 503 while the provider is away, and says so', async () => {
    const fresh = await startGate({ yaml: provider.section(), database: gate.database });
    try {
      provider.goAway();
      const visit = await new Visitor().post(`${fresh.url}/sign-in/start`, {});
      expect(visit.status).toBe(503);
      expect(alertOf(visit)).toContain('The identity provider does not answer as it should');
      expect(await fresh.settledLog()).toContain('"code":"cannot_verify"');
      // A key opens all the same.
      expect(await new Visitor().post(`${fresh.url}/sign-in`, { key: fresh.adminKey })).toMatchObject({ status: 200 });

      provider.goAway(false);
      const visitor = new Visitor();
      const answer = await answerFor(account(), visitor);
      provider.goAway();
      expect(await visitor.get(answer)).toMatchObject({ status: 503 });
    } finally {
      await fresh.stop();
    }
  });

  it('is gone by GET alone: a look at its head uses nothing up', async () => {
    const visitor = new Visitor();
    const answer = await answerFor(account(), visitor);
    expect((await visitor.once('HEAD', answer, {})).status).toBe(404);
    expect(await visitor.get(answer)).toMatchObject({ status: 200 });
  });

  it('is kept from nobody by strangers at the same address who began nothing', async () => {
    const from = { 'x-forwarded-for': '203.0.113.77' };
    const visitor = new Visitor();
    const answer = await answerFor(account(), visitor);
    for (let count = 0; count < 80; count++) {
      const stranger = await new Visitor().once('GET', `${gate.url}/sign-in/callback?code=1&state=2`, from);
      expect(stranger.status).toBe(403);
    }
    expect((await visitor.once('GET', answer, from)).status).toBe(303);
  });

  it('cannot be asked for without end by one address', async () => {
    const from = { 'x-forwarded-for': '203.0.113.9' };
    const statuses = new Set<number>();
    for (let count = 0; count < 80; count++)
      statuses.add((await new Visitor().post(`${gate.url}/sign-in/start`, {}, from)).status);
    expect([...statuses]).toEqual([200, 429]);
  });

  it('tells no secret to the log', async () => {
    const visitor = new Visitor();
    const answer = new URL(await answerFor(account(), visitor));
    await visitor.get(answer.href);
    const log = await gate.settledLog();
    expect(log).toContain('"path":"/sign-in/callback"');
    for (const secret of [
      clientSecret,
      answer.searchParams.get('code') ?? '',
      answer.searchParams.get('state') ?? '',
      visitor.cookies.get(gate.url)?.get('portcullis-session') ?? '',
    ]) {
      expect(secret).not.toBe('');
      expect(log).not.toContain(secret);
    }
  });
});

it.each(['client_secret_post', 'none'] as const)('a client that proves itself by %s works too', async (auth) => {
  const another = await PeopleProvider.start();
  const fresh = await startGate({ yaml: another.section('', auth), database: gate.database });
  try {
    another.register([fresh.url], auth);
    another.here = account();
    const visitor = new Visitor();
    expect(await visitor.get(await begin(visitor, fresh))).toMatchObject({ status: 200, url: `${fresh.url}/account` });
  } finally {
    await fresh.stop();
    await another.close();
  }
});

describe('on two replicas', () => {
  it('a session holds on both, and ends on both within a second with the person, their keys and their agents', async () => {
    const other = await startGate({
      yaml: provider.section(),
      database: gate.database,
      env: { ADMIN_API_KEY: gate.adminKey },
    });
    try {
      const who = account({ groups: ['admins'] });
      const { visitor } = await signIn(who);
      visitor.cookies.set(other.url, new Map(visitor.cookies.get(gate.url)));
      expect(await isSignedIn(visitor, other)).toBe(true);

      const personId = (await personOf(who))?.id;
      const { agent } = await gate.api<{ agent: { id: string } }>('AgentService/CreateAgent', {
        name: 'of-who',
        personId,
      });
      const key = (more: object) =>
        gate.api<{ secret: string }>('AgentService/CreateKey', { name: 'k', scopes: ['telemetry:read'], ...more });
      const own = await key({ kind: 'PRINCIPAL_KIND_OPERATOR', personId });
      const ofAgent = await key({ kind: 'PRINCIPAL_KIND_AGENT', agentId: agent.id });
      const holds = (secret: string) =>
        other.api('SystemService/GetSelf', {}, secret).then(
          () => true,
          () => false,
        );
      expect([await holds(own.secret), await holds(ofAgent.secret)]).toEqual([true, true]);

      await gate.api('ProjectService/DisablePerson', { personId });
      const began = performance.now();
      // The session's row is looked at each time; keys follow the control feed.
      expect(await isSignedIn(visitor, other)).toBe(false);
      await vi.waitFor(
        async () => expect([await holds(own.secret), await holds(ofAgent.secret)]).toEqual([false, false]),
        { timeout: 10_000, interval: 10 },
      );
      console.log(
        `a disabled person was stopped on the other replica after ${Math.round(performance.now() - began)} ms`,
      );
    } finally {
      await other.stop();
    }
  });
});

it('what people did is in the audit log, with what changed', async () => {
  const who = account();
  await signIn(who);
  await signIn({ ...who, groups: ['admins'] });
  const id = (await personOf(who))?.id;
  const rows = await queryAsOwner<{ action: string; actor_id: string; payload: Record<string, unknown> }>(
    gate.database,
    `SELECT action, actor_id, payload FROM audit_entries WHERE target = $1 ORDER BY id`,
    [id],
  );
  expect(rows.map(({ action }) => action)).toEqual(['person.created', 'person.updated', 'person.updated']);
  expect(rows.every(({ actor_id: actor }) => actor === id)).toBe(true);
  expect(rows[2]?.payload).toMatchObject({ before: { roles: ['developer'] }, after: { roles: ['admin'], teams: [] } });
});
