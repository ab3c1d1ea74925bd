import type { Pool } from 'pg';
import { appendAudit } from '../audit/append.ts';
import type { Clock } from '../base/clock.ts';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { killSwitchesPerProjectMax, modelNameCharsMax, reasonCharsMax } from '../base/limits.ts';
import { checkLine, invalid } from '../identity/input.ts';
import type { Principal } from '../identity/model.ts';
import { type Page, type PageRequest, readPage } from '../identity/page.ts';
import { permits, requireScope } from '../identity/permission.ts';
import { findProject, findProjectByName } from '../identity/project-store.ts';
import { requireProject } from '../identity/references.ts';
import { controlWrite, type Tx } from '../pg/tx.ts';
import {
  closeExpired,
  countUnreleased,
  findKillSwitch,
  findKillTarget,
  listEngaged,
  type KillTarget,
  releaseKillSwitch,
  upsertKillSwitch,
} from './kill-store.ts';
import type { KillScope, KillSwitch } from './model.ts';

export interface EngageRequest {
  readonly scope: KillScope;
  /** An id, an agent's or project's name, or a model pattern; empty for everything and for the own project. */
  readonly value: string;
  /** Where `value` is looked for. */
  readonly projectId: string;
  readonly reason: string;
  /** Epoch milliseconds; null is until released. */
  readonly expiresAt: number | null;
}

/** Engages and releases kill switches. Scopes are checked by the API; what only `admin` may do is checked here. */
export class KillService {
  readonly #pool: Pool;
  readonly #clock: Clock;

  constructor(pool: Pool, clock: Clock) {
    this.#pool = pool;
    this.#clock = clock;
  }

  /**
   * Stops a scope. What is stopped already stays stopped, until the later of both expiries; every call is audited.
   * @returns the switch, and the control version from which a replica obeys it
   * @throws PortcullisError invalid_argument, insufficient_scope, not_found (nothing of that name: a stop that stops
   * nothing must not look like one)
   */
  async engage(
    by: Principal,
    requestId: string,
    request: EngageRequest,
  ): Promise<{ result: KillSwitch; version: bigint }> {
    const reason = checkLine('reason', request.reason, 1, reasonCharsMax);
    if (request.expiresAt !== null && request.expiresAt <= this.#clock.now()) {
      throw invalid('expire_time', 'expire_time is in the past: leave it out to stop until released.');
    }
    return controlWrite(this.#pool, async (tx, version) => {
      const target = await resolveTarget(tx, by, request);
      await closeExpired(tx, version, target.projectId);
      await requireRoom(tx, target);
      const id = newId('kil');
      const kill = await upsertKillSwitch(tx, version, {
        ...target,
        id,
        reason,
        engagedBy: by.name,
        expiresAt: request.expiresAt,
      });
      await appendAudit(tx, {
        actor: { kind: by.kind, id: by.id },
        action: 'kill.engaged',
        target: kill.id,
        projectId: kill.projectId,
        requestId,
        payload: { ...target, reason, expires_at: kill.expiresAt, already_engaged: kill.id !== id },
      });
      return kill;
    });
  }

  /**
   * Ends a stop; ending it twice changes nothing the second time.
   * @throws PortcullisError not_found, insufficient_scope
   */
  async release(
    by: Principal,
    requestId: string,
    request: { readonly id: string; readonly projectId: string },
  ): Promise<{ result: KillSwitch; version: bigint }> {
    return controlWrite(this.#pool, async (tx, version) => {
      const kill = await findKillSwitch(tx, request.id, request.projectId);
      if (!kill)
        throw new PortcullisError('not_found', `There is no kill switch ${request.id.slice(0, 100)} in this project.`);
      if (kill.scope === 'everything') requireScope(by, 'admin');
      const released = await releaseKillSwitch(tx, version, kill.id, by.name);
      if (!released) return kill;
      await appendAudit(tx, {
        actor: { kind: by.kind, id: by.id },
        action: 'kill.released',
        target: kill.id,
        projectId: kill.projectId,
        requestId,
        payload: { scope: kill.scope, value: kill.value, engaged_by: kill.engagedBy, reason: kill.reason },
      });
      return released;
    });
  }

  /** Switches engaged now that reach the project, newest first. @throws PortcullisError invalid_argument */
  list(projectId: string, page: PageRequest): Promise<Page<KillSwitch>> {
    return readPage(page, (beforeId, limit) => listEngaged(this.#pool, projectId, beforeId, limit));
  }
}

async function resolveTarget(tx: Tx, by: Principal, request: EngageRequest): Promise<KillTarget> {
  const { scope, projectId } = request;
  const value = request.value.trim();
  if (scope === 'everything') {
    requireScope(by, 'admin');
    if (value !== '') throw invalid('value', 'value must be empty where the scope is everything.');
    return { scope, value, projectId: null };
  }
  if (scope === 'project') {
    const id = await findProjectId(tx, value === '' ? projectId : value);
    if (id === null || (id !== by.projectId && !permits(by, 'admin'))) {
      throw new PortcullisError('not_found', `There is no project "${value.slice(0, 100)}" that you may stop.`);
    }
    return { scope, value: id, projectId: id };
  }
  await requireProject(tx, projectId);
  if (scope === 'model') return { scope, value: checkLine('value', value, 1, modelNameCharsMax), projectId };
  const id = await findKillTarget(tx, scope, value, projectId);
  if (id === null)
    throw new PortcullisError('not_found', `There is no ${scope} "${value.slice(0, 100)}" in this project.`);
  return { scope, value: id, projectId };
}

async function findProjectId(tx: Tx, value: string): Promise<string | null> {
  const project = (await findProject(tx, value)) ?? (await findProjectByName(tx, value));
  return project?.id ?? null;
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
