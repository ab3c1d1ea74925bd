import { PortcullisError } from '../base/errors.ts';
import type { RunState } from './model.ts';

/** Which runs are meant; null is any. Times are epoch milliseconds of the start. */
export interface RunFilter {
  readonly projectId: string;
  readonly agentId: string | null;
  readonly workflow: string | null;
  readonly state: RunState | null;
  /** A digest. */
  readonly promptVersion: string | null;
  readonly taskId: string | null;
  readonly from: number | null;
  readonly to: number | null;
}

/** The filters that stand together: each has an index (sql 000016). Times go with all of them. */
const served: ReadonlySet<string> = new Set([
  '',
  'agent_id',
  'workflow',
  'state',
  'task_id',
  'workflow state',
  'workflow prompt_version',
  'agent_id workflow',
  'agent_id state',
  'agent_id task_id',
]);

/** A filter as an index serves it. */
export interface ServedFilter {
  readonly agentId: string | null;
  /** What else is set, in the index's order. */
  readonly set: readonly (readonly [column: string, value: string])[];
}

/**
 * The filter as an index serves it, so that a page costs the same whatever else is stored and however few it matches.
 * @throws PortcullisError invalid_argument for filters that no index has together
 */
export function servedFilter(filter: RunFilter): ServedFilter {
  const { agentId, workflow, state, promptVersion, taskId } = filter;
  const named = { agent_id: agentId, workflow, state, prompt_version: promptVersion, task_id: taskId };
  const set = Object.entries(named).flatMap(([column, value]) => (value === null ? [] : [[column, value] as const]));
  const key = set.map(([column]) => column).join(' ');
  if (served.has(key)) return { agentId, set: agentId === null ? set : set.slice(1) };
  throw new PortcullisError(
    'invalid_argument',
    `Runs are not listed by ${key.replaceAll(' ', ' and ')}: list them by one of these, by agent_id with workflow, state or task_id, or by workflow with state or prompt_version. An agent's own list is one by agent_id.`,
    { param: set.at(-1)?.[0] ?? 'agent_id' },
  );
}
