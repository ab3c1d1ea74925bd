import { randomUUID } from 'node:crypto';
import type { Pool } from 'pg';
import type { Gate } from './gates.ts';

/** A run that is told of, and the key of its agent. */
export interface Teller {
  readonly runId: string;
  readonly key: string;
}

/** An agent's name is one in its project, and data that was kept has those of the last time. */
export function uniqueName(name: string): string {
  return `${name} ${randomUUID()}`;
}

const agents = 4;
const runsPerAgent = 5;

/** Agents with a key each, and new runs of theirs. */
export async function newTellers(gate: Gate, name: string): Promise<readonly Teller[]> {
  const tellers: Teller[] = [];
  for (let number = 0; number < agents; number += 1) {
    const { agent } = await gate.api<{ agent: { id: string } }>('AgentService/CreateAgent', {
      name: uniqueName(`${name} ${number}`),
    });
    const { secret } = await gate.api<{ secret: string }>('AgentService/CreateKey', {
      agentId: agent.id,
      name: `${name} ${number}`,
      kind: 'PRINCIPAL_KIND_AGENT',
      scopes: ['telemetry:write'],
    });
    for (let run = 0; run < runsPerAgent; run += 1) {
      const started = await gate.api<{ run: { id: string } }>('RunService/StartRun', {
        agentId: agent.id,
        workflow: 'bench-ingest',
      });
      tellers.push({ runId: started.run.id, key: secret });
    }
  }
  return tellers;
}

/** How many events the database has of these runs. */
export async function eventsOf(pool: Pool, tellers: readonly Teller[]): Promise<number> {
  const { rows } = await pool.query<{ events: bigint }>(
    'SELECT count(*) AS events FROM run_events WHERE run_id = ANY ($1)',
    [tellers.map(({ runId }) => runId)],
  );
  return Number(rows[0]?.events);
}
