import { PortcullisError } from '../../base/errors.ts';
import type { Hold } from '../../budget/ledger.ts';
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
import { type UpstreamAnswer, UpstreamFailure } from './provider.ts';
import type { StreamRelay } from './relay.ts';

/** How the upstream call went: what the ledger needs, and the last bytes for the client, kept back until it is settled. */
export interface Delivery {
  readonly outcome: AttemptOutcome;
  readonly errorClass: string | null;
  /** False when nothing can have been spent: no byte left, or the provider refused the request. */
  readonly billable: boolean;
  /** Measured by the provider; null where it did not say. */
  readonly usage: Usage | null;
  /** The answer came to its end, so `usage` is all of it. */
  readonly complete: boolean;
  /** Bytes generated, for an estimate where usage is missing; null when the answer never began. */
  readonly outputBytes: number | null;
  readonly firstTokenMs: number | null;
  /** Gives the client the rest: the end of its answer, or the error. Called once, after settlement. */
  readonly finish: () => void;
}

/**
 * Calls the provider and passes its answer on, except the end. Never throws: a failure is a delivery whose `finish`
 * throws the error that the client is to see.
 */
export async function forward(
  gate: ModelGate,
  call: Call,
  plan: CallPlan,
  hold: Hold,
  flight: Flight,
): Promise<Delivery> {
  const deadline = new CallDeadline(plan.target.deadlines, call.abort);
  const progress: Progress = { sent: false, firstTokenMs: null, usage: null, relay: null };
  const began = gate.clock.monotonic();
  try {
    const upstream = await plan.target.provider.send({
      dialect: plan.dialectOut,
      operation: call.endpoint.operation,
      attemptId: hold.id,
      body: plan.body,
      headers: plan.translation ? {} : requestHeaders(call.exchange.request.headers),
      signal: call.signal,
      beforeWrite: () => {
        flight.check();
        hold.assertUsable();
        progress.sent = true;
      },
    });
    deadline.progress();
    const context: DeliveryContext = {
      call,
      plan,
      upstream,
      deadline,
      progress,
      firstByte: () => {
        progress.firstTokenMs ??= gate.clock.monotonic() - began;
      },
    };
    if (upstream.status >= 400) return await deliverRefusal(context);
    return plan.facts.stream ? await deliverStream(context) : await deliverAnswer(context);
  } catch (thrown) {
    return failed(PortcullisError.from(thrown), progress);
  } finally {
    deadline.stop();
  }
}

/** What is known of a call while it flows; owned by `forward`. */
export interface Progress {
  /** The request was handed to the connection: from here on money may be spent. */
  sent: boolean;
  firstTokenMs: number | null;
  /** Of a whole answer that was read, even if it cannot be delivered. */
  usage: Usage | null;
  relay: StreamRelay | null;
}

export interface DeliveryContext {
  readonly call: Call;
  readonly plan: CallPlan;
  readonly upstream: UpstreamAnswer;
  readonly deadline: CallDeadline;
  readonly progress: Progress;
  readonly firstByte: () => void;
}

const outcomes: Readonly<Partial<Record<string, AttemptOutcome>>> = {
  killed: 'killed',
  deadline_exceeded: 'timeout',
  client_closed: 'client_closed',
  budget_exceeded: 'budget',
};

function failed(error: PortcullisError, { sent, usage, relay, firstTokenMs }: Progress): Delivery {
  return {
    outcome: outcomes[error.code] ?? 'failed',
    errorClass: error.code,
    billable: sent && !(error instanceof UpstreamFailure && !error.sent),
    usage: usage ?? relay?.usage ?? null,
    complete: usage !== null || (relay?.complete ?? false),
    outputBytes: relay?.outputBytes ?? null,
    firstTokenMs,
    finish: () => {
      throw error;
    },
  };
}
