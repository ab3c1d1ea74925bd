import type { Clock } from '../../base/clock.ts';
import { PortcullisError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import type { Attempt } from '../../budget/model.ts';
import type { Principal } from '../../identity/model.ts';
import { noUsage } from '../../llm/usage.ts';
import type { StreamSoFar } from '../../llm/stream-events.ts';
import type { CallPlan } from './authorize.ts';
import type { Endpoint } from './endpoints.ts';
import { type Exchange, header } from './exchange.ts';

/**
 * One call on its way through the pipeline: what its ledger row and its answer need to know, whichever step ends it.
 * Each step adds what it established.
 */
export class Call {
  readonly exchange: Exchange;
  readonly endpoint: Endpoint;
  /** A hold owns the ledger row of the attempt: it is written when the hold ends. */
  held = false;
  /** Upstream attempts begun, this one included. */
  attempts = 0;
  /** Monotonic milliseconds from which the time of the attempt counts. */
  attemptAt: number;
  /** The answer is a stream: an error must end it as an event. */
  streaming = false;
  /** What the client has of its stream: an error event may have to go on from there. */
  soFar: StreamSoFar | null = null;
  /** Why the client got no answer, or not all of it. */
  error: PortcullisError | null = null;
  #caller: { readonly principal: Principal; attempt: Attempt } | null = null;
  readonly #controller = new AbortController();

  constructor(exchange: Exchange, endpoint: Endpoint) {
    this.exchange = exchange;
    this.endpoint = endpoint;
    this.attemptAt = exchange.receivedAt;
    exchange.response.once('close', this.#left);
  }

  /** Aborted with a PortcullisError when the call must end now: client gone, kill switch, deadline. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  readonly abort = (error: PortcullisError): void => this.#controller.abort(error);

  readonly #left = (): void => {
    const { writableEnded, writableFinished } = this.exchange.response;
    // An answer over HTTP/2 counts as finished when its stream is gone, whoever ended it.
    if (!writableEnded || !writableFinished) this.abort(new PortcullisError('client_closed', 'The client went away.'));
  };

  /** Stops listening for the client's leaving. */
  close(): void {
    this.exchange.response.off('close', this.#left);
  }

  /** The caller is known: from now on the call has a ledger row, with nothing used yet. */
  identified(principal: Principal, startedAt: number): void {
    this.#caller = { principal, attempt: firstRow(this.exchange, this.endpoint, principal, startedAt) };
  }

  /** Null as long as the caller is not known. */
  get principal(): Principal | null {
    return this.#caller?.principal ?? null;
  }

  /** The ledger row as far as it is known. @throws Error before the caller is known: a stranger has no row */
  get attempt(): Attempt {
    if (this.#caller === null) throw new Error('a call without a caller has no ledger row');
    return this.#caller.attempt;
  }

  /** An attempt begins. The first one's row is that of the call; each other one has its own. */
  attempted({ target, modelServed, dialectOut }: CallPlan, clock: Clock): void {
    if (++this.attempts > 1) {
      this.beginRow(clock);
      if (!this.exchange.response.headersSent)
        this.exchange.response.setHeader('portcullis-attempts', String(this.attempts));
    }
    this.note({ provider: target.provider.name, modelServed, dialectOut });
  }

  /** Begins another ledger row, with what is known of the call and nothing of the attempt before. */
  beginRow(clock: Clock): void {
    if (this.#caller === null) return;
    const { runId, workflow, route, modelAsked, streamed, policyShadows = [] } = this.#caller.attempt;
    const row = firstRow(this.exchange, this.endpoint, this.#caller.principal, clock.now());
    // Where the call ends between two attempts, the row is of the one that was not made.
    const attemptNo = this.#caller.attempt.attemptNo + 1;
    this.#caller.attempt = { ...row, attemptNo, runId, workflow, route, modelAsked, streamed, policyShadows };
    this.attemptAt = clock.monotonic();
    this.held = false;
  }

  /** Adds to the ledger row. */
  note(known: Partial<Attempt>): void {
    if (this.#caller !== null) this.#caller.attempt = { ...this.#caller.attempt, ...known };
  }
}

function firstRow(exchange: Exchange, endpoint: Endpoint, principal: Principal, startedAt: number): Attempt {
  return {
    id: newId('att'),
    requestId: exchange.requestId,
    attemptNo: 1,
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
    notionalUsd: 0n,
    provenance: 'measured',
    outcome: 'refused',
    errorClass: null,
    rule: null,
    startedAt,
    queueMs: 0,
    connectMs: null,
    firstTokenMs: null,
    totalMs: 0,
    overrun: false,
    corrects: null,
  };
}
