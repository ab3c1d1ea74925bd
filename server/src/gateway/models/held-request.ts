import type { JsonValue } from '../../audit/canonical-json.ts';
import { approvalUseMsDefault } from '../../base/approval-limits.ts';
import { PortcullisError } from '../../base/errors.ts';
import { requesterOf } from '../../approval/asking.ts';
import type { Approval, ApprovalRequest } from '../../approval/model.ts';
import { readWhat } from '../../approval/what.ts';
import type { Principal } from '../../identity/model.ts';
import { parseExactJson } from '../../llm/exact-json.ts';
import type { JsonObject } from '../../llm/conversation.ts';
import { isJsonObject } from '../../llm/object-reader.ts';
import type { RequiredApproval } from '../../policy/judge.ts';
import type { Call } from './call.ts';
import { passingQuery } from './passing-query.ts';
import { telling } from './whole-answer.ts';

/** What of a model call people approve: all that decides what the provider is asked, and the rule that wants it approved. */
export interface CallArguments {
  readonly [name: string]: JsonValue;
  readonly path: string;
  /** What of the client's query goes to the provider. */
  readonly query: string;
  /** Headers that change what a provider answers. */
  readonly headers: { readonly [name: string]: string };
  readonly rule: string;
  readonly body: JsonValue;
}

/** @throws PortcullisError invalid_argument where the body has a number that would be rounded: people would see another one */
export function argumentsOf({ exchange, endpoint }: Call, rule: string, body: Buffer): CallArguments {
  return { path: endpoint.path, query: passingQuery(exchange), headers: telling(exchange), rule, body: readBody(body) };
}

/** The body that was approved. @throws PortcullisError internal where the arguments have none */
export function approvedBody(what: string): Buffer {
  const { arguments: args } = readWhat(what);
  if (!isJsonObject(args)) throw new PortcullisError('internal', 'The gate met an internal error.');
  return Buffer.from(JSON.stringify(args['body']));
}

/** What is asked for a call: by that rule's terms, but no longer than any rule of the call lets it stand. */
export function requestFor(
  call: Call,
  principal: Principal,
  { required, body, expiryS }: { readonly required: RequiredApproval; readonly body: Buffer; readonly expiryS: number },
): ApprovalRequest {
  const { attempt, exchange } = call;
  const expiresInMs = expiryS * 1000;
  const model = attempt.modelAsked ?? '';
  return {
    projectId: principal.projectId,
    kind: 'model_call',
    requester: requesterOf(principal),
    runId: attempt.runId,
    action: `models.invoke:${model}`,
    arguments: argumentsOf(call, required.rule, body),
    summary: summaryOf(call, principal, required.rule, body.length),
    diff: null,
    groups: required.approvers,
    quorum: required.quorum,
    ladder: required.escalation
      .map(({ afterS, approvers }) => ({ afterMs: afterS * 1000, groups: approvers }))
      .filter(({ afterMs }) => afterMs < expiresInMs),
    risk: required.risk,
    expiresInMs,
    useMs: approvalUseMsDefault,
    rule: { name: required.rule, digest: Buffer.from(required.ruleDigest, 'hex') },
    requestId: exchange.requestId,
  };
}

function summaryOf({ attempt, endpoint }: Call, { name, kind }: Principal, rule: string, bytes: number): string {
  const what = { generate: 'call', count_tokens: 'have tokens counted for', embed: 'embed with' }[endpoint.operation];
  const within = attempt.workflow === null ? '' : `, in a run of ${attempt.workflow}`;
  return `The ${kind} ${name} wants to ${what} the model ${attempt.modelAsked ?? ''} (${bytes} bytes${within}). The rule "${rule}" asks for your approval.`;
}

function readBody(body: Buffer): JsonValue {
  const exact = parseExactJson(body.toString());
  if (!isJsonObject(exact) || hasRaw(exact)) {
    throw new PortcullisError(
      'invalid_argument',
      'This call needs an approval, and its body has a number with more digits than people would be shown: write it as text.',
    );
  }
  return exact as JsonValue;
}

/** Whether a number is kept as its source text (exact-json.ts). */
function hasRaw(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (JSON.isRawJSON(value)) return true;
  return Object.values(value as JsonObject).some(hasRaw);
}

/** Why a call whose request was decided against, or by nobody, is refused. */
export function refusalBy(approval: Approval): PortcullisError {
  return new PortcullisError('approval_refused', sentence(approval), {
    approval: approval.id,
    decision: approval.state,
    ...(approval.rule && { rule: approval.rule.name }),
  });
}

function sentence({ state, reason, response }: Approval): string {
  const why = reason === '' ? '' : ` Reason: ${reason}`;
  if (response !== null) return `A person answered this call instead of letting it through: ${response}`;
  if (state === 'rejected') return `A person decided against this call.${why}`;
  if (state === 'expired') return 'Nobody approved this call in time: repeating it asks again.';
  return `The request for approval of this call was cancelled.${why}`;
}

/** Nobody decided yet: the call comes back. */
export function pendingError({ id, rule }: Approval, retryAfterS: number): PortcullisError {
  return new PortcullisError(
    'approval_pending',
    `This call waits for a person's approval (${id}, rule "${rule?.name ?? ''}"), and nobody decided yet. Repeat the same call to go on waiting: it attaches to this request.`,
    { approval: id, decision: 'pending', retryAfterS, ...(rule && { rule: rule.name }) },
  );
}
