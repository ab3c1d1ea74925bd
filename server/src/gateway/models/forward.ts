import { PortcullisError } from '../../base/errors.ts';
import type { AttemptOutcome } from '../../budget/model.ts';
import type { Usage } from '../../llm/usage.ts';
import type { Flight } from '../../policy/flights.ts';
import type { CallPlan } from './authorize.ts';
import type { Call } from './call.ts';
import { CallDeadline } from './deadline.ts';
import { deliverAnswer, deliverRefusal } from './deliver-answer.ts';
import { deliverStream } from './deliver-stream.ts';
import type { ModelGate } from './gate.ts';
import { requestHeaders } from './passing-headers.ts';
import type { UpstreamAnswer } from './provider.ts';
import type { Reserved } from './reserve.ts';

/** How the upstream call went: what the ledger needs, and the last bytes for the client, kept back until it is settled. */
export interface Delivery {
  readonly outcome: AttemptOutcome;
  readonly errorClass: string | null;
  readonly progress: Readonly<Progress>;
  /** Gives the client the rest: the end of its answer, or (by throwing it) the error. Called once, after settlement. */
  readonly finish: () => void;
}

/** What is known of an upstream call while it flows; filled in by the steps of `forward`. */
export interface Progress {
  /** From connecting to the write. Null: nothing was sent, so nothing was spent. */
  connectMs: number | null;
  /** From the write to the first byte of the answer's body. */
  firstTokenMs: number | null;
  /** The provider's status says that it did no work, so it bills nothing. */
  refused: boolean;
  /** Null while there is no answer. */
  answer: Consumption | null;
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
  /** To be called for every chunk that came. */
  readonly arrived: () => void;
}

/**
 * Calls the provider and passes its answer on, except the end. Never throws: a failure is a delivery whose `finish`
 * throws the error that the client is to see.
 */
export async function forward(
  { clock }: ModelGate,
  call: Call,
  plan: CallPlan,
  reserved: Reserved,
  flight: Flight,
): Promise<Delivery> {
  const deadline = new CallDeadline(plan.target.deadlines, call.abort);
  const progress: Progress = { connectMs: null, firstTokenMs: null, refused: false, answer: null };
  const began = clock.monotonic();
  let written = began;
  try {
    const upstream = await plan.target.provider.send({
      dialect: plan.dialectOut,
      operation: call.endpoint.operation,
      attemptId: reserved.hold.id,
      body: plan.body,
      headers: plan.translation ? {} : requestHeaders(call.exchange.request.headers),
      signal: call.signal,
      beforeWrite: () => {
        flight.check();
        reserved.hold.assertUsable();
        written = clock.monotonic();
        progress.connectMs = written - began;
      },
    });
    deadline.progress();
    const arrived = () => {
      deadline.progress();
      progress.firstTokenMs ??= clock.monotonic() - written;
    };
    const context = { call, plan, reserved, upstream, progress, arrived };
    const { status } = upstream;
    progress.refused = didNoWork(status);
    if (status >= 400 && status < 600) return await deliverRefusal(context);
    if (status < 200 || status >= 300)
      throw new PortcullisError('upstream_error', `The provider answered with status ${status}, which is no answer.`);
    return plan.streamed ? await deliverStream(context) : await deliverAnswer(context);
  } catch (thrown) {
    const error = PortcullisError.from(thrown);
    // Whatever the provider still sends is not wanted any more.
    call.abort(error);
    return failed(error, progress);
  } finally {
    deadline.stop();
  }
}

/** Redirects, refusals and overload. Any other 5xx may be from a proxy, while the model worked on. */
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
    progress,
    finish: () => {
      throw error;
    },
  };
}
