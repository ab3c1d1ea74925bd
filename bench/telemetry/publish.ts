import { setTimeout as sleep } from 'node:timers/promises';
import type { Gate } from './gates.ts';
import { projectId, projectOf, workflowName } from './seed/cast.ts';

const published = 10;
const pollMs = 200;
const waitMs = 90_000;

/** Publishes some workflows, and waits until the gate shows them to strangers. @throws Error when it does not */
export async function publishWorkflows(gate: Gate): Promise<void> {
  for (let workflow = 0; workflow < published; workflow += 1)
    await gate.api('AnalyticsService/PublishWorkflow', {
      projectId: projectId(projectOf(workflow)),
      workflow: workflowName(workflow),
      title: `Title of ${workflowName(workflow)}`,
    });
  const deadlineMs = performance.now() + waitMs;
  for (;;) {
    const { workflows = [] } = await gate.api<{ workflows?: unknown[] }>('AnalyticsService/GetPublicLeaderboard', {});
    if (workflows.length === published) return;
    if (performance.now() > deadlineMs)
      throw new Error(`only ${workflows.length} workflows are public after ${waitMs} ms`);
    await sleep(pollMs);
  }
}
