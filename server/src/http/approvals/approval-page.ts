import { type Approval, type DecisionAction, digestInForce, whatInForce } from '../../approval/model.ts';
import { readWhat } from '../../approval/what.ts';
import { foreign } from '../pages/foreign.ts';
import { type Html, html } from '../pages/html.ts';
import { alertBox, type Link, type Page } from '../pages/layout.ts';
import { decisionForms, type Forms } from './decision-forms.ts';
import { visibleJson } from './visible-json.ts';
import { kindNames, stateNames, timeTag } from './words.ts';

/** Where people who are signed in see what waits for them. */
export const inboxPath = '/approvals';

export function approvalPath(id: string): string {
  return `${inboxPath}/${id}`;
}

export interface ApprovalView {
  readonly approval: Approval;
  /** Who is signed in, or whom the link is for. */
  readonly name: string;
  /** Whether they are signed in, so that there is somewhere else to go. */
  readonly isSignedIn: boolean;
  /** How it can be decided here; null: it can be looked at. */
  readonly forms: Forms | null;
  /** Why it cannot be decided here, and what to do about it. */
  readonly hindrance: Html | null;
  /** Whether what is asked for is shown whole: not to whoever was forwarded a link to what is grave. */
  readonly isWhole: boolean;
  /** What went wrong with what was just sent. */
  readonly problem?: string;
}

const inboxLink: Link = { href: inboxPath, text: 'Approvals' };

/** What is asked for, and what to do about it. */
export function approvalPage(view: ApprovalView): Page {
  const { approval, name, isSignedIn, problem } = view;
  const { kind, state } = approval;
  const heading = state === 'pending' ? `${kindNames[kind]} waits for you` : `${kindNames[kind]}: ${stateNames[state]}`;
  return {
    title: problem === undefined ? heading : `Error: ${heading}`,
    ...(isSignedIn && { name, links: [inboxLink] }),
    main: html`<h1>${heading}</h1>
      ${problem === undefined ? null : alertBox(problem)}
      <section class="card" aria-labelledby="asked">
        <h2 id="asked">${foreign(approval.summary)}</h2>
        <dl>${facts(view)}</dl>
      </section>
      ${view.isWhole && whole(approval)} ${view.hindrance} ${view.forms && decisionForms(approval, view.forms)}`,
  };
}

/** What became of a decision. */
export function decidedPage(
  { approval, name, isSignedIn }: Pick<ApprovalView, 'approval' | 'name' | 'isSignedIn'>,
  action: DecisionAction,
): Page {
  const { state } = approval;
  const isOpen = state === 'pending';
  const heading = isOpen ? 'Your vote counts' : (headings[action] ?? 'Decided');
  return {
    title: heading,
    ...(isSignedIn && { name, links: [inboxLink] }),
    main: html`<div class="narrow">
      <h1>${heading}</h1>
      <p>${foreign(approval.summary)}</p>
      <p>
        ${
          isOpen
            ? html`It takes ${approval.quorum} people, and waits for others now.`
            : action === 'approve' || action === 'edit'
              ? 'What asked for it goes on now, if nothing else forbids it meanwhile.'
              : 'What asked for it was told so, with your words.'
        }
      </p>
      ${isSignedIn && html`<p><a class="button" href="${inboxPath}">To what waits</a></p>`}
    </div>`,
  };
}

const headings: Readonly<Record<DecisionAction, string>> = {
  approve: 'Approved',
  edit: 'Approved with your arguments',
  reject: 'Rejected',
  respond: 'Answered',
};

function facts({ approval, name }: ApprovalView): Html {
  const { requester, action, runId, risk, quorum, rule, createdAt, expiresAt, endedAt, state } = approval;
  return html`${row('Asked by', html`${foreign(requester.name)} (${requester.kind}, ${foreign(requester.id)})`)}
  ${row('To do', foreign(action))} ${runId !== null && row('In the run', foreign(runId))} ${row('Risk', risk)}
  ${row('Takes', quorum === 1 ? 'one person' : `${quorum} people`)}
  ${rule && row('Because of', html`the rule ${foreign(rule.name)}`)} ${row('Asked', timeTag(createdAt))}
  ${state === 'pending' ? row('Ends unanswered', timeTag(expiresAt)) : endedAt !== null && row('Ended', timeTag(endedAt))}
  ${approval.decidedVia !== null && row('Decided', `by ${approval.decidedVia}`)}
  ${approval.reason !== '' && row('Reason', foreign(approval.reason))}
  ${approval.response !== null && row('Answer', foreign(approval.response))} ${row('Decides', foreign(name))}
  ${row('Digest', html`<code>${digestInForce(approval).toString('hex')}</code>`)}`;
}

function whole(approval: Approval): Html {
  const { diff, editedWhat } = approval;
  const json = visibleJson(readWhat(whatInForce(approval)).arguments);
  return html`${diff !== null && diffSection(diff)}
    <div>
      <h2 id="arguments">${editedWhat === null ? 'Arguments' : 'Arguments, as somebody edited them'}</h2>
      ${block(json, 'Arguments')}
      ${
        editedWhat !== null &&
        html`<details>
          <summary>As they were asked for</summary>
          ${block(visibleJson(readWhat(approval.what).arguments), 'Arguments as asked for')}
        </details>`
      }
    </div>`;
}

/** Scrolls by itself, so that it takes the focus, for keyboards. */
function block(text: string, label: string): Html {
  return html`<pre class="sheet" tabindex="0" role="region" aria-label="${label}" dir="ltr"><code>${text}</code></pre>`;
}

function diffSection(diff: string): Html {
  return html`<div>
    <h2 id="diff">What changes</h2>
    <div class="sheet diff" tabindex="0" role="region" aria-labelledby="diff" dir="ltr">
      ${diff.split('\n').map(diffLine)}
    </div>
  </div>`;
}

function diffLine(line: string): Html {
  const [first = ''] = line;
  const kind = first === '+' ? 'added' : first === '-' ? 'removed' : 'kept';
  return html`<div class="${kind}"><code>${line === '' ? ' ' : line}</code></div>`;
}

function row(label: string, value: string | Html): Html {
  return html`<dt>${label}</dt>
    <dd>${value}</dd>`;
}
