import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { queryAsOwner } from '../../../../test/support/database.ts';
import { type MailSink, startMailSink } from '../../../../test/support/mail-sink.ts';
import { approvalMessageTriesMax, approvalMessagesPerHourMax } from '../../base/approval-limits.ts';
import { createLogger, logDestination } from '../../base/log.ts';
import type { Principal } from '../../identity/model.ts';
import { createEgress, type Egress } from '../../net/egress/egress.ts';
import { inTransaction } from '../../pg/tx.ts';
import { LinkMint } from '../links/mint.ts';
import { linkKeys, openLink } from '../links/token.ts';
import { insertNotice } from '../notices.ts';
import { decisionOf, makeWorld, type World } from '../testing/world.ts';
import { createChat } from './chat.ts';
import { createEmail } from './email.ts';
import { Messenger } from './messenger.ts';
import type { Audience, Channel } from './model.ts';

const origin = 'https://gate.example';
const keys = linkKeys(['s'.repeat(16) + 'ecret-of-the-tests']);
const log = createLogger('silent', logDestination(null, 2));

let world: World;
let ada: Principal;
let mails: MailSink;
let chat: Server;
let chatUrl = '';
let posted: { path: string; body: { text: string; blocks: object[] } }[] = [];
let answerWith: { status: number; headers?: Record<string, string> } = { status: 200 };
let egress: Egress;
const opened: Channel[] = [];

beforeAll(async () => {
  world = await makeWorld();
  ada = await world.person('ada', ['approver']);
  await world.person('bo', ['approver'], { teams: ['ops'] });
  await world.person('dev', ['developer']);
  mails = await startMailSink();
  chat = createServer((request, response) => {
    void request.toArray().then((chunks: Buffer[]) => {
      posted.push({ path: request.url ?? '', body: JSON.parse(Buffer.concat(chunks).toString()) });
      response.writeHead(answerWith.status, answerWith.headers).end('ok');
    });
  });
  chat.listen(0, '127.0.0.1');
  await once(chat, 'listening');
  const address = chat.address();
  chatUrl = `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}/services/T0/B0/secret`;
  egress = createEgress({ allowPrivate: [] });
});
afterAll(async () => {
  await egress?.close();
  chat?.close();
  await mails?.close();
  await world?.db.drop();
});
beforeEach(async () => {
  await queryAsOwner(world.db, 'DELETE FROM approvals');
  (mails.received as unknown[]).length = 0;
  mails.refuseWith = () => null;
  posted = [];
  answerWith = { status: 200 };
});
afterEach(() => {
  for (const channel of opened.splice(0)) channel.close();
});

function email(): Channel {
  const channel = createEmail({
    host: '127.0.0.1',
    port: mails.port,
    tls: 'off',
    user: null,
    password: null,
    from: 'gate@example.com',
  });
  opened.push(channel);
  return channel;
}

const place = (audience: Audience, name = 'ops') => createChat(egress, { name, url: chatUrl, audience });
const readers: Audience = { kind: 'readers', projectId: 'prj_a', groups: [] };

function messenger(channels: readonly Channel[], canSign = true): Messenger {
  const mint = new LinkMint(keys, canSign);
  return new Messenger({
    pool: world.pool,
    mint,
    channels,
    origin,
    pagePath: (id) => `/approvals/${id}`,
    log,
    onTry: () => undefined,
  });
}

/** All that is due is sent. */
async function run(told: Messenger): Promise<void> {
  await told.spread();
  for (const channel of told.channels) await told.send(channel);
}

const sentTo = () => mails.received.map(({ to }) => to.join()).toSorted();
const rows = () =>
  queryAsOwner<{ channel: string; person_id: string; state: string; tries: number; note: string }>(
    world.db,
    'SELECT channel, person_id, state, tries, note FROM approval_messages ORDER BY channel, person_id',
  );
/** As if the pause were over. */
const makeDue = () => queryAsOwner(world.db, `UPDATE approval_messages SET due_at = clock_timestamp()`);

describe('People who may decide', () => {
  it('each get one mail with a link of their own, however many processes tell them', async () => {
    const { id } = await world.asked();
    await Promise.all([run(messenger([email()])), run(messenger([email()]))]);
    await run(messenger([email()]));
    expect(sentTo()).toEqual(['ada@example.com', 'bo@example.com']);
    const tokens = mails.received.map(({ mail, to }) => {
      const url = new URL(/https:\S+/.exec(mail.text ?? '')?.[0] ?? '');
      expect(url.origin + url.pathname).toBe(`${origin}/v1/hitl/approve/${id}`);
      return [to.join(), openLink(keys, url.searchParams.get('token') ?? '')?.personId];
    });
    expect(Object.fromEntries(tokens)).toEqual({ 'ada@example.com': 'psn_ada', 'bo@example.com': 'psn_bo' });
    expect(await world.audited(id)).toEqual(['approval.requested', 'approval.link_minted', 'approval.link_minted']);
  });

  it('are told of a page that asks who they are where a link must not decide', async () => {
    for (const more of [{ risk: 'high' as const }, { quorum: 2 }]) {
      const { id } = await world.asked(more);
      await run(messenger([email()]));
      expect(mails.received.map(({ mail }) => /https:\S+/.exec(mail.text ?? '')?.[0])).toEqual(
        Array.from({ length: 2 }, () => `${origin}/approvals/${id}`),
      );
      (mails.received as unknown[]).length = 0;
    }
    const { id } = await world.asked();
    await run(messenger([email()], false));
    expect(mails.received[0]?.mail.text).toContain(`${origin}/approvals/${id}`);
    expect(mails.received[0]?.mail.text).not.toContain('token');
  });

  it('are those of its groups; who comes in by escalation is told then, and nobody twice', async () => {
    const { id } = await world.asked({ groups: ['team:ops'] });
    await run(messenger([email()]));
    expect(sentTo()).toEqual(['bo@example.com']);
    await queryAsOwner(world.db, `UPDATE approvals SET groups = groups || '{role:approver}', rung = 1 WHERE id = $1`, [
      id,
    ]);
    await inTransaction(world.pool, (tx) => insertNotice(tx, { approvalId: id, rung: 1, groups: ['role:approver'] }));
    await run(messenger([email()]));
    expect(sentTo()).toEqual(['ada@example.com', 'bo@example.com']);
  });

  it('hear nothing of what is decided, over or not theirs any more when its message would leave', async () => {
    const told = messenger([email(), place(readers)]);
    const decided = await world.asked();
    await told.spread();
    await world.approvals.decide(decisionOf(ada, decided.id));
    const cancelled = await world.asked();
    await queryAsOwner(world.db, `UPDATE approvals SET state = 'cancelled', ended_at = now() WHERE id = $1`, [
      cancelled.id,
    ]);
    await told.spread();
    const expired = await world.asked();
    await told.spread();
    await queryAsOwner(world.db, `UPDATE approvals SET expires_at = clock_timestamp() WHERE id = $1`, [expired.id]);
    for (const channel of told.channels) await told.send(channel);
    expect([mails.received, posted]).toEqual([[], []]);
    const revoked = await world.asked({ groups: ['person:ada@example.com'] });
    await told.spread();
    await queryAsOwner(world.db, `UPDATE people SET roles = '{developer}' WHERE id = 'psn_ada'`);
    await told.send(email());
    await queryAsOwner(world.db, `UPDATE people SET roles = '{approver}' WHERE id = 'psn_ada'`);
    expect(mails.received).toEqual([]);
    expect((await rows()).filter(({ state }) => state !== 'dropped')).toEqual([
      { channel: 'chat:ops', person_id: '', state: 'waiting', tries: 0, note: '' },
    ]);
    expect((await world.found(revoked.id)).state).toBe('pending');
  });
});

describe('A message that does not get through', () => {
  it('is tried again after a pause, so often, and then given up', async () => {
    await world.asked({ groups: ['person:ada@example.com'] });
    mails.refuseWith = () => 451;
    const told = messenger([email()]);
    await run(told);
    await run(told);
    expect(await rows()).toMatchObject([{ state: 'waiting', tries: 1, note: 'EENVELOPE 451' }]);
    for (let n = 0; n < approvalMessageTriesMax + 3; n++) {
      await makeDue();
      await run(told);
    }
    expect(await rows()).toMatchObject([{ state: 'failed', tries: approvalMessageTriesMax }]);
    expect(mails.received).toEqual([]);
  });

  it('reaches its person when the server is back, and does not keep it from others', async () => {
    await world.asked();
    mails.refuseWith = (address) => (address.startsWith('ada') ? 451 : null);
    const told = messenger([email()]);
    await run(told);
    expect(sentTo()).toEqual(['bo@example.com']);
    mails.refuseWith = () => null;
    await makeDue();
    await run(told);
    expect(sentTo()).toEqual(['ada@example.com', 'bo@example.com']);
    expect((await rows()).map(({ state }) => state)).toEqual(['sent', 'sent']);
  });

  it('is taken up by another process when its own died over it', async () => {
    await world.asked({ groups: ['person:ada@example.com'] });
    const dying = { ...email(), send: () => Promise.reject(new Error('as by kill -9')) };
    await run(messenger([dying]));
    await run(messenger([email()]));
    expect(mails.received).toEqual([]);
    await makeDue();
    await run(messenger([email()]));
    expect(sentTo()).toEqual(['ada@example.com']);
  });
});

describe('A requester', () => {
  it('cannot fill an inbox by asking again and again', async () => {
    const told = messenger([email()]);
    const groups = ['person:ada@example.com'];
    for (let n = 0; n < approvalMessagesPerHourMax + 5; n++) {
      const { id } = await world.asked({ groups });
      await told.spread();
      await queryAsOwner(world.db, `UPDATE approvals SET state = 'cancelled', ended_at = now() WHERE id = $1`, [id]);
    }
    const written = await rows();
    expect(written.filter(({ note }) => note === 'too many of this requester')).toHaveLength(5);
    // Another's requests are told of all the same.
    const other = { ...world.agent, id: 'agt_other', name: 'other' };
    await world.asked({
      groups,
      requester: { kind: 'agent', id: other.id, name: 'other', agentId: null, personId: null, keyId: null },
    });
    await told.spread();
    for (let n = 0; n < 10; n++) await told.send(told.channels[0] ?? email());
    expect(sentTo()).toEqual(['ada@example.com']);
  });
});

describe('A place in a chat', () => {
  it('where many read gets one message, with a link that decides nothing by itself', async () => {
    const { id } = await world.asked({ summary: 'Tell <!channel> `now`' });
    await run(messenger([place(readers)]));
    expect(posted).toHaveLength(1);
    const [{ path, body } = expect.fail('nothing came')] = posted;
    expect(path).toBe('/services/T0/B0/secret');
    expect(body.text).toContain(`<${origin}/approvals/${id}|Look at it and decide>`);
    expect(body.text).toContain("Tell &lt;!channel&gt; 'now'");
    expect(JSON.stringify(body)).not.toContain('token=');
  });

  it('where one person reads gets the link of that person', async () => {
    await world.asked();
    await run(messenger([place({ kind: 'person', projectId: 'prj_a', email: 'Ada@example.com' })]));
    const token = /token=([\w.-]+)/.exec(posted[0]?.body.text ?? '')?.[1] ?? '';
    expect(openLink(keys, token)?.personId).toBe('psn_ada');
    await world.asked({ groups: ['team:ops'] });
    await run(messenger([place({ kind: 'person', projectId: 'prj_a', email: 'ada@example.com' })]));
    expect(posted).toHaveLength(1);
  });

  it('hears of its own project and groups alone', async () => {
    await world.asked({ groups: ['team:ops'] });
    await run(
      messenger([
        place({ ...readers, projectId: 'prj_b' }, 'other-project'),
        place({ ...readers, groups: ['role:approver'] }, 'other-group'),
        place({ ...readers, groups: ['team:ops', 'role:admin'] }, 'own-group'),
      ]),
    );
    expect((await rows()).map(({ channel }) => channel)).toEqual(['chat:own-group']);
    expect(posted).toHaveLength(1);
  });

  it.each([
    [404, 'failed'],
    [302, 'failed'],
    [429, 'waiting'],
    [500, 'waiting'],
  ])('that answers %i has its message %s', async (status, state) => {
    await world.asked();
    answerWith = { status, headers: { 'retry-after': '120', location: 'http://169.254.169.254/' } };
    await run(messenger([place(readers)]));
    expect(await rows()).toMatchObject([{ state, note: `status ${status}` }]);
    const [due] = await queryAsOwner<{ later: boolean }>(
      world.db,
      `SELECT due_at > clock_timestamp() + interval '100 s' AS later FROM approval_messages`,
    );
    expect(due?.later).toBe(true);
    expect(posted).toHaveLength(1);
  });

  it('that is slow or gone does not keep mail from leaving', async () => {
    await world.asked({ groups: ['person:ada@example.com'] });
    const gone = createChat(egress, { name: 'gone', url: 'http://127.0.0.1:1/', audience: readers });
    await run(messenger([gone, email()]));
    expect(sentTo()).toEqual(['ada@example.com']);
    expect(await rows()).toMatchObject([
      { channel: 'chat:gone', state: 'waiting', note: 'connect' },
      { state: 'sent' },
    ]);
  });
});
