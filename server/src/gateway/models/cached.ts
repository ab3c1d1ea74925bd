import { digestOf } from '../../base/digest.ts';
import type { WholeAnswer } from '../../base/sealed-answer.ts';
import { type CacheTerms, cacheTerms } from './cache-terms.ts';
import type { Made } from './attempts.ts';
import type { Delivery } from './forward.ts';
import type { ModelGate } from './gate.ts';
import { type Answered, type AskedCall, answerKept, orNull, tellingHeaders } from './whole-answer.ts';

/**
 * Answers from the exact response cache where the route or the call asks for it, else by `make`, and keeps that answer if
 * it is whole. The cache never makes a call fail: without it the call is made.
 * @throws PortcullisError invalid_argument (the header), and what `make` throws
 */
export async function cached(gate: ModelGate, asked: AskedCall, make: () => Promise<Made>): Promise<Answered> {
  const { call, plan } = asked;
  if (plan.streamed || call.endpoint.operation === 'count_tokens') return make();
  // What a caller's own account paid for is nobody else's.
  if (plan.target.provider.credential === 'caller') return make();
  const terms = cacheTerms(call.exchange, plan.route.cacheTtlS);
  if (terms === null) return make();
  const key = cacheKey(asked);
  const found = await orNull(gate, call, gate.cache.find(plan.spender.projectId, key, terms.ttlMs));
  if (found !== null) {
    gate.metrics.responseCache.inc({ result: 'hit' });
    call.note({ modelServed: plan.modelServed, dialectOut: plan.dialectOut });
    const ageS = Math.floor(found.ageMs / 1000);
    return answerKept(gate, asked, found.answer, '(cache)', ['portcullis-cache', `hit; age=${ageS}`]);
  }
  gate.metrics.responseCache.inc({ result: 'miss' });
  const delivery = await make();
  const stored = await keep(gate, asked, key, terms, delivery);
  return {
    ...delivery,
    finish: () => {
      call.exchange.response.setHeader('portcullis-cache', stored ? 'stored' : 'miss');
      delivery.finish();
    },
  };
}

/** Everything that the answer depends on, and the project (decision 0010). */
function cacheKey({ call, plan, body }: AskedCall): Buffer {
  const { spender, target, route, dialectOut, modelServed } = plan;
  const { endpoint, exchange } = call;
  return digestOf([
    'portcullis response 1',
    spender.projectId,
    route.name,
    target.provider.name,
    modelServed,
    endpoint.path,
    plan.query,
    endpoint.dialect,
    dialectOut,
    ...tellingHeaders(exchange),
    // The one decides what the provider says, the other how that is told in another dialect.
    plan.body,
    body,
  ]);
}

async function keep(
  gate: ModelGate,
  asked: AskedCall,
  key: Buffer,
  { ttlMs, store }: CacheTerms,
  delivery: Made,
): Promise<boolean> {
  const { plan, call } = asked;
  const { answer } = delivery;
  // What another target answered, or with a lower output limit, is not what this key stands for.
  if (!store || delivery.plan !== plan || answer === null || !isWhole(delivery)) return false;
  return (await orNull(gate, call, gate.cache.keep(plan.spender.projectId, key, cacheable(answer), ttlMs))) ?? false;
}

/** A complete answer whose usage the provider told: what is estimated may not be all. */
function isWhole({ outcome, answer, progress }: Delivery): boolean {
  return (
    outcome === 'success' &&
    answer?.status === 200 &&
    progress.answer?.complete === true &&
    progress.answer.usage !== null
  );
}

/** The provider's other headers speak of that one call and its caller: limits left, ids, times. */
function cacheable({ status, headers, body }: WholeAnswer): WholeAnswer {
  const names = ['content-type', 'portcullis-dropped', 'portcullis-trimmed'];
  return {
    status,
    headers: Object.fromEntries(Object.entries(headers).filter(([name]) => names.includes(name))),
    body,
  };
}
