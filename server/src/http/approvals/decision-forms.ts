import { approvalReasonCharsMax, approvalResponseCharsMax } from '../../base/approval-limits.ts';
import { type Approval, type DecisionAction, digestInForce, whatInForce } from '../../approval/model.ts';
import { readWhat } from '../../approval/what.ts';
import { type Html, html } from '../pages/html.ts';
import { repeats } from './repeats.ts';
import { visibleJson } from './visible-json.ts';

/** How a request can be decided on a page. */
export interface Forms {
  /** Where they are sent. */
  readonly path: string;
  /** Fields by which one knows that the person meant it: the CSRF token of a session, or the token of a link. */
  readonly proof: Html;
  readonly actions: readonly DecisionAction[];
  /** Whether it may be approved for several times at once. */
  readonly mayRepeat: boolean;
}

/** A form for each thing that one may do about a request. */
export function decisionForms(approval: Approval, forms: Forms): Html {
  const { actions } = forms;
  return html`${actions.includes('approve') && approveForm(approval, forms)}
  ${actions.includes('reject') && rejectForm(approval, forms)} ${actions.includes('edit') && editForm(approval, forms)}
  ${actions.includes('respond') && respondForm(approval, forms)}`;
}

function approveForm(approval: Approval, forms: Forms): Html {
  return form(
    approval,
    forms,
    'approve',
    html`${
        forms.mayRepeat &&
        html`<label for="repeat">How often</label>
          <select id="repeat" name="repeat">
            ${repeats.map(({ name, title }) => html`<option value="${name}">${title}</option>`)}
          </select>`
      } <button class="wide" type="submit">Approve</button>`,
  );
}

function rejectForm(approval: Approval, forms: Forms): Html {
  return form(
    approval,
    forms,
    'reject',
    html`<label for="reason">Why not</label>
      <p class="hint" id="reason-hint">What asked for it is told so.</p>
      <input
        id="reason"
        name="reason"
        type="text"
        required
        maxlength="${approvalReasonCharsMax}"
        autocomplete="off"
        aria-describedby="reason-hint"
      />
      <button class="wide plain" type="submit">Reject</button>`,
  );
}

function editForm(approval: Approval, forms: Forms): Html {
  const json = visibleJson(readWhat(whatInForce(approval)).arguments);
  return folded(
    'Approve it with other arguments',
    form(
      approval,
      forms,
      'edit',
      html`<label for="arguments-edited">Arguments</label>
        <p class="hint" id="edit-hint">JSON. What you leave here is what runs, and it is judged anew.</p>
        <textarea
          id="arguments-edited"
          name="arguments"
          rows="12"
          required
          spellcheck="false"
          autocomplete="off"
          aria-describedby="edit-hint"
        >
${json}</textarea>
        <button class="wide" type="submit">Approve with these arguments</button>`,
    ),
  );
}

function respondForm(approval: Approval, forms: Forms): Html {
  return folded(
    'Answer instead of letting it run',
    form(
      approval,
      forms,
      'respond',
      html`<label for="response">Answer</label>
        <p class="hint" id="response-hint">What asked for it gets this instead of the result.</p>
        <textarea
          id="response"
          name="response"
          rows="4"
          required
          maxlength="${approvalResponseCharsMax}"
          autocomplete="off"
          aria-describedby="response-hint"
        ></textarea>
        <button class="wide plain" type="submit">Answer</button>`,
    ),
  );
}

function form(approval: Approval, { path, proof }: Forms, action: DecisionAction, fields: Html): Html {
  return html`<form class="card" method="post" action="${path}">
    ${proof}
    <input type="hidden" name="action" value="${action}" />
    <input type="hidden" name="digest" value="${digestInForce(approval).toString('hex')}" />
    ${fields}
  </form>`;
}

function folded(title: string, inner: Html): Html {
  return html`<details class="fold">
    <summary>${title}</summary>
    ${inner}
  </details>`;
}
