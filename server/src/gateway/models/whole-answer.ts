import { keptAnswerWaitMs } from '../../base/limits.ts';
import type { WholeAnswer } from '../../base/sealed-answer.ts';
import type { Principal } from '../../identity/model.ts';
import type { Flight } from '../../policy/flights.ts';
import type { CallPlan } from './authorize.ts';
import type { Call } from './call.ts';
import { end } from './client-writer.ts';
import type { Exchange } from './exchange.ts';
import type { ModelGate } from './gate.ts';
import { requestIdHeader } from './wire.ts';

/** A call that may be made: what the steps from here on work with. */
export interface AskedCall {
  readonly call: Call;
  readonly principal: Principal;
  readonly flight: Flight;
  readonly plan: CallPlan;
  /** As the client sent it. */
  readonly body: Buffer;
}

/** How a call that is over is answered. */
export interface Answered {
  /** What the client gets, where that is a whole answer of a provider; null for streams and errors of ours. */
  readonly answer: WholeAnswer | null;
  /** Gives the client its answer, or the end of it, or throws the error that it is to see. Called once. */
  readonly finish: () => void;
}

/** Writes a whole answer. The request id is that of this call, also where the answer is an older one. */
export function sendAnswer({ exchange, endpoint }: Call, { status, headers, body }: WholeAnswer): void {
  exchange.response.writeHead(status, {
    ...headers,
    'content-length': body.length,
    ...requestIdHeader(endpoint.dialect, exchange.requestId),
  });
  end(exchange, body);
}

/** Answers with what was kept: no money is held and nothing goes upstream, but what stops a call stops this one too. */
export function answerKept(
  gate: ModelGate,
  { call, flight }: AskedCall,
  answer: WholeAnswer,
  source: '(cache)' | '(replay)',
  header: readonly [name: string, value: string],
): Answered {
  call.signal.throwIfAborted();
  flight.check();
  call.note({
    // Names of providers have no brackets: in the ledger and in totals this is nobody's but ours.
    provider: source,
    ...(answer.status < 400
      ? { outcome: 'success' as const }
      : { outcome: 'failed' as const, errorClass: `http_${answer.status}` }),
    totalMs: gate.clock.monotonic() - call.exchange.receivedAt,
  });
  gate.ledger.recordRefusal(call.attempt);
  return {
    answer,
    finish: () => {
      call.exchange.response.setHeader(...header);
      sendAnswer(call, answer);
    },
  };
}

const telling = ['anthropic-version', 'anthropic-beta', 'openai-beta'];

/** The headers that change what a provider answers, as they go to it: one that came repeatedly counts as a whole. */
export function tellingHeaders({ request }: Exchange): (string | null)[] {
  return telling.map((name) => request.headersDistinct[name]?.join(', ') ?? null);
}

/**
 * What `work` on kept answers gives; null when the database fails it or takes too long, which is logged: a client's
 * answer does not wait for that of another day.
 */
export async function orNull<T>(gate: ModelGate, { exchange }: Call, work: Promise<T>): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new Error(`the database took longer than ${keptAnswerWaitMs} ms`)),
      keptAnswerWaitMs,
    );
  });
  try {
    return await Promise.race([work, late]);
  } catch (err) {
    gate.log.warn({ err, request_id: exchange.requestId }, 'an answer could not be kept, looked for or given up');
    return null;
  } finally {
    clearTimeout(timer);
  }
}
