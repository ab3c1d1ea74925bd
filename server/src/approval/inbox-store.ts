import { approvalsPendingPerProjectMax } from '../base/approval-limits.ts';
import type { Queryable } from '../pg/tx.ts';
import type { Approval, ApprovalKind, Risk } from './model.ts';
import { type DeciderFacts, hindranceOf, type Interested } from './rules.ts';

/** A request that waits for somebody, as a list shows it. */
export interface Waiting extends Pick<
  Approval,
  'id' | 'projectId' | 'kind' | 'summary' | 'risk' | 'quorum' | 'groups' | 'createdAt' | 'expiresAt'
> {
  readonly requesterName: string;
  /** Whether this person voted for what is in force already. */
  readonly voted: boolean;
}

interface Row {
  readonly id: string;
  readonly project_id: string;
  readonly kind: ApprovalKind;
  readonly summary: string;
  readonly risk: Risk;
  readonly quorum: number;
  readonly groups: string[];
  readonly created_at: Date;
  readonly expires_at: Date;
  readonly requester_name: string;
  readonly voted: boolean;
  readonly interested: readonly Interested[];
}

/** What waits in the person's project and is theirs to decide, what ends first before the rest. */
export async function selectWaitingFor(db: Queryable, person: DeciderFacts): Promise<Waiting[]> {
  const { rows } = await db.query<Row>(
    `SELECT waiting.id, waiting.project_id, kind, summary, risk, quorum, groups, waiting.created_at, expires_at,
       requester_name,
       EXISTS (SELECT FROM approval_votes WHERE approval_id = waiting.id AND person_id = $2
                 AND digest = coalesce(edited_digest, waiting.digest)) AS voted,
       ARRAY(SELECT jsonb_build_object('id', people.id, 'email', email) FROM people
             WHERE people.id = requester_person_id OR people.id = agents.person_id) AS interested
     FROM approvals waiting LEFT JOIN agents ON agents.id = requester_agent_id
     WHERE waiting.project_id = $1 AND waiting.state = 'pending' AND expires_at > clock_timestamp()
     ORDER BY expires_at, waiting.id LIMIT $3`,
    [person.projectId, person.id, approvalsPendingPerProjectMax],
  );
  return rows.map(fromRow).flatMap(([waiting, interested]) => {
    return hindranceOf(person, waiting, interested) === null ? [waiting] : [];
  });
}

function fromRow(row: Row): readonly [Waiting, readonly Interested[]] {
  const waiting = {
    id: row.id,
    projectId: row.project_id,
    kind: row.kind,
    summary: row.summary,
    risk: row.risk,
    quorum: row.quorum,
    groups: row.groups,
    createdAt: row.created_at.getTime(),
    expiresAt: row.expires_at.getTime(),
    requesterName: row.requester_name,
    voted: row.voted,
  };
  return [waiting, row.interested];
}
