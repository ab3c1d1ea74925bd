import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApprovalDesk, type Approver, type AskedFor, formOf } from './support/approvals.ts';
import { bearer, fromNewAddress } from './support/doors.ts';
import { queryAsOwner } from './support/database.ts';
import { alertOf, type Visit, Visitor } from './support/visitor.ts';

let desk: ApprovalDesk;
let ada: Approver;
let bob: Approver;

beforeAll(async () => {
  desk = await ApprovalDesk.open({});
  ada = await desk.approver();
  bob = await desk.approver();
}, 120_000);
afterAll(() => desk?.close());

const at = (path: string) => desk.gate.url + path;
const pathOf = ({ id }: AskedFor) => `/approvals/${id}`;
const open = (who: Approver, asked: AskedFor) => who.visitor.get(at(pathOf(asked)));

/** Sends the form of the page, as the browser does. */
async function decide(
  who: Approver,
  asked: AskedFor,
  action: string,
  more: Record<string, string> = {},
): Promise<Visit> {
  const form = formOf(await open(who, asked), action);
  return who.visitor.post(at(pathOf(asked)), { ...form, ...more });
}

const set = (statement: string, values: unknown[]) => queryAsOwner(desk.gate.database, statement, values);

describe('the inbox', () => {
  it('has what this person may decide, and nothing else, what ends first before the rest', async () => {
    const late = await desk.ask({ summary: 'Something <i>later</i>', expiry: '7200s' });
    const soon = await desk.ask({ summary: 'Something soon', expiry: '600s' });
    const named = await desk.ask({ summary: 'For Bob alone', groups: [`person:${bob.email}`] });
    const over = await desk.ask({ summary: 'Decided already' });
    await decide(bob, over, 'approve');
    const page = await ada.visitor.get(at('/approvals'));
    expect(page.text.indexOf(soon.id)).toBeLessThan(page.text.indexOf(late.id));
    expect(page.text).toContain('Something &lt;i&gt;later&lt;/i&gt;');
    expect(page.text).toContain('2 wait for you');
    for (const { id } of [named, over]) expect(page.text).not.toContain(id);
    expect((await bob.visitor.get(at('/approvals'))).text).toContain(named.id);
    // It may be read, and says why it is not hers to decide.
    const shown = await open(ada, named);
    expect(shown.text).toContain('Others decide this');
    expect(shown.text).not.toContain('<form');
  });

  it('leads whoever is not signed in to sign in and back, whatever credential they send', async () => {
    const asked = await desk.ask();
    for (const headers of [{}, bearer(desk.agent.secret), bearer(ada.key), { 'x-api-key': desk.gate.adminKey }]) {
      const visit = await new Visitor().once('GET', at(pathOf(asked)), headers);
      expect([visit.status, visit.headers['location']]).toEqual([
        303,
        `/sign-in?return_to=${encodeURIComponent(pathOf(asked))}`,
      ]);
    }
    const posted = await new Visitor().once(
      'POST',
      at(pathOf(asked)),
      {
        ...bearer(ada.key),
        'content-type': 'application/x-www-form-urlencoded',
        origin: desk.gate.url,
      },
      'action=approve',
    );
    expect(posted.status).toBe(303);
    expect(await desk.state(asked.id)).toMatchObject({ state: 'APPROVAL_STATE_PENDING' });
  });

  it('is nobody’s who is no person: an agent gets no session, and a shared key decides nothing in one', async () => {
    const asked = await desk.ask();
    const agent = new Visitor();
    expect((await agent.post(at('/sign-in'), { key: desk.agent.secret })).status).toBe(401);
    expect((await agent.once('GET', at('/approvals'), {})).status).toBe(303);
    const shared = new Visitor();
    await shared.post(at('/sign-in'), { key: desk.gate.adminKey });
    for (const path of ['/approvals', pathOf(asked)]) expect((await shared.get(at(path))).status).toBe(403);
    const developer = await desk.approver(['engineers']);
    expect((await developer.visitor.get(at('/approvals'))).status).toBe(403);
  });
});

describe('deciding while signed in', () => {
  it('takes a form of our own page, with what was shown, and is told with the session', async () => {
    const asked = await desk.ask();
    const form = formOf(await open(ada, asked), 'approve');
    const refused: [Record<string, string>, Record<string, string>, number][] = [
      [{ ...form, csrf: 'x' }, {}, 403],
      [{ ...form, csrf: formOf(await open(bob, asked), 'approve')['csrf'] ?? '' }, {}, 403],
      [form, { origin: 'https://evil.example.com' }, 403],
      [form, { origin: '' }, 403],
      [form, { origin: 'null' }, 403],
      [{ ...form, digest: 'a'.repeat(64) }, {}, 409],
      [{ ...form, digest: '' }, {}, 400],
      [{ ...form, action: 'nothing' }, {}, 400],
      [{ ...form, repeat: 'forever' }, {}, 400],
    ];
    for (const [fields, headers, status] of refused)
      expect((await ada.visitor.post(at(pathOf(asked)), fields, headers)).status, JSON.stringify(fields)).toBe(status);
    expect(await desk.state(asked.id)).toMatchObject({ state: 'APPROVAL_STATE_PENDING' });
    expect((await ada.visitor.post(at(pathOf(asked)), form)).text).toContain('<h1>Approved</h1>');
    const again = await ada.visitor.post(at(pathOf(asked)), form);
    expect([again.status, alertOf(again)]).toEqual([409, 'It is approved already: an outcome never changes.']);
    const [entry] = await desk.audited('approval.decided', asked.id);
    expect(entry).toMatchObject({ actor_id: ada.id, payload: { via: 'session' } });
    const [seen] = await desk.audited('approval.viewed', asked.id);
    expect(seen).toMatchObject({ actor_id: ada.id, payload: { via: 'session', link_id: null } });
  });

  it('counts two people for a quorum of two, and one person once', async () => {
    const asked = await desk.ask({ quorum: 2 });
    expect((await decide(ada, asked, 'approve')).text).toContain('<h1>Your vote counts</h1>');
    expect((await ada.visitor.get(at('/approvals'))).text).toContain('You voted; it waits for others.');
    expect((await decide(ada, asked, 'approve')).status).toBe(409);
    expect(await desk.state(asked.id)).toMatchObject({ state: 'APPROVAL_STATE_PENDING' });
    expect((await decide(bob, asked, 'approve')).text).toContain('<h1>Approved</h1>');
  });

  it('for high risk takes a proof of the last minutes, which a session that lasts is not', async () => {
    const asked = await desk.ask({ risk: 'APPROVAL_RISK_HIGH' });
    const eve = await desk.approver();
    const before = await open(eve, asked);
    expect(before.text).toContain('did not say when you proved who you are');
    expect(before.text).not.toContain('<form');
    const csrf = formOf(await open(eve, await desk.ask()), 'approve')['csrf'] ?? '';
    const form = { csrf, action: 'approve', digest: asked.digest };
    const tooEarly = await eve.visitor.post(at(pathOf(asked)), form);
    expect([tooEarly.status, alertOf(tooEarly)]).toEqual([403, expect.stringContaining('high risk')]);
    // Signed in already: asked all the same, at the provider too.
    const signInPath = /href="(\/sign-in\?anew=1[^"]*)"/.exec(before.text)?.[1]?.replaceAll('&amp;', '&') ?? '';
    expect((await eve.visitor.once('GET', at(signInPath), {})).text).toContain('show once more that it is you');
    const back = await desk.signInAnew(eve, ['approvers'], pathOf(asked));
    expect(back.url).toBe(at(pathOf(asked)));
    const fresh = formOf(back, 'approve');
    expect(fresh).toMatchObject({ digest: asked.digest });
    // By the database's clock, and by when they proved it, not by when the session began.
    await set("UPDATE sessions SET authenticated_at = now() - interval '11 min' WHERE person_id = $1", [eve.id]);
    expect((await open(eve, asked)).text).toContain('show once more that it is you');
    expect((await eve.visitor.post(at(pathOf(asked)), fresh)).status).toBe(403);
    await set("UPDATE sessions SET authenticated_at = now() - interval '9 min' WHERE person_id = $1", [eve.id]);
    expect((await eve.visitor.post(at(pathOf(asked)), fresh)).text).toContain('<h1>Approved</h1>');
  });

  it('lets the same through again where one person decides it, and says how often', async () => {
    const asked = await desk.ask();
    expect((await open(ada, asked)).text).toContain('<select id="repeat"');
    for (const more of [{ quorum: 2 }, { kind: 'APPROVAL_KIND_RUN_GATE', runId: await desk.run() }])
      expect((await open(ada, await desk.ask(more))).text).not.toContain('name="repeat"');
    expect((await decide(ada, asked, 'approve', { repeat: 'same' })).status).toBe(200);
    expect(await set('SELECT uses_left, granted_by FROM approval_grants WHERE approval_id = $1', [asked.id])).toEqual([
      { uses_left: 10, granted_by: ada.id },
    ]);
  });

  it('is not for who asked for it, nor for who answers for the agent', async () => {
    const asked = await desk.ask();
    await set('UPDATE agents SET person_id = $1 WHERE id = $2', [ada.id, desk.agent.agentId]);
    try {
      const page = await open(ada, asked);
      expect(page.text).toContain('or answer for the agent that did');
      expect(page.text).not.toContain('<form');
      expect((await ada.visitor.get(at('/approvals'))).text).not.toContain(asked.id);
      const csrf = formOf(await open(bob, asked), 'approve')['csrf'] ?? '';
      const form = { csrf, action: 'approve', digest: asked.digest };
      expect((await ada.visitor.post(at(pathOf(asked)), form)).status).toBe(403);
    } finally {
      await set('UPDATE agents SET person_id = NULL WHERE id = $1', [desk.agent.agentId]);
    }
    expect((await decide(ada, asked, 'reject', { reason: 'no' })).status).toBe(200);
  });

  it('shows whatever is asked for as text, and all of it', async () => {
    const hostile = `</textarea></pre><script>alert(1)</script>\u202e\u0000\n"'&`;
    const asked = await desk.ask({
      summary: hostile,
      diff: `--- a\n+++ b\n-${hostile}\n+x`,
      argumentsJson: JSON.stringify({ [hostile]: Array.from({ length: 3_000 }, (_, n) => n) }),
    });
    const page = await open(ada, asked);
    for (const text of ['<script', '\u202e', '\0']) expect(page.text).not.toContain(text);
    expect(page.text).toContain('&lt;/textarea&gt;&lt;/pre&gt;&lt;script&gt;');
    expect(page.text).toContain('2999');
    expect(page.text.match(/<form/g)).toHaveLength(4);
    expect(page.headers['cache-control']).toBe('no-store');
  });

  it('has nothing at what does not exist, and bounds what is sent', async () => {
    expect((await ada.visitor.get(at('/approvals/apr_none'))).status).toBe(404);
    const asked = await desk.ask();
    const form = formOf(await open(ada, asked), 'edit');
    const tooLong = await ada.visitor.post(at(pathOf(asked)), { ...form, arguments: 'x'.repeat(1024 * 1024) });
    expect(tooLong.status).toBe(413);
    const edited = await ada.visitor.post(at(pathOf(asked)), { ...form, arguments: `{"a":"${'x'.repeat(100_000)}"}` });
    expect(edited.text).toContain('<h1>Approved with your arguments</h1>');
    expect((await fetch(at('/approvals'), { headers: fromNewAddress(), redirect: 'manual' })).status).toBe(303);
  });
});
