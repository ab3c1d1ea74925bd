import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ApprovalDesk, type Approver, formOf, newHitlSecret, postFromLink } from './support/approvals.ts';
import { bearer, eventually, knock, metrics } from './support/doors.ts';
import { type MailSink, type ReceivedMail, startMailSink } from './support/mail-sink.ts';
import { Visitor } from './support/visitor.ts';

const scraperKey = 'scraper-1a2b3c4d5e6f7g8h9i0j1k2l3m4n5';

let mails: MailSink;
let chat: Server;
let posted: { path: string; text: string }[] = [];
let desk: ApprovalDesk;
let ada: Approver;
let bo: Approver;

beforeAll(async () => {
  mails = await startMailSink();
  chat = createServer((request, response) => {
    void request.toArray().then((chunks: Buffer[]) => {
      const { text } = JSON.parse(Buffer.concat(chunks).toString()) as { text: string };
      posted.push({ path: request.url ?? '', text });
      response.end('ok');
    });
  });
  chat.listen(0, '127.0.0.1');
  await once(chat, 'listening');
  const address = chat.address();
  const url = `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`;
  desk = await ApprovalDesk.open(
    {
      HITL_SECRET: newHitlSecret(),
      METRICS_API_KEY: scraperKey,
      SMTP_URL: `smtp://127.0.0.1:${mails.port}?tls=off`,
      MAIL_FROM: 'Portcullis <gate@example.com>',
    },
    `approvals:
  chats:
    ops: { url: '${url}/ops' }
    admins: { url: '${url}/admins', groups: ['role:admin'] }`,
  );
  ada = await desk.approver();
  bo = await desk.approver();
}, 120_000);
afterAll(async () => {
  await desk?.close();
  chat?.close();
  await mails?.close();
});

/** The mail to somebody about a request, when it came. */
function mailTo({ email }: Approver, approvalId: string): Promise<ReceivedMail> {
  return eventually(async () => {
    const found = mails.received.find(({ to, mail }) => to.includes(email) && (mail.text ?? '').includes(approvalId));
    expect(found).toBeDefined();
    return found as ReceivedMail;
  });
}

const linkIn = ({ mail }: ReceivedMail) => /^http\S+$/m.exec(mail.text ?? '')?.[0] ?? '';

it('a request comes to each approver by mail, and whoever opens their link decides it there', async () => {
  const approval = await desk.ask({ summary: 'Delete <b>everything</b>\nBcc: spy@example.com' });
  const toAda = await mailTo(ada, approval.id);
  const toBo = await mailTo(bo, approval.id);
  expect(linkIn(toAda)).not.toBe(linkIn(toBo));
  expect(new URL(linkIn(toAda)).origin).toBe(desk.gate.url);
  expect(toAda.mail.html).toContain('Delete &lt;b&gt;everything&lt;/b&gt;');
  const page = await new Visitor().once('GET', linkIn(toAda), {});
  expect(page.status).toBe(200);
  expect(page.text).toContain(approval.digest);
  expect(await desk.state(approval.id)).toMatchObject({ state: 'APPROVAL_STATE_PENDING' });
  expect((await postFromLink(linkIn(toAda), formOf(page, 'approve'))).text).toContain('<h1>Approved</h1>');
  expect(await desk.state(approval.id)).toMatchObject({ state: 'APPROVAL_STATE_APPROVED' });
  const [decided] = await desk.audited('approval.decided', approval.id);
  expect(decided).toMatchObject({ actor_id: ada.id, payload: { via: 'link' } });
  const minted = await desk.audited('approval.link_minted', approval.id);
  expect(minted.map(({ actor_id: actor }) => actor)).toEqual(['email', 'email']);
});

it('what is of high risk leads to a page that asks who they are, by mail and in chats', async () => {
  posted = [];
  const approval = await desk.ask({ risk: 'APPROVAL_RISK_HIGH', groups: ['role:approver'] });
  const mail = await mailTo(ada, approval.id);
  expect(linkIn(mail)).toBe(`${desk.gate.url}/approvals/${approval.id}`);
  const page = await ada.visitor.get(linkIn(mail));
  expect(page.status).toBe(200);
  expect(page.text).toContain(approval.digest);
  await eventually(async () => {
    expect(posted).toHaveLength(1);
    return posted;
  });
  expect(posted[0]?.path).toBe('/ops');
  expect(posted[0]?.text).toContain(`<${desk.gate.url}/approvals/${approval.id}|Look at it and decide>`);
});

it('tries are counted, and the secrets of messages are in no log', async () => {
  const { text } = await knock(desk.gate.url, metrics, bearer(scraperKey));
  expect(text).toMatch(/^approval_messages_total\{channel="email",outcome="sent"\} [1-9]/m);
  expect(text).toMatch(/^approval_messages_total\{channel="chat",outcome="sent"\} [1-9]/m);
  expect(text).toMatch(/^egress_requests_total\{owner="approval",outcome="answered"\} [1-9]/m);
  const log = await desk.gate.settledLog();
  expect(log).not.toMatch(/token=p1\./);
  expect(log).not.toContain('/ops');
});
