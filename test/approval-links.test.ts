import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApprovalDesk, type Approver, formOf, newHitlSecret, postFromLink } from './support/approvals.ts';
import { bearer, fromNewAddress } from './support/doors.ts';
import { queryAsOwner } from './support/database.ts';
import { alertOf, Visitor } from './support/visitor.ts';

const secret = newHitlSecret();
let desk: ApprovalDesk;
let ada: Approver;
let admin: Approver;

beforeAll(async () => {
  desk = await ApprovalDesk.open({ HITL_SECRET: secret });
  ada = await desk.approver();
  admin = await desk.approver(['admins']);
}, 120_000);
afterAll(() => desk?.close());

const look = (url: string, method = 'GET') => new Visitor().once(method, url, {});

describe('a link', () => {
  it('shows what is asked for, and decides when its form is sent, without any account in the browser', async () => {
    const { approval, link } = await desk.linked(ada, {
      summary: 'Publish \u202e<b>the</b> video',
      argumentsJson: JSON.stringify({ title: 'a\u202eb<script>', count: 3 }),
    });
    expect(new URL(link.approvalUrl).pathname).toBe(`/v1/hitl/approve/${approval.id}`);
    expect(link).toMatchObject({ personId: ada.id, approvalId: approval.id });
    const page = await look(link.approvalUrl);
    expect(page.status).toBe(200);
    expect(page.text).toContain('&quot;a\\u202eb&lt;script&gt;&quot;');
    expect(page.text).not.toMatch(/\u202e|<script|<b>the/);
    expect(page.text).toContain(approval.digest);
    const decided = await postFromLink(link.approvalUrl, formOf(page, 'approve'));
    expect(decided.status).toBe(200);
    expect(decided.text).toContain('<h1>Approved</h1>');
    expect(await desk.state(approval.id)).toMatchObject({ state: 'APPROVAL_STATE_APPROVED' });
    const [entry] = await desk.audited('approval.decided', approval.id);
    expect(entry).toMatchObject({ actor_id: ada.id, payload: { via: 'link', link_id: link.linkId } });
    expect(entry?.payload['client_address']).toEqual(expect.any(String));
  });

  it('may be opened by whatever opens links: nothing is decided by GET or HEAD, prefetched or not', async () => {
    const { approval, link } = await desk.linked(ada);
    for (const method of ['GET', 'HEAD'])
      for (const headers of [{}, { 'sec-purpose': 'prefetch;prerender', purpose: 'prefetch' }, { accept: '*/*' }])
        expect((await new Visitor().once(method, link.approvalUrl, headers)).status).toBe(200);
    for (const more of ['&action=approve', '&decision=approve&digest=' + approval.digest])
      expect((await look(link.approvalUrl + more)).status).toBe(200);
    for (const method of ['PUT', 'DELETE', 'OPTIONS', 'PATCH'])
      expect((await look(link.approvalUrl, method)).status).toBeGreaterThanOrEqual(400);
    expect(await desk.state(approval.id)).toMatchObject({ state: 'APPROVAL_STATE_PENDING' });
    const [row] = await queryAsOwner(desk.gate.database, 'SELECT used_at FROM approval_links WHERE id = $1', [
      link.linkId,
    ]);
    expect(row).toEqual({ used_at: null });
    // And it still decides.
    expect((await postFromLink(link.approvalUrl, formOf(await look(link.approvalUrl), 'approve'))).status).toBe(200);
  });

  it('rejects with a reason, which who asked reads', async () => {
    const { approval, link } = await desk.linked(ada);
    const form = formOf(await look(link.approvalUrl), 'reject');
    expect((await postFromLink(link.approvalUrl, { ...form, reason: 'Not on a Friday' })).text).toContain(
      '<h1>Rejected</h1>',
    );
    expect(await desk.state(approval.id)).toMatchObject({
      state: 'APPROVAL_STATE_REJECTED',
      reason: 'Not on a Friday',
    });
  });

  it('edits arguments and answers instead', async () => {
    const edited = await desk.linked(ada);
    const form = formOf(await look(edited.link.approvalUrl), 'edit');
    const refused = await postFromLink(edited.link.approvalUrl, { ...form, arguments: '{"path":' });
    expect([refused.status, alertOf(refused)]).toEqual([400, 'arguments must be JSON.']);
    // What was refused used nothing up.
    expect((await postFromLink(edited.link.approvalUrl, { ...form, arguments: '{"path":"/tmp/other"}' })).status).toBe(
      200,
    );
    expect(await desk.state(edited.approval.id)).toMatchObject({ state: 'APPROVAL_STATE_EDITED' });

    const answered = await desk.linked(ada);
    const answer = formOf(await look(answered.link.approvalUrl), 'respond');
    expect((await postFromLink(answered.link.approvalUrl, { ...answer, response: 'Use the other one' })).status).toBe(
      200,
    );
    expect(await desk.state(answered.approval.id)).toMatchObject({ response: 'Use the other one' });
  });

  it('is used once, however many use it at once', async () => {
    const { approval, link } = await desk.linked(ada);
    const page = await look(link.approvalUrl);
    const [yes, no] = [formOf(page, 'approve'), { ...formOf(page, 'reject'), reason: 'no' }];
    const visits = await Promise.all(
      Array.from({ length: 100 }, (_, at) => postFromLink(link.approvalUrl, at % 2 ? yes : no)),
    );
    const statuses = visits.map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(1);
    expect(statuses.filter((status) => status === 409)).toHaveLength(99);
    expect(await desk.audited('approval.decided', approval.id)).toHaveLength(1);
    const again = await postFromLink(link.approvalUrl, yes);
    expect([again.status, alertOf(again)]).toEqual([409, 'This link was used already: it decides once.']);
    const seen = await look(link.approvalUrl);
    expect([seen.status, alertOf(seen)]).toEqual([409, 'This link was used already: it decides once.']);
  });

  it('to one gate is none to another', async () => {
    const ideate = await desk.linked(ada);
    const prepublish = await desk.askAtGate('prepublish', { runId: ideate.runId });
    const page = await look(ideate.link.approvalUrl);
    for (const action of ['approve', 'reject']) {
      const form: Record<string, string> = {
        ...formOf(page, action),
        digest: prepublish.approval.digest,
        reason: 'x',
      };
      const path = `${desk.gate.url}/v1/hitl/approve/${prepublish.approval.id}`;
      const refused = await postFromLink(path, form);
      expect([refused.status, alertOf(refused)]).toEqual([
        403,
        'This link does not hold: it is not whole, or not for this.',
      ]);
      expect((await look(`${path}?token=${form['token']}`)).status).toBe(403);
    }
    // Nor does it decide on what its page did not show.
    const other = { ...formOf(page, 'approve'), digest: prepublish.approval.digest };
    expect((await postFromLink(ideate.link.approvalUrl, other)).status).toBe(409);
    for (const { id } of [ideate.approval, prepublish.approval])
      expect(await desk.state(id)).toMatchObject({ state: 'APPROVAL_STATE_PENDING' });
  });

  it('with any byte changed does not hold, and says no more than that', async () => {
    const { approval, link } = await desk.linked(ada);
    const answers = new Set<string>();
    for (let at = 0; at < link.token.length; at += 3) {
      const changed = link.token.slice(0, at) + (link.token[at] === 'A' ? 'B' : 'A') + link.token.slice(at + 1);
      const seen = await look(`${desk.gate.url}/v1/hitl/approve/${approval.id}?token=${changed}`);
      answers.add(`${seen.status} ${alertOf(seen)}`);
    }
    for (const token of ['', 'x', `${link.token}x`, '%00']) {
      const seen = await look(`${desk.gate.url}/v1/hitl/approve/${approval.id}?token=${token}`);
      answers.add(`${seen.status} ${alertOf(seen)}`);
    }
    expect(answers).toEqual(new Set(['403 This link does not hold: it is not whole, or not for this.']));
    expect((await look(`${desk.gate.url}/v1/hitl/approve/${approval.id}?token=a&token=b`)).status).toBe(403);
    expect((await look(`${desk.gate.url}/v1/hitl/approve/${approval.id}`)).status).toBe(403);
  });

  it('that has expired neither shows nor decides', async () => {
    const { approval, link } = await desk.linked(ada);
    const form = formOf(await look(link.approvalUrl), 'approve');
    await queryAsOwner(
      desk.gate.database,
      "UPDATE approval_links SET expires_at = now() - interval '1 s' WHERE id = $1",
      [link.linkId],
    );
    for (const visit of [await look(link.approvalUrl), await postFromLink(link.approvalUrl, form)])
      expect([visit.status, alertOf(visit)]).toEqual([409, 'This link has expired: ask for another one, or sign in.']);
    expect(await desk.state(approval.id)).toMatchObject({ state: 'APPROVAL_STATE_PENDING' });
  });

  it('whose person lost the right meanwhile decides nothing', async () => {
    const eve = await desk.approver();
    const { approval, link } = await desk.linked(eve);
    const form = formOf(await look(link.approvalUrl), 'approve');
    await desk.gate.api('ProjectService/UpdatePerson', {
      personId: eve.id,
      updateMask: 'roles',
      roles: { roles: ['PERSON_ROLE_AUDITOR'] },
    });
    for (const visit of [await look(link.approvalUrl), await postFromLink(link.approvalUrl, form)])
      expect(visit.status).toBe(403);
    expect(await desk.state(approval.id)).toMatchObject({ state: 'APPROVAL_STATE_PENDING' });
  });

  it.each([
    ['of high risk', { risk: 'APPROVAL_RISK_HIGH' }],
    ['that takes two people', { quorum: 2 }],
  ])('to what is %s shows its bearer no arguments and no form, and leads to signing in', async (_, more) => {
    const { approval, link } = await desk.linked(ada, { argumentsJson: '{"secretive":"kept back"}', ...more });
    const page = await look(link.approvalUrl);
    expect(page.status).toBe(200);
    expect(page.text).not.toContain('kept back');
    expect(page.text).not.toContain('<form');
    expect(page.text).toContain(`/sign-in?return_to=${encodeURIComponent(`/approvals/${approval.id}`)}`);
    const forwarded = await postFromLink(link.approvalUrl, {
      token: link.token,
      action: 'approve',
      digest: approval.digest,
    });
    expect(forwarded.status).toBe(403);
    expect(await desk.state(approval.id)).toMatchObject({ state: 'APPROVAL_STATE_PENDING' });
  });

  it('is kept from others: nothing of it is stored, framed, referred to, or in the log', async () => {
    const { approval, link } = await desk.linked(ada);
    const answers = [await look(link.approvalUrl), await look(`${link.approvalUrl}x`)];
    answers.push(await postFromLink(link.approvalUrl, { token: link.token }));
    for (const { headers, text } of answers) {
      expect(headers).toMatchObject({
        'cache-control': 'no-store',
        'referrer-policy': 'no-referrer',
        'x-frame-options': 'DENY',
        'x-content-type-options': 'nosniff',
      });
      expect(headers['content-security-policy']).toMatch(
        /default-src 'none'.*form-action 'self'.*frame-ancestors 'none'/,
      );
      expect(headers['set-cookie']).toBeUndefined();
      expect(text).not.toMatch(/<script|(src|href)="(https?:)?\/\//);
    }
    const log = await desk.gate.settledLog();
    expect(log).toContain('/v1/hitl/approve/:id');
    for (const part of [link.token, link.token.split('.')[2] ?? '', link.token.split('.')[3] ?? '', secret])
      expect(log + desk.gate.output).not.toContain(part);
    const rows = await queryAsOwner(desk.gate.database, 'SELECT payload::text FROM audit_entries WHERE target = $1', [
      approval.id,
    ]);
    expect(JSON.stringify(rows)).not.toContain(link.token.split('.')[3]);
  });

  it('is not sent from elsewhere, by a page of whatever site', async () => {
    const { approval, link } = await desk.linked(ada);
    const form = formOf(await look(link.approvalUrl), 'approve');
    for (const headers of [
      { origin: 'https://evil.example.com' },
      { origin: 'null', 'sec-fetch-site': 'cross-site' },
      { origin: 'null', 'sec-fetch-site': 'same-site' },
    ])
      expect((await postFromLink(link.approvalUrl, form, headers)).status).toBe(403);
    // A hidden origin is taken here and nowhere else.
    expect((await new Visitor().post(`${desk.gate.url}/sign-in`, { key: 'x' }, { origin: 'null' })).status).toBe(403);
    expect(await desk.state(approval.id)).toMatchObject({ state: 'APPROVAL_STATE_PENDING' });
  });

  it('tells the audit log who looked, how and from where, once an hour from each place and no more than twenty times', async () => {
    const { approval, link } = await desk.linked(ada);
    const visitor = new Visitor();
    for (let count = 0; count < 5; count++) await visitor.get(link.approvalUrl);
    const [first, ...more] = await desk.audited('approval.viewed', approval.id);
    expect(more).toEqual([]);
    expect(first).toMatchObject({ actor_id: ada.id, payload: { via: 'link', link_id: link.linkId } });
    for (let count = 0; count < 30; count++) await look(link.approvalUrl);
    const all = await desk.audited('approval.viewed', approval.id);
    expect(all).toHaveLength(20);
    expect(new Set(all.map(({ payload }) => payload['client_address'])).size).toBe(20);
  });
});

describe('making links', () => {
  it('is for people themselves, for those who may decide, and by administrators for others', async () => {
    const { runId, approval } = await desk.askAtGate();
    const developer = await desk.approver(['engineers']);
    const cases: [string, string, object, number, string?][] = [
      ['their own', ada.key, {}, 200],
      ["another's, by no administrator", ada.key, { person: admin.id }, 403, 'approval.link.other'],
      ["another's, by an administrator", admin.key, { person: ada.email }, 200],
      ['for somebody who may not decide', admin.key, { person: developer.id }, 403, 'approval.link.person'],
      ['by somebody who may not decide', developer.key, {}, 403, 'scope:approvals:decide'],
      ['by an agent', desk.agent.secret, {}, 403, 'scope:approvals:decide'],
      ['by the shared admin key', desk.gate.adminKey, { person: ada.id }, 403, 'scope:approvals:decide'],
      ['for nobody', admin.key, { person: 'psn_nobody' }, 404],
      ['with what is not known', ada.key, { forever: true }, 400],
      ['for too short', ada.key, { expires_in: 1 }, 400],
    ];
    for (const [what, key, body, status, rule] of cases) {
      const made = await desk.mint(key, runId, 'ideate', body);
      expect([made.status, made.json.rule], `${what}: ${JSON.stringify(made.json)}`).toEqual([status, rule]);
      expect(made.headers.get('cache-control')).toBe('no-store');
    }
    const minted = await desk.audited('approval.link_minted', approval.id);
    expect(minted.map(({ actor_id: by, payload }) => [by, payload['person_id']])).toEqual([
      [ada.id, ada.id],
      [admin.id, ada.id],
    ]);
    expect((await desk.mint(ada.key, runId, 'prepublish')).status).toBe(404);
    expect((await desk.mint(ada.key, 'run_other', 'ideate')).status).toBe(404);
  });

  it('is not for who asked, nor by them for somebody else', async () => {
    const { run } = await desk.gate.api<{ run: { id: string } }>(
      'RunService/StartRun',
      { workflow: 'videos', agentId: desk.agent.agentId },
      admin.key,
    );
    const { approval } = await desk.gate.api<{ approval: { id: string } }>(
      'ApprovalService/RequestApproval',
      {
        kind: 'APPROVAL_KIND_TOOL_CALL',
        action: 'files.delete',
        argumentsJson: '{"path":"/own"}',
        summary: 'Own',
        runId: run.id,
      },
      admin.key,
    );
    expect((await desk.mint(admin.key, run.id, approval.id)).json.rule).toBe('approval.link.person');
    expect((await desk.mint(admin.key, run.id, approval.id, { person: ada.id })).json.rule).toBe(
      'approval.link.minter',
    );
    expect((await desk.mint(ada.key, run.id, approval.id)).status).toBe(200);
  });

  it('works by GET with a credential in a header, and never by the cookie of a session', async () => {
    const { runId, approval } = await desk.askAtGate();
    const made = await desk.mint(ada.key, runId, 'ideate', { expires_in: '3600' }, 'GET');
    expect(made).toMatchObject({
      status: 200,
      json: { approvalId: approval.id, expiresIn: expect.stringMatching(/^3(59\d|600)s$/) },
    });
    const path = `${desk.gate.url}/v1/hitl/link/${runId}/ideate`;
    for (const method of ['GET', 'POST']) expect((await ada.visitor.once(method, path, {})).status).toBe(401);
    expect((await fetch(`${path}?token=${ada.key}`, { headers: fromNewAddress() })).status).toBeGreaterThanOrEqual(400);
    // What only asks whether it is there makes none.
    expect((await fetch(path, { method: 'HEAD', headers: { ...bearer(ada.key), ...fromNewAddress() } })).status).toBe(
      404,
    );
    expect(await desk.audited('approval.link_minted', approval.id)).toHaveLength(1);
  });

  it('stops where twenty of one person to one request hold, and where it is decided', async () => {
    const { runId, approval } = await desk.askAtGate();
    const made = await Promise.all(Array.from({ length: 25 }, () => desk.mint(ada.key, runId, 'ideate')));
    expect(made.filter(({ status }) => status === 200)).toHaveLength(20);
    expect(new Set(made.map(({ status }) => status))).toEqual(new Set([200, 409]));
    expect((await desk.mint(admin.key, runId, 'ideate')).status).toBe(200);
    const { approvalUrl } = made.find(({ status }) => status === 200)!.json;
    await postFromLink(approvalUrl, formOf(await look(approvalUrl), 'approve'));
    expect((await desk.mint(admin.key, runId, approval.id)).status).toBe(404);
  });
});
