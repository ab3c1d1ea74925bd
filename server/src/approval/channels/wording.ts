import { demandsOf } from '../rules.ts';
import type { Approval, ApprovalKind } from '../model.ts';
import { shown } from '../text.ts';
import type { Lead } from './model.ts';

/** One request in the words of a message. Everything that the requester had a say in is quoted, and nothing of it is markup. */
export interface Words {
  readonly subject: string;
  readonly text: string;
  readonly html: string;
}

const summaryCharsMax = 1_200;
const lineCharsMax = 160;

const kinds: Record<ApprovalKind, string> = {
  tool_call: 'a tool call',
  model_call: 'a model call',
  run_gate: 'the next step of a run',
  policy_change: 'a change of policy',
  kill_release: 'the release of a kill switch',
};

/** An e-mail about a request. */
export function mailWords(approval: Approval, lead: Lead): Words {
  const facts = factsOf(approval);
  const summary = shown(approval.summary, summaryCharsMax);
  const subject = `Approval needed: ${kinds[approval.kind]}${approval.risk === 'high' ? ' (high risk)' : ''}`;
  const how = howOf(approval, lead);
  const text = [
    `Your decision is asked for ${kinds[approval.kind]}.`,
    `${how}\n${lead.url}`,
    facts.map(([name, value]) => `${name}: ${value}`).join('\n'),
    `What is asked, in the words of who asks:\n${quoted(summary)}`,
    notAsked,
  ].join('\n\n');
  const rows = facts
    .map(([name, value]) => `<tr><th align="left">${name}</th><td>${escaped(value)}</td></tr>`)
    .join('');
  const html = `<!doctype html><html lang="en"><body>
<p>Your decision is asked for ${kinds[approval.kind]}.</p>
<p>${escaped(how)}<br><a href="${escaped(lead.url)}">Look at it and decide</a></p>
<table cellpadding="4">${rows}</table>
<p>What is asked, in the words of who asks:</p>
<blockquote style="white-space: pre-wrap; border-left: 3px solid #999; margin: 0; padding-left: 1em">${escaped(summary)}</blockquote>
<p>${notAsked}</p>
</body></html>`;
  return { subject, text: `${text}\n`, html };
}

/**
 * The same as a message to an incoming webhook in Slack's format. `text` alone says all, for those that know no blocks; in it, texts
 * of others stand in a block of code, which neither Slack's nor Mattermost's markup reaches into.
 */
export function chatPayload(approval: Approval, lead: Lead): object {
  const title = `Approval needed: ${kinds[approval.kind]}${approval.risk === 'high' ? ' (high risk)' : ''}`;
  const summary = shown(approval.summary, summaryCharsMax);
  const facts = factsOf(approval).map(([name, value]) => `${name}: ${value}`);
  const code = [...facts, '', summary].join('\n').replaceAll('`', "'");
  const how = howOf(approval, lead);
  return {
    text: `${title}\n<${chatUrl(lead.url)}|Look at it and decide>. ${how}\n\`\`\`\n${chatEscaped(code)}\n\`\`\``,
    unfurl_links: false,
    unfurl_media: false,
    blocks: [
      { type: 'header', text: plain(title) },
      { type: 'section', text: plain(facts.join('\n')) },
      { type: 'section', text: plain(summary === '' ? '(no summary)' : summary) },
      { type: 'context', elements: [plain(how)] },
      { type: 'actions', elements: [{ type: 'button', text: plain('Look at it and decide'), url: lead.url }] },
    ],
  };
}

const notAsked = 'Nothing happens until somebody decides. Opening the link decides nothing.';

function factsOf(approval: Approval): [name: string, value: string][] {
  return [
    ['Who asks', oneLine(`${approval.requester.name} (${approval.requester.kind})`)],
    ['Action', oneLine(approval.action)],
    ...(approval.runId === null ? [] : [['Run', approval.runId] satisfies [string, string]]),
    ['Until', minute(approval.expiresAt)],
    ['Request', approval.id],
  ];
}

function howOf(approval: Approval, lead: Lead): string {
  if (lead.decides) return `This link is yours alone: pass it on to nobody. It holds until ${minute(lead.endsAt)}.`;
  const { fresh } = demandsOf(approval);
  return fresh ? 'It takes your own sign-in, a moment ago.' : 'It takes your own sign-in.';
}

function minute(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

function oneLine(text: string): string {
  return shown(text.replaceAll(/\s+/g, ' '), lineCharsMax);
}

function quoted(text: string): string {
  return text.replaceAll(/^/gm, '> ');
}

function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

/** Slack takes <!channel>, <@U1> and <https://…|…> for commands; these three characters are all that it knows (its "Formatting text"). */
function chatEscaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function chatUrl(url: string): string {
  return chatEscaped(url).replaceAll('|', '%7C');
}

function plain(text: string): object {
  return { type: 'plain_text', text, emoji: false };
}
