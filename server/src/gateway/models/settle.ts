import type { NanoUsd } from '../../base/money.ts';
import { cost, isPriced } from '../../budget/prices/cost.ts';
import { unreadTokensMax } from '../../base/limits.ts';
import type { Attempt, AttemptOutcome, WorstCase } from '../../budget/model.ts';
import type { RequestFacts } from '../../llm/facts.ts';
import { type Usage, noUsage, tokenClasses } from '../../llm/usage.ts';
import type { CallPlan } from './authorize.ts';
import type { Call } from './call.ts';
import type { Delivery, Progress } from './forward.ts';
import type { ModelGate } from './gate.ts';
import { latencyShadows } from './latency-cap.ts';
import type { Reserved } from './reserve.ts';

/**
 * Ends the hold at what was used, and writes the ledger row in the same commit: measured where the provider said it,
 * else estimated from above, else nothing.
 * @throws PortcullisError unavailable when that is not durable in time; the hold then stands until it is, or until its deadline
 */
export async function settle(
  gate: ModelGate,
  call: Call,
  plan: CallPlan,
  { hold, price, latency, heldAt }: Reserved,
  { outcome, errorClass, rule, progress }: Delivery,
): Promise<void> {
  const billable = progress.connectMs !== null && !progress.refused;
  const { mayReason } = plan.translation ?? plan.facts;
  const asked = { mayReason, longCacheTtl: plan.facts.longCacheTtl };
  const { usage, provenance } = billable ? amounts(progress, outcome, hold.worst, asked) : nothing;
  const now = gate.clock.monotonic();
  call.note({
    usage,
    costUsd: price === null ? 0n : cost(price, usage),
    notionalUsd: notional(plan, usage, call.attempt.startedAt),
    provenance: price === null || isPriced(price, usage) ? provenance : 'estimated',
    outcome,
    errorClass,
    rule,
    connectMs: progress.connectMs,
    firstTokenMs: progress.firstTokenMs,
    totalMs: now - call.attemptAt,
  });
  const { attempt } = call;
  count(gate, plan, attempt);
  const shadows = latencyShadows(latency, now - heldAt);
  await (billable ? gate.ledger.settle(hold, attempt, shadows) : gate.ledger.release(hold, attempt, shadows));
}

/** What the caller's own account is charged, as far as the prices are known here. */
function notional({ target, modelServed }: CallPlan, usage: Usage, startedAt: number): NanoUsd {
  const price = target.provider.credential === 'caller' ? target.prices.priceOf(modelServed, startedAt) : null;
  return price === null ? 0n : cost(price, usage);
}

type Amounts = Pick<Attempt, 'usage' | 'provenance'>;

const nothing: Amounts = { usage: noUsage, provenance: 'measured' };

function amounts(
  { answer, unread }: Progress,
  outcome: AttemptOutcome,
  worst: WorstCase,
  { mayReason, longCacheTtl }: Pick<RequestFacts, 'mayReason' | 'longCacheTtl'>,
): Amounts {
  if (answer === null) return { usage: worst.usage, provenance: 'estimated' };
  const { complete, outputBytes } = answer;
  const told = answer.usage === null ? null : asServed(answer.usage, worst.usage);
  const isUntold = longCacheTtl && told?.untoldLifetime === true;
  const usage = told !== null && isUntold ? writtenForLong(told) : told;
  if (usage !== null && complete) return { usage, provenance: isUntold ? 'estimated' : 'measured' };
  // A token is a byte at least, so no more can have been said than came, but a model may think unseen. What the provider
  // told of an answer that it did not end is from before its end.
  const came = outputBytes + unreadTokens(unread(), outcome, worst);
  const said = worst.bounded ? Math.min(worst.usage.output, came) : came;
  const most = mayReason ? Math.max(worst.usage.output, said) : said;
  const known = usage ?? worst.usage;
  const output = Math.max(usage?.output ?? 0, most);
  const { searches = 0, reasoning } = worst.usage;
  const rest = { output, ...(searches > 0 && { searches }) };
  // Where reasoning is dearer than the rest, all that is not known counts as it.
  return { usage: { ...known, ...rest, reasoning: reasoning > 0 ? output : known.reasoning }, provenance: 'estimated' };
}

/** What may have been generated beyond what was read of an answer that the gate did not read to its end. */
function unreadTokens(unread: ReturnType<Progress['unread']>, outcome: AttemptOutcome, { bounded }: WorstCase): number {
  if (unread === 'nothing') return 0;
  // What is broken was given up in the middle of what came.
  const isLittle = unread === 'little' && outcome !== 'failed';
  return isLittle || !bounded ? unreadTokensMax : Infinity;
}

/** What an answer does not say of its terms is as of the dearest that were asked for. */
function asServed(usage: Usage, { terms: asked = [] }: Usage): Usage {
  const { terms: told = [] } = usage;
  const untold = asked.filter(({ field }) => told.every((term) => term.field !== field));
  return untold.length === 0 ? usage : { ...usage, terms: [...told, ...untold] };
}

/** All that was written to a cache at the longer lifetime. */
function writtenForLong(usage: Usage): Usage {
  return { ...usage, cacheWrite5m: 0, cacheWrite1h: usage.cacheWrite5m + usage.cacheWrite1h };
}

function count(
  { metrics }: ModelGate,
  { target }: CallPlan,
  { usage, costUsd, provenance, outcome, firstTokenMs, route }: Attempt,
): void {
  metrics.upstreamAttempts.inc({ provider: target.provider.name, outcome });
  metrics.modelCost.inc({ provenance }, Number(costUsd));
  for (const name of tokenClasses) if (usage[name] > 0) metrics.modelTokens.inc({ class: name }, usage[name]);
  if (firstTokenMs !== null) metrics.modelFirstToken.observe({ route: route ?? 'none' }, firstTokenMs / 1000);
}
