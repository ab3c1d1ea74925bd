import { cost } from '../../budget/cost.ts';
import type { Attempt } from '../../budget/model.ts';
import { type Usage, noUsage } from '../../llm/usage.ts';
import type { CallPlan } from './authorize.ts';
import type { Call } from './call.ts';
import type { Delivery } from './forward.ts';
import type { ModelGate } from './gate.ts';
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
  { hold, price }: Reserved,
  delivery: Delivery,
): Promise<void> {
  const { attempt, exchange } = call;
  if (attempt === null) throw new Error('a call without a principal reached settle');
  const { usage, provenance } = amounts(delivery, hold.worst.usage);
  const final: Attempt = {
    ...attempt,
    usage,
    costUsd: price === null ? 0n : cost(price, usage),
    provenance,
    outcome: delivery.outcome,
    errorClass: delivery.errorClass,
    firstTokenMs: delivery.firstTokenMs,
    totalMs: gate.clock.monotonic() - exchange.receivedAt,
  };
  call.attempt = final;
  count(gate, plan, final);
  await (delivery.billable ? gate.ledger.settle(hold, final) : gate.ledger.release(hold, final));
}

function amounts(delivery: Delivery, worst: Usage): Pick<Attempt, 'usage' | 'provenance'> {
  const { billable, usage, complete, outputBytes } = delivery;
  if (!billable) return { usage: noUsage, provenance: 'measured' };
  if (usage !== null && complete) return { usage, provenance: 'measured' };
  // A token is a byte at least, so no more can have been generated than came through; what the provider said of an
  // answer that it did not end is from before its end.
  const output = Math.max(usage?.output ?? 0, Math.min(worst.output, outputBytes ?? worst.output));
  return { usage: { ...(usage ?? worst), output }, provenance: 'estimated' };
}

function count(
  { metrics }: ModelGate,
  { target }: CallPlan,
  { usage, costUsd, provenance, outcome, firstTokenMs, route }: Attempt,
): void {
  metrics.upstreamAttempts.inc({ provider: target.provider.name, outcome });
  metrics.modelCost.inc({ provenance }, Number(costUsd));
  for (const [name, tokens] of Object.entries(usage)) if (tokens > 0) metrics.modelTokens.inc({ class: name }, tokens);
  if (firstTokenMs !== null) metrics.modelFirstToken.observe({ route: route ?? 'none' }, firstTokenMs / 1000);
}
