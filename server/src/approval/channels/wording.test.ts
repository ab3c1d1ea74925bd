import { describe, expect, it } from 'vitest';
import type { Approval } from '../model.ts';
import { chatPayload, mailWords } from './wording.ts';

const approval: Approval = {
  id: 'apr_1',
  projectId: 'prj_a',
  kind: 'tool_call',
  state: 'pending',
  risk: 'normal',
  requester: { kind: 'agent', id: 'agt_a', name: 'builder', agentId: 'agt_a', personId: null, keyId: null },
  runId: 'run_a',
  action: 'mail.send',
  what: '{}',
  digest: Buffer.alloc(32),
  editedWhat: null,
  editedDigest: null,
  summary: 'Send a mail to all customers.',
  diff: null,
  rule: null,
  groups: ['role:approver'],
  quorum: 1,
  ladder: [],
  rung: 0,
  createdAt: 0,
  expiresAt: Date.UTC(2026, 10, 24, 1, 2),
  endedAt: null,
  decidedBy: null,
  decidedVia: null,
  reason: '',
  response: null,
  usedAt: null,
};
const lead = {
  url: 'https://gate.example/v1/hitl/approve/apr_1?token=p1.a.b&x=1',
  decides: true,
  endsAt: approval.expiresAt,
};

const hostile = [
  `"><script>alert(1)</script><img src=x onerror=alert(1)>`,
  `</blockquote><a href="https://evil.example/approve">Look at it and decide</a>`,
  'fine\r\nBcc: everyone@example.com\r\nSubject: won',
  '<!channel> <@U012345> <https://evil.example|Look at it and decide> *bold* _it_ @here',
  '```\n[Look at it and decide](https://evil.example)\n```',
  '\u202Eevil\u202C \u001b[31mred\u001b[0m \u0000 \u2028 \u200B',
  'x'.repeat(50_000),
  '&lt;script&gt; & \' " `',
];

describe('An e-mail about a request', () => {
  it('says what is asked, by whom, until when, and where to decide', () => {
    const { subject, text, html } = mailWords(approval, lead);
    expect(subject).toBe('Approval needed: a tool call');
    for (const words of [text, html]) {
      expect(words).toContain('builder (agent)');
      expect(words).toContain('2026-11-24 01:02 UTC');
      expect(words).toContain('Send a mail to all customers.');
      expect(words).toContain('This link is yours alone');
    }
    expect(text).toContain(`\n${lead.url}\n`);
    expect(html).toContain('href="https://gate.example/v1/hitl/approve/apr_1?token=p1.a.b&amp;x=1"');
  });

  it.each(hostile)('takes nothing of its requester for markup or a header: %j', (evil) => {
    const { subject, text, html } = mailWords(
      { ...approval, summary: evil, action: evil, requester: { ...approval.requester, name: evil } },
      lead,
    );
    expect(subject).toBe('Approval needed: a tool call');
    expect(html.match(/<(?!\/?(?:html|body|p|br|a|table|tr|th|td|blockquote)\b|!doctype html>)/g)).toBeNull();
    expect(html.match(/<a /g)).toHaveLength(1);
    expect(html.match(/<blockquote /g)).toHaveLength(1);
    expect(html).not.toMatch(/<[^>]*\bon\w+=/);
    // What is not ours stands in quoted lines, or behind the name of a fact.
    const ours =
      /^(?:> |(?:Who asks|Action|Run|Until|Request): |https:\/\/gate\.example\/|Your decision|This link|What is asked|Nothing happens|$)/;
    expect(text.split('\n').filter((line) => !ours.test(line))).toEqual([]);
    expect((text + html).replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    expect(text.length + html.length).toBeLessThan(20_000);
  });
});

describe('A message to a chat', () => {
  it.each(hostile)('takes nothing of its requester for markup: %j', (evil) => {
    const payload = chatPayload(
      { ...approval, summary: evil, action: evil, requester: { ...approval.requester, name: evil } },
      lead,
    ) as { text: string; blocks: { type: string }[] };
    // The one command is our link; the one block of code is ours, and closed by us.
    expect(payload.text.match(/<[^>]*>/g)).toEqual([
      '<https://gate.example/v1/hitl/approve/apr_1?token=p1.a.b&amp;x=1|Look at it and decide>',
    ]);
    expect(payload.text.split('```')).toHaveLength(3);
    expect(payload.text.indexOf('```')).toBeLessThan(payload.text.indexOf('Who asks'));
    expect(payload.text.endsWith('\n```')).toBe(true);
    expect(JSON.stringify(payload)).not.toContain('mrkdwn');
    expect(payload.blocks.length).toBe(5);
    expect(JSON.stringify(payload).length).toBeLessThan(20_000);
  });

  it('says which is high risk, and that it takes a sign-in', () => {
    const page = { url: 'https://gate.example/approvals/apr_1', decides: false, endsAt: approval.expiresAt };
    const payload = chatPayload({ ...approval, risk: 'high' }, page) as { text: string };
    expect(payload.text).toContain('Approval needed: a tool call (high risk)');
    expect(payload.text).toContain('It takes your own sign-in, a moment ago.');
  });
});
