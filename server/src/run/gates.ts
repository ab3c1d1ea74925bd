import type { Continuation } from '../approval/outcomes.ts';
import { eventsAfterEndMs, eventsPerRunMax } from '../base/telemetry-limits.ts';
import { EventChecks } from './event-input.ts';
import { insertEvents } from './event-store.ts';

/**
 * Tells whoever watches a run what became of a gate of it, in the transaction of the decision. The answer itself is the
 * approval, which the agent reads; a run that has no room for the event loses nothing else.
 */
export const gateDecided: Continuation = async (tx, _version, approval) => {
  const { id, runId, projectId, action, state, endedAt, reason, response } = approval;
  if (runId === null || endedAt === null) return;
  const event = new EventChecks(runId, Math.floor(endedAt)).check(
    {
      type: 'gate.decided',
      level: 'info',
      message: `The gate ${action} was ${state}.`,
      data: JSON.stringify({ approval_id: id, gate: action, outcome: state, reason, response }),
      occurredAt: Math.floor(endedAt),
      clientId: id,
    },
    'event',
  );
  const bounds = { afterEndMs: eventsAfterEndMs, perRunMax: eventsPerRunMax };
  await insertEvents(tx, { id: runId, projectId, agentId: null }, bounds, null, [event]);
};
