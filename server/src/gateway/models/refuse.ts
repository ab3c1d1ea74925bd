import type { ErrorCode, PortcullisError } from '../../base/errors.ts';
import { refusalHeaders } from '../../base/refusal-headers.ts';
import type { AttemptOutcome } from '../../budget/model.ts';
import type { RefusalAudit } from '../../identity/refusal-audit.ts';
import type { Dialect } from '../../llm/dialect.ts';
import type { StreamErrorEvent } from '../../llm/stream-events.ts';
import type { Call } from './call.ts';
import { end, endUnread } from './client-writer.ts';
import type { Exchange } from './exchange.ts';
import type { ModelGate } from './gate.ts';
import { refusalAnswer, wire } from './wire.ts';

const outcomes: Readonly<Partial<Record<ErrorCode, AttemptOutcome>>> = {
  killed: 'killed',
  budget_exceeded: 'budget',
  client_closed: 'client_closed',
};

const audited: Readonly<Partial<Record<ErrorCode, Parameters<RefusalAudit['note']>[0]>>> = {
  insufficient_scope: 'scope.denied',
  policy_denied: 'call.denied',
  killed: 'call.denied',
  budget_exceeded: 'budget.refused',
};

/**
 * Tells the client why the call ends, in its dialect: as an HTTP error while that is still possible, else as the one
 * error event that ends its stream.
 */
export function refuse(gate: ModelGate, call: Call, error: PortcullisError): void {
  const { exchange, endpoint, principal } = call;
  const { requestId, response } = exchange;
  call.error = error;
  // SDKs retry by themselves; the gate did so already. What is no attempt's failure says for itself whether it may pass.
  if (call.held && call.attempts > 1 && !response.headersSent) response.setHeader('x-should-retry', 'false');
  // A call that was let in has its row written with its hold, by how the provider's part went.
  if (!call.held) {
    const rule = error.members.rule ?? null;
    call.note({ outcome: outcomes[error.code] ?? 'refused', errorClass: error.code, rule });
    const action = audited[error.code];
    if (action && principal) gate.refusals.note(action, principal, rule ?? error.code, requestId);
  }
  if (error.code === 'internal')
    gate.log.error({ request_id: requestId, err: error.cause }, 'a model call met an internal error');
  if (!response.headersSent) return answerError(exchange, endpoint.dialect, error);
  noteError(exchange, error);
  const writeEvent: StreamErrorEvent = wire[endpoint.dialect].streamErrorEvent;
  end(exchange, call.streaming ? writeEvent(error, requestId, call.soFar) : null);
}

/** Answers with an HTTP error in the dialect of the caller. */
export function answerError(exchange: Exchange, dialect: Dialect, error: PortcullisError): void {
  noteError(exchange, error);
  const { request, response, requestId } = exchange;
  if (response.destroyed) return;
  const { headers, body } = refusalAnswer(dialect, error, requestId);
  if (request.complete) {
    response.writeHead(error.status, { ...headers, ...refusalHeaders(error) });
    return end(exchange, body);
  }
  response.writeHead(error.status, {
    ...headers,
    ...refusalHeaders(error),
    // The rest of the body would be taken for the next request on this connection; HTTP/2 has streams for that.
    ...(request.httpVersionMajor === 1 && { connection: 'close' }),
  });
  endUnread(exchange, body);
}

function noteError({ access }: Exchange, error: PortcullisError): void {
  access.decision = 'deny';
  access.code = error.code;
  access.rule ??= error.members.rule ?? null;
  access.internal ??= error.internal ?? null;
}
