import type { Pool } from 'pg';
import { appendAudit } from '../audit/append.ts';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import {
  instanceBeatMs,
  instanceDeadMs,
  killDrillMsDefault,
  killDrillMsMax,
  killSwitchesPerProjectMax,
  killTtlMsMax,
  reasonCharsMax,
} from '../base/limits.ts';
import { checkLine, invalid } from '../identity/input.ts';
import type { Principal } from '../identity/model.ts';
import { type Page, type PageRequest, readPage } from '../identity/page.ts';
import { requireScope } from '../identity/permission.ts';
import { controlWrite, type Tx } from '../pg/tx.ts';
import { type ReplicaStand, replicaStands } from './acknowledgement-store.ts';
import { confirm, release } from './kill-release.ts';
import type { KillTarget } from './kill-rules.ts';
import {
  closeExpired,
  countUnreleased,
  findKillSwitch,
  insertDrill,
  listEngaged,
  type StoredKillSwitch,
  upsertKillSwitch,
} from './kill-store.ts';
import { type NamedTarget, resolveTarget } from './kill-target.ts';

export interface EngageRequest extends NamedTarget {
  readonly reason: string;
  /** Epoch milliseconds. Null, without `ttlMs` too: until released. */
  readonly expiresAt: number | null;
  /** From now, by the database's clock; not beside `expiresAt`. */
  readonly ttlMs: number | null;
  /** Stops nothing: replicas say what they would have stopped, until it ends by itself. */
  readonly drill: boolean;
}

export interface KillOptions {
  /** Whether the configuration of this process has a provider of that name. */
  readonly isProvider: (name: string) => boolean;
  /** Epoch milliseconds by the database's clock. */
  readonly databaseNow: () => number;
  /** KILL_RELEASE_TWO_PEOPLE. */
  readonly twoPeople: boolean;
  /** CONTROL_AGE_MAX_MS: a replica may let calls through for so long after the database last saw it. */
  readonly controlAgeMaxMs: number;
}

/** A change of a switch, and the control version from which a replica obeys it. */
type Changed = Promise<{ result: StoredKillSwitch; version: bigint }>;

interface Named {
  readonly id: string;
  readonly projectId: string;
}

/** Engages and releases kill switches. Scopes are checked by the API; what only `admin` may do is checked here. */
export class KillService {
  readonly #pool: Pool;
  readonly #options: KillOptions;

  constructor(pool: Pool, options: KillOptions) {
    this.#pool = pool;
    this.#options = options;
  }

  /**
   * Stops a scope. What is stopped already stays stopped, until the later of both expiries; every call is audited. A drill
   * is always one of its own.
   * @throws PortcullisError invalid_argument, insufficient_scope, not_found (nothing of that name), conflict (too many)
   */
  async engage(by: Principal, requestId: string, request: EngageRequest): Changed {
    const reason = checkLine('reason', request.reason, 1, reasonCharsMax);
    const { drill, expiresAt } = request;
    const ttlMs = ttlOf(request);
    if (expiresAt !== null && expiresAt <= this.#options.databaseNow()) {
      throw invalid('expire_time', 'expire_time is in the past: leave it out to stop until released.');
    }
    return controlWrite(this.#pool, async (tx, version) => {
      const target = await resolveTarget(tx, by, request, this.#options.isProvider);
      const made = { ...target, id: newId('kil'), reason, engagedBy: by.name, expiresAt, ttlMs };
      const kill = await (drill ? insertDrill(tx, version, made) : engageReal(tx, version, made));
      await appendAudit(tx, {
        actor: { kind: by.kind, id: by.id },
        action: drill ? 'kill.drilled' : 'kill.engaged',
        target: kill.id,
        projectId: kill.projectId,
        requestId,
        payload: { ...target, reason, expires_at: kill.expiresAt, already_engaged: kill.id !== made.id },
      });
      return kill;
    });
  }

  /**
   * Ends a stop; ending it twice changes nothing the second time. Where two people must, the first only asks.
   * @throws PortcullisError not_found, insufficient_scope, policy_denied
   */
  release(by: Principal, requestId: string, named: Named): Changed {
    const request = { by, requestId, ...named };
    return controlWrite(this.#pool, (tx, version) => release(tx, version, request, this.#options.twoPeople));
  }

  /** Ends the stop of everything as the second person. @throws PortcullisError not_found, insufficient_scope, policy_denied, conflict */
  confirmRelease(by: Principal, requestId: string, named: Named): Changed {
    return controlWrite(this.#pool, (tx, version) => confirm(tx, version, { by, requestId, ...named }));
  }

  /** @throws PortcullisError not_found */
  async get({ id, projectId }: Named): Promise<StoredKillSwitch> {
    const kill = await findKillSwitch(this.#pool, id, projectId);
    if (kill) return kill;
    throw new PortcullisError('not_found', `There is no kill switch ${id.slice(0, 100)} in this project.`);
  }

  /** Switches engaged now that reach the project, newest first. @throws PortcullisError invalid_argument */
  list(projectId: string, page: PageRequest): Promise<Page<StoredKillSwitch>> {
    return readPage(page, (beforeId, limit) => listEngaged(this.#pool, projectId, beforeId, limit));
  }

  /**
   * What each replica did with a switch, those that were started last first: all that acknowledged it, and all that live.
   * What crosses projects is for `admin:read` alone, since it counts the calls of all.
   * @throws PortcullisError invalid_argument, not_found, insufficient_scope
   */
  async replicas(by: Principal, named: Named, page: PageRequest): Promise<Page<ReplicaStand>> {
    const kill = await this.get(named);
    if (kill.projectId === null) requireScope(by, 'admin:read');
    const liveMs = Math.max(instanceDeadMs, this.#options.controlAgeMaxMs + instanceBeatMs);
    return readPage(page, (beforeId, limit) => replicaStands(this.#pool, kill.id, liveMs, beforeId, limit));
  }
}

/** Null where no length was named. @throws PortcullisError invalid_argument */
function ttlOf({ drill, expiresAt, ttlMs }: EngageRequest): number | null {
  if (expiresAt !== null && ttlMs !== null) throw invalid('ttl', 'Name ttl or expire_time, not both.');
  if (ttlMs !== null && (ttlMs <= 0 || ttlMs > killTtlMsMax)) {
    throw invalid('ttl', 'ttl must be from one second to ten years.');
  }
  if (!drill) return ttlMs;
  if (expiresAt !== null) throw invalid('expire_time', 'A drill ends after its ttl: leave expire_time out.');
  if (ttlMs !== null && ttlMs > killDrillMsMax) throw invalid('ttl', 'A drill lasts an hour at most.');
  return ttlMs ?? killDrillMsDefault;
}

async function engageReal(
  tx: Tx,
  version: bigint,
  made: Parameters<typeof upsertKillSwitch>[2],
): Promise<StoredKillSwitch> {
  await closeExpired(tx, version, made.projectId);
  await requireRoom(tx, made);
  return upsertKillSwitch(tx, version, made);
}

/** The data plane compares each call with the switches of its project, so their number is bounded; a stop of the whole always fits. */
async function requireRoom(tx: Tx, target: KillTarget): Promise<void> {
  if (target.projectId === null || target.scope === 'project') return;
  if ((await countUnreleased(tx, target.projectId)) < killSwitchesPerProjectMax) return;
  throw new PortcullisError(
    'conflict',
    `${killSwitchesPerProjectMax} kill switches are engaged in this project: release some, or stop the whole project.`,
  );
}
