import type { NanoUsd } from '../../base/money.ts';
import { cost, isPriced } from '../../budget/prices/cost.ts';
import type { Attempt, WorstCase } from '../../budget/model.ts';
import { type Usage, noUsage, tokenClasses } from '../../llm/usage.ts';
import type { CallPlan } from './authorize.ts';
import type { Call } from './call.ts';
import type { Delivery, Progress } from './forward.ts';
import type { ModelGate } from './gate.ts';
import { latencyShadows } from './latency-cap.ts';
import { type Reserved, listPrice } from './reserve.ts';

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
  const { usage, provenance } = billable
    ? amounts(progress, hold.worst, (plan.translation ?? plan.facts).mayReason)
    : nothing;
  const now = gate.clock.monotonic();
  call.note({
    usage,
    costUsd: price === null ? 0n : cost(price, usage),
    notionalUsd: notional(gate, plan, usage),
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
  await (billable ? gate.ledger.settle(hold, attempt, shadows) : gate.ledger.release(hold, attempt));
}

/** What the caller's own account is charged, as far as the prices are known here. */
function notional(gate: ModelGate, plan: CallPlan, usage: Usage): NanoUsd {
  const price = plan.target.provider.credential === 'caller' ? listPrice(gate, plan) : null;
  return price === null ? 0n : cost(price, usage);
}

type Amounts = Pick<Attempt, 'usage' | 'provenance'>;

const nothing: Amounts = { usage: noUsage, provenance: 'measured' };

function amounts({ answer }: Progress, worst: WorstCase, mayReason: boolean): Amounts {
  if (answer === null) return { usage: worst.usage, provenance: 'estimated' };
  const { complete, outputBytes } = answer;
  const usage = answer.usage === null ? null : asServed(answer.usage, worst.usage);
  if (usage !== null && complete) return { usage, provenance: 'measured' };
  // A token is a byte at least, so no more can have been said than came through, but a model may think unseen. What the
  // provider told of an answer that it did not end is from before its end.
  const said = worst.bounded ? Math.min(worst.usage.output, outputBytes) : outputBytes;
  const most = mayReason ? Math.max(worst.usage.output, said) : said;
  const known = usage ?? worst.usage;
  const output = Math.max(usage?.output ?? 0, most);
  const { searches = 0, reasoning } = worst.usage;
  const rest = { output, ...(searches > 0 && { searches }) };
  // Where reasoning is dearer than the rest, all that is not known counts as it.
  return { usage: { ...known, ...rest, reasoning: reasoning > 0 ? output : known.reasoning }, provenance: 'estimated' };
}

/** An answer that does not say on which terms it was served was served on the dearest that were asked for. */
function asServed(usage: Usage, { terms }: Usage): Usage {
  return usage.terms !== undefined || terms === undefined ? usage : { ...usage, terms };
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
