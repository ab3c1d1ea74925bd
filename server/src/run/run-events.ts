import type { EventData } from '../outbox/catalogue.ts';
import type { NewEvent } from '../outbox/emit.ts';
import type { Run, RunOutcome } from './model.ts';

/** What endpoints are told of a run that began. */
export function startData(run: Run): EventData['run.started'] {
  return { ...runData(run), started_at: timeText(run.startedAt) };
}

/** What they are told of one that ended. */
export function endEvent(run: Run, outcome: RunOutcome): NewEvent<'run.finished'> | NewEvent<'run.failed'> {
  const data = {
    ...runData(run),
    summary: run.summary,
    error: run.error,
    started_at: timeText(run.startedAt),
    finished_at: timeText(run.finishedAt ?? run.startedAt),
  };
  const about = { projectId: run.projectId, key: run.id };
  if (outcome === 'failed') return { type: 'run.failed', ...about, data: { ...data, outcome } };
  return { type: 'run.finished', ...about, data: { ...data, outcome } };
}

function runData({ id, agentId, workflow }: Run) {
  return { run_id: id, agent_id: agentId, workflow };
}

function timeText(ms: number): string {
  return new Date(ms).toISOString();
}
