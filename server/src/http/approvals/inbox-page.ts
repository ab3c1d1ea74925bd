import { inboxShown } from '../../base/approval-limits.ts';
import type { Waiting } from '../../approval/inbox-store.ts';
import { foreign } from '../pages/foreign.ts';
import { type Html, html } from '../pages/html.ts';
import type { Page } from '../pages/layout.ts';
import { approvalPath } from './approval-page.ts';
import { kindNames, timeTag } from './words.ts';

/** What waits for somebody, what ends first before the rest. */
export function inboxPage(name: string, waiting: readonly Waiting[]): Page {
  const shown = waiting.slice(0, inboxShown);
  return {
    title: 'Approvals',
    name,
    main: html`<h1>${waiting.length === 0 ? 'Nothing waits for you' : `${waiting.length} wait for you`}</h1>
      ${waiting.length === 0 && html`<p class="quiet">What a rule lets through only with your approval appears here.</p>`}
      <ul class="waiting">
        ${shown.map(item)}
      </ul>
      ${waiting.length > shown.length && html`<p>The others appear as you decide these.</p>`}`,
  };
}

function item({ id, kind, summary, risk, quorum, requesterName, expiresAt, voted }: Waiting): Html {
  return html`<li>
    <h2><a href="${approvalPath(id)}">${foreign(summary)}</a></h2>
    <p class="quiet">
      ${kindNames[kind]} of ${foreign(requesterName)}, ${risk} risk${quorum > 1 && `, takes ${quorum} people`}; ends
      unanswered ${timeTag(expiresAt)} ${voted && html`<strong>You voted; it waits for others.</strong>`}
    </p>
  </li>`;
}
