import { PortcullisError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import type { Attempt } from '../../budget/model.ts';
import type { Principal } from '../../identity/model.ts';
import { noUsage } from '../../llm/usage.ts';
import type { Endpoint } from './endpoints.ts';
import { type Exchange, header } from './exchange.ts';
import type { ModelGate } from './gate.ts';

/**
 * One call on its way through the pipeline: what its ledger row and its answer need to know, whichever step ends it.
 * Owned by the pipeline; each step fills in what it established.
 */
export interface Call {
  readonly exchange: Exchange;
  readonly endpoint: Endpoint;
  /** The ledger row as far as it is known. Null until a principal is known: a stranger has no row. */
  attempt: Attempt | null;
  /** Set once a hold owns the row: it ends with the hold, not by `record`. */
  held: boolean;
  /** Writes the stream's one error event, once a stream has begun; null before. */
  failStream: ((error: PortcullisError) => string) | null;
  /** Aborted with a PortcullisError when the call must end now: client gone, kill switch, deadline. */
  readonly signal: AbortSignal;
  readonly abort: (error: PortcullisError) => void;
  /** Stops listening for the client's leaving. */
  readonly close: () => void;
}

export function openCall(exchange: Exchange, endpoint: Endpoint): Call {
  const controller = new AbortController();
  const abort = (error: PortcullisError) => controller.abort(error);
  const left = () => {
    if (!exchange.response.writableFinished) abort(new PortcullisError('client_closed', 'The client went away.'));
  };
  exchange.response.once('close', left);
  return {
    exchange,
    endpoint,
    attempt: null,
    held: false,
    failStream: null,
    signal: controller.signal,
    abort,
    close: () => {
      exchange.response.off('close', left);
    },
  };
}

/** The ledger row of a call whose caller is known, with nothing used yet. */
export function attemptOf(gate: ModelGate, { exchange, endpoint }: Call, principal: Principal): Attempt {
  return {
    id: newId('att'),
    requestId: exchange.requestId,
    projectId: principal.projectId,
    agentId: principal.agentId,
    personId: principal.personId,
    keyId: principal.keyId,
    runId: principal.runId,
    workflow: null,
    clientSession: header(exchange, 'x-claude-code-session-id')?.slice(0, 100) ?? null,
    route: null,
    provider: null,
    modelAsked: null,
    modelServed: null,
    dialectIn: endpoint.dialect,
    dialectOut: null,
    streamed: false,
    priceVersion: null,
    usage: noUsage,
    costUsd: 0n,
    provenance: 'measured',
    outcome: 'refused',
    errorClass: null,
    rule: null,
    startedAt: gate.clock.now(),
    queueMs: 0,
    connectMs: null,
    firstTokenMs: null,
    totalMs: 0,
    overrun: false,
    corrects: null,
  };
}
