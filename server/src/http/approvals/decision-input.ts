import type { FastifyRequest } from 'fastify';
import { parseArguments } from '../../approval/arguments.ts';
import type { Decision } from '../../approval/deciding.ts';
import { type Approval, type DecisionAction, decisionActions } from '../../approval/model.ts';
import { PortcullisError } from '../../base/errors.ts';
import { formField } from '../pages/pages.ts';
import type { ApprovalPages } from './options.ts';
import { repeats } from './repeats.ts';

const allActions: readonly DecisionAction[] = ['approve', 'reject', 'edit', 'respond'];

/** What can be done about a request here; not every kind can be edited. */
export function possible(
  { editableKinds }: Pick<ApprovalPages, 'editableKinds'>,
  { kind }: Approval,
  allowed: readonly DecisionAction[] = allActions,
): DecisionAction[] {
  return allowed.filter((action) => action !== 'edit' || editableKinds.has(kind));
}

/**
 * What the form of a page decides.
 * @throws PortcullisError invalid_argument
 */
export function readDecision(request: FastifyRequest, { id }: Approval): Omit<Decision, 'by' | 'projectId' | 'within'> {
  const action = decisionActions.find((one) => one === formField(request, 'action'));
  if (action === undefined) throw unreadable('action');
  const digest = formField(request, 'digest');
  // A page always says what it showed.
  if (!/^[0-9a-f]{64}$/.test(digest)) throw unreadable('digest');
  const repeat = repeats.find(({ name }) => name === formField(request, 'repeat'));
  if (repeat === undefined) throw unreadable('repeat');
  return {
    id,
    requestId: request.id,
    address: request.clientAddress,
    action,
    seenDigest: Buffer.from(digest, 'hex'),
    reason: formField(request, 'reason').replaceAll('\r\n', '\n'),
    text: action === 'respond' ? formField(request, 'response').replaceAll('\r\n', '\n') : null,
    editedArguments: action === 'edit' ? parseArguments('arguments', formField(request, 'arguments')) : undefined,
    grant: action === 'approve' ? repeat.grant : null,
  };
}

function unreadable(field: string): PortcullisError {
  return new PortcullisError('invalid_argument', `The form has no ${field} that one could read: open the page again.`, {
    param: field,
  });
}
