import type { Pool } from 'pg';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.ts';
import type { JsonValue } from '../../audit/canonical-json.ts';
import type { Principal } from '../../identity/model.ts';
import type { Role } from '../../identity/roles.ts';
import { controlWrite, inTransaction } from '../../pg/tx.ts';
import { ask, requesterOf } from '../asking.ts';
import type { Decision } from '../deciding.ts';
import type { Approval, ApprovalRequest } from '../model.ts';
import { type ApprovalParts, Approvals } from '../service.ts';
import { findApproval } from '../store.ts';

/** A project with people, an agent and a run, for tests of approvals. */
export interface World {
  readonly db: TestDatabase;
  readonly pool: Pool;
  readonly agent: Principal;
  readonly approvals: Approvals;
  /** Another person; `roles` null: nobody has said. */
  person(
    name: string,
    roles: readonly Role[] | null,
    more?: { teams?: readonly string[]; email?: string },
  ): Promise<Principal>;
  asked(more?: Partial<ApprovalRequest>): Promise<Approval>;
  found(id: string): Promise<Approval>;
  service(parts?: Partial<ApprovalParts>, pool?: Pool): Approvals;
  /** What was written about it, in its order. */
  audited(id: string): Promise<string[]>;
}

const parts: ApprovalParts = { continuations: {}, editors: {}, killedBy: () => null };

export async function makeWorld(): Promise<World> {
  const db = await createTestDatabase();
  const { pool } = db;
  await controlWrite(pool, async (tx, version) => {
    for (const id of ['prj_a', 'prj_b'])
      await tx.query('INSERT INTO projects (id, name, control_version) VALUES ($1, $1, $2)', [id, version]);
    await tx.query(
      `INSERT INTO people (id, project_id, email, name, control_version) VALUES ('psn_answers', 'prj_a', 'answers@example.com', 'Answers', $1)`,
      [version],
    );
    await tx.query(
      `INSERT INTO agents (id, project_id, name, person_id, created_by, control_version)
       VALUES ('agt_a', 'prj_a', 'a', 'psn_answers', 'test', $1)`,
      [version],
    );
    await tx.query(
      `INSERT INTO runs (id, project_id, agent_id, workflow, control_version) VALUES ('run_a', 'prj_a', 'agt_a', 'w', $1)`,
      [version],
    );
  });
  const agent = principal({
    kind: 'agent',
    id: 'agt_a',
    name: 'a',
    agentId: 'agt_a',
    personId: 'psn_answers',
    method: 'api_key',
    scopes: new Set(['runs:write']),
  });
  const found = async (id: string) => {
    const approval = await findApproval(pool, { id, projectId: null });
    if (!approval) throw new Error(`no approval ${id}`);
    return approval;
  };
  return {
    db,
    pool,
    agent,
    found,
    approvals: new Approvals(pool, parts),
    person: (name, held, more = {}) => addPerson(pool, name, held, more),
    asked: (more = {}) => inTransaction(pool, async (tx) => (await ask(tx, { ...requestOf(agent), ...more })).approval),
    service: (more = {}, on = pool) => new Approvals(on, { ...parts, ...more }),
    audited: async (id) => {
      const { rows } = await pool.query<{ action: string }>(
        'SELECT action FROM audit_entries WHERE target = $1 ORDER BY at, id',
        [id],
      );
      return rows.map(({ action }) => action);
    },
  };
}

let asked = 0;

/** A request of an agent, unlike all before. */
export function requestOf(by: Principal, args: JsonValue = { n: ++asked }): ApprovalRequest {
  return {
    projectId: 'prj_a',
    kind: 'tool_call',
    requester: requesterOf(by),
    runId: 'run_a',
    action: 'mail.send',
    arguments: args,
    summary: 'Send a mail.',
    diff: null,
    groups: [],
    quorum: 1,
    ladder: [],
    risk: 'normal',
    expiresInMs: 60_000,
    useMs: 60_000,
    rule: null,
    requestId: 'req_t',
  };
}

/** A decision of a person, approving unless told otherwise. */
export function decisionOf(by: Principal, id: string, more: Partial<Decision> = {}): Decision {
  return {
    by: { principal: by },
    requestId: 'req_t',
    id,
    projectId: 'prj_a',
    action: 'approve',
    reason: '',
    text: null,
    editedArguments: undefined,
    seenDigest: null,
    grant: null,
    address: '192.0.2.1',
    ...more,
  };
}

async function addPerson(
  pool: Pool,
  name: string,
  held: readonly Role[] | null,
  { teams = [], email = `${name}@example.com` }: { teams?: readonly string[]; email?: string },
): Promise<Principal> {
  const id = `psn_${name}`;
  await controlWrite(pool, async (tx, version) => {
    for (const team of teams)
      await tx.query(
        `INSERT INTO teams (id, project_id, name, created_by) VALUES ('team_' || $1, 'prj_a', $1, 'test') ON CONFLICT DO NOTHING`,
        [team],
      );
    await tx.query(
      `INSERT INTO people (id, project_id, email, name, roles, teams, control_version) VALUES ($1, 'prj_a', $2, $3, $4, $5, $6)`,
      [id, email, name, held, teams.map((team) => `team_${team}`), version],
    );
  });
  const { rows } = await pool.query<{ id: string }>(
    `INSERT INTO sessions (id, digest, project_id, principal_id, person_id, method, address, user_agent, expires_at, authenticated_at)
     VALUES ('ses_' || $1, sha256($1::bytea), 'prj_a', $1, $1, 'oidc', '', '', now() + interval '1 hour', now()) RETURNING id`,
    [id],
  );
  return principal({
    id,
    name,
    personId: id,
    method: 'session',
    sessionId: rows[0]?.id ?? '',
    scopes: new Set(['approvals:decide', 'runs:read']),
  });
}

/** Somebody of the project. */
export function principal(known: Partial<Principal>): Principal {
  return {
    kind: 'operator',
    id: 'psn_1',
    name: 'Ada',
    projectId: 'prj_a',
    scopes: new Set(),
    method: 'api_key',
    agentId: null,
    personId: null,
    keyId: null,
    runId: null,
    models: null,
    teams: [],
    requiresSignature: false,
    binding: null,
    cidrs: null,
    token: null,
    expiresAt: null,
    ...known,
  };
}
