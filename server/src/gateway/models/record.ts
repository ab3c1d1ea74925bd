import type { Call } from './call.ts';
import type { ModelGate } from './gate.ts';

/** Writes what remains to be written of the call: the ledger row of one that was refused before it held money, and the metrics. */
export function record(gate: ModelGate, call: Call): void {
  const { exchange, principal, error, held } = call;
  exchange.access.decision ??= 'allow';
  if (principal === null) return;
  const { attempt } = call;
  const now = gate.clock.monotonic();
  // A stranger's model name is not a label: only names of the configuration are.
  const route = attempt.route ?? 'none';
  gate.metrics.modelDuration.observe({ route, outcome: attempt.outcome }, (now - exchange.receivedAt) / 1000);
  if (error !== null && !held) gate.ledger.recordRefusal({ ...attempt, totalMs: now - call.attemptAt });
}
