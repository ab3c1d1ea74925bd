import type { PortcullisError } from '../../base/errors.ts';
import type { AttemptOutcome } from '../../budget/model.ts';
import { type Call } from './call.ts';
import { describe } from './authorize.ts';
import { end } from './client-writer.ts';
import type { ModelGate } from './gate.ts';
import { refusalHeaders } from '../../base/refusal-headers.ts';
import { refusalAnswer } from './wire.ts';

const refusalOutcomes: Readonly<Partial<Record<string, AttemptOutcome>>> = {
  killed: 'killed',
  budget_exceeded: 'budget',
  client_closed: 'client_closed',
  deadline_exceeded: 'timeout',
};

/**
 * Tells the client why the call ends, in its dialect: as an HTTP error while that is still possible, else as the one
 * error event that ends its stream.
 */
export function refuse(gate: ModelGate, call: Call, error: PortcullisError): void {
  const { access, response, requestId } = call.exchange;
  access.decision = 'deny';
  access.code = error.code;
  access.rule ??= error.members.rule ?? null;
  access.internal ??= error.internal ?? null;
  describe(call, {
    outcome: refusalOutcomes[error.code] ?? 'refused',
    errorClass: error.code,
    rule: error.members.rule ?? null,
  });
  if (error.code === 'internal')
    gate.log.error({ request_id: requestId, err: error.cause }, 'a model call met an internal error');
  if (response.destroyed || response.writableEnded) return;
  if (response.headersSent) {
    end(call.exchange, call.failStream ? call.failStream(error) : null);
    return;
  }
  const { headers, body } = refusalAnswer(call.endpoint.dialect, error, requestId);
  response.writeHead(error.status, { ...headers, ...refusalHeaders(error), ...closing(call) });
  end(call.exchange, body);
}

// A body that was not read to its end would be taken for the next request on this connection.
function closing({ exchange: { request } }: Call): Record<string, string> {
  return request.complete ? {} : { connection: 'close' };
}

/** Writes what remains to be written about the call: the ledger row of one that never held money, and the metrics. */
export function record(gate: ModelGate, call: Call): void {
  const { attempt, exchange } = call;
  exchange.access.decision ??= 'allow';
  if (attempt === null) return;
  const seconds = (gate.clock.monotonic() - exchange.receivedAt) / 1000;
  // A stranger's model name is not a label: only names of the configuration are.
  gate.metrics.modelDuration.observe({ route: attempt.route ?? 'none', outcome: attempt.outcome }, seconds);
  if (!call.held) gate.ledger.recordRefusal({ ...attempt, totalMs: seconds * 1000 });
}
