import type { ApprovalKind, ApprovalState } from '../../approval/model.ts';
import { type Html, html } from '../pages/html.ts';

export const kindNames: Readonly<Record<ApprovalKind, string>> = {
  tool_call: 'A tool call',
  model_call: 'A model call',
  run_gate: 'A gate of a run',
  policy_change: 'A change of policy',
  kill_release: 'A release of the kill switch',
};

export const stateNames: Readonly<Record<ApprovalState, string>> = {
  pending: 'it waits',
  approved: 'approved',
  rejected: 'rejected',
  edited: 'approved with other arguments',
  expired: 'ended unanswered',
  cancelled: 'cancelled',
};

/** @param ms epoch milliseconds */
export function timeTag(ms: number): Html {
  const iso = new Date(ms).toISOString();
  return html`<time datetime="${iso}">${iso.slice(0, 16).replace('T', ' ')} UTC</time>`;
}
