import { PortcullisError } from '../../base/errors.ts';
import type { AttemptOutcome } from '../../budget/model.ts';
import type { Usage } from '../../llm/usage.ts';
import type { Flight } from '../../policy/flights.ts';
import type { WholeAnswer } from '../../base/sealed-answer.ts';
import type { CallPlan } from './authorize.ts';
import type { Leave } from './breaker.ts';
import type { Call } from './call.ts';
import type { ClientStream } from './client-stream.ts';
import { CallDeadline } from './deadline.ts';
import { deliverAnswer, deliverRefusal } from './deliver-answer.ts';
import { deliverStream } from './deliver-stream.ts';
import { type Failure, ended, fault, refusal } from './failure.ts';
import type { ModelGate } from './gate.ts';
import { requestHeaders } from './passing-headers.ts';
import type { UpstreamAnswer } from './provider.ts';
import type { Reserved } from './reserve.ts';

/** How the upstream call went: what the ledger needs, and the last bytes for the client, kept back until it is settled. */
export interface Delivery {
  readonly outcome: AttemptOutcome;
  readonly errorClass: string | null;
  /** Names what ended it, where that is a rule or a budget. */
  readonly rule: string | null;
  readonly progress: Readonly<Progress>;
  /** What the client gets, where that is a whole answer of the provider; null for streams and errors of ours. */
  readonly answer: WholeAnswer | null;
  /** Gives the client the rest: the end of its answer, or (by throwing it) the error. Called once, after settlement. */
  readonly finish: () => void;
}

/** How an attempt went, and what follows from it where it failed. */
export interface Forwarded extends Delivery {
  readonly failure: Failure | null;
}

/** What is known of an upstream call while it flows; filled in by the steps of `forward`. */
export interface Progress {
  /** From connecting to the write. Null: nothing was sent, so nothing was spent. */
  connectMs: number | null;
  /** From the write to the first byte of the answer's body. */
  firstTokenMs: number | null;
  /** The provider's status says that it did no work, so it bills nothing. */
  refused: boolean;
  /** The client got some of the answer: from now on a failure can only be told, and there is no other attempt. */
  begun: boolean;
  /** Null while there is no answer. */
  answer: Consumption | null;
  /** What of the answer came, or may have come, and was not read. */
  unread: UpstreamAnswer['unread'];
}

/** What an answer used, as far as it came. */
export interface Consumption {
  /** What the provider reported; null where it did not. */
  readonly usage: Usage | null;
  /** The answer came to its end, so `usage` is all of it. */
  readonly complete: boolean;
  /** Bytes generated, for an estimate where usage is missing. */
  readonly outputBytes: number;
}

export interface DeliveryContext {
  readonly call: Call;
  readonly plan: CallPlan;
  readonly reserved: Reserved;
  readonly upstream: UpstreamAnswer;
  readonly progress: Progress;
  readonly deadline: CallDeadline;
  /** To be called for the first of the answer, and for whatever comes from then on. */
  readonly arrived: () => void;
}

/** One attempt that may go upstream. */
export interface Departure {
  readonly call: Call;
  readonly plan: CallPlan;
  readonly reserved: Reserved;
  readonly flight: Flight;
  /** The client's end, where it is a stream. */
  readonly stream: ClientStream | null;
  /** Null where nothing is learned of its target. */
  readonly leave: Leave | null;
  /** What earlier attempts took of the time of the call. */
  readonly spentMs: number;
}

/**
 * Calls the provider and passes its answer on, except the end. Never throws: a failure is a delivery whose `finish`
 * throws the error that the client is to see.
 */
export async function forward(
  { clock }: ModelGate,
  { call, plan, reserved, flight, stream, leave, spentMs }: Departure,
): Promise<Forwarded> {
  const { provider, deadlines } = plan.target;
  const progress: Progress = {
    connectMs: null,
    firstTokenMs: null,
    refused: false,
    begun: false,
    answer: null,
    unread: () => 'nothing',
  };
  const upstreamCall = new AbortController();
  const endUpstream = () => upstreamCall.abort(call.signal.reason);
  // Until the client has some of the answer, what ends this attempt does not end the call.
  const abort = (error: PortcullisError) => (progress.begun ? call.abort(error) : upstreamCall.abort(error));
  const deadline = new CallDeadline(deadlines, abort, { spentMs, cap: reserved.latency.enforced });
  const connecting = setTimeout(() => abort(unreachable(provider.name)), deadlines.connectMs);
  const began = clock.monotonic();
  let written = began;
  call.signal.addEventListener('abort', endUpstream);
  try {
    call.signal.throwIfAborted();
    const upstream = await provider.send({
      dialect: plan.dialectOut,
      operation: call.endpoint.operation,
      attemptId: reserved.hold.id,
      query: plan.query,
      body: plan.body,
      headers: plan.dialectOut === call.endpoint.dialect ? requestHeaders(call.exchange.request.headers) : {},
      credential: plan.credential,
      signal: upstreamCall.signal,
      beforeWrite: () => {
        flight.check();
        reserved.hold.assertUsable();
        clearTimeout(connecting);
        written = clock.monotonic();
        progress.connectMs = written - began;
      },
    });
    progress.unread = () => upstream.unread();
    const arrived = () => {
      deadline.progress();
      progress.firstTokenMs ??= clock.monotonic() - written;
      // A stream may be long, and its target answers.
      if (progress.begun) leave?.succeed();
    };
    const context = { call, plan, reserved, upstream, progress, deadline, arrived };
    const { status, headers } = upstream;
    progress.refused = didNoWork(status);
    if (status >= 400 && status < 600)
      return { ...(await deliverRefusal(context)), failure: refusal(status, headers, provider, clock.now()) };
    if (status < 200 || status >= 300)
      throw new PortcullisError('upstream_error', `The provider answered with status ${status}, which is no answer.`);
    const delivery = stream ? await deliverStream(context, stream) : await deliverAnswer(context);
    return { ...delivery, failure: delivery.outcome === 'success' ? null : ended };
  } catch (thrown) {
    const error = PortcullisError.from(thrown);
    // Whatever the provider still sends is not wanted any more.
    abort(error);
    return { ...failed(error, progress), failure: failureOf(call, plan, error, progress) };
  } finally {
    call.signal.removeEventListener('abort', endUpstream);
    clearTimeout(connecting);
    deadline.stop();
  }
}

function unreachable(name: string): PortcullisError {
  return new PortcullisError('deadline_exceeded', `Provider ${name} could not be reached in time.`);
}

function failureOf(
  { signal }: Call,
  { streamed }: CallPlan,
  error: PortcullisError,
  { begun, connectMs, answer }: Progress,
): Failure {
  // Killed, or given up by the client: also where that is seen by its consequences first.
  if (signal.aborted && !begun) return ended;
  // The target did its part. What it generated and nobody can use would cost as much again.
  if (answer?.complete === true && !begun) return ended;
  const failure = fault(error, { sent: connectMs !== null, streamed });
  return { ...failure, retriable: failure.retriable && !begun };
}

/** Redirects, refusals and overload. Any other 5xx may be from a proxy, while the model worked on (`deliverRefusal`). */
function didNoWork(status: number): boolean {
  return (status >= 300 && status < 500) || status === 503 || status === 529;
}

const outcomes: Readonly<Partial<Record<string, AttemptOutcome>>> = {
  killed: 'killed',
  // The credential was revoked while the call was under way.
  unauthenticated: 'killed',
  deadline_exceeded: 'timeout',
  client_closed: 'client_closed',
  budget_exceeded: 'budget',
};

function failed(error: PortcullisError, progress: Progress): Delivery {
  return {
    outcome: outcomes[error.code] ?? 'failed',
    errorClass: error.code,
    rule: error.members.rule ?? null,
    progress,
    answer: null,
    finish: () => {
      throw error;
    },
  };
}
