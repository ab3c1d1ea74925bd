import type { Pool } from 'pg';
import { appendAudit } from '../audit/append.ts';
import type { Clock } from '../base/clock.ts';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { killSwitchesPerProjectMax, modelNameCharsMax, reasonCharsMax } from '../base/limits.ts';
import type { Principal } from '../identity/model.ts';
import { permits, requireScope } from '../identity/permission.ts';
import { controlWrite, type Tx } from '../pg/tx.ts';
import {
  closeExpired,
  countEngaged,
  findKillSwitch,
  findKillTarget,
  findProject,
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
    const reason = request.reason.trim();
    if (reason === '' || reason.length > reasonCharsMax) {
      throw invalid('reason', `A reason of 1 to ${reasonCharsMax} characters is required: it is shown to those who are stopped.`);
    }
    if (request.expiresAt !== null && request.expiresAt <= this.#clock.now()) {
      throw invalid('expire_time', 'expire_time is in the past: leave it out to stop until released.');
    }
    return controlWrite(this.#pool, async (tx, version) => {
      const target = await resolveTarget(tx, by, request);
      await closeExpired(tx, version, target);
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
      if (!kill) throw new PortcullisError('not_found', `There is no kill switch ${request.id} in this project.`);
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
}

async function resolveTarget(tx: Tx, by: Principal, request: EngageRequest): Promise<KillTarget> {
  const { scope, projectId } = request;
  const value = request.value.trim();
  switch (scope) {
    case 'everything':
      requireScope(by, 'admin');
      if (value !== '') throw invalid('value', 'value must be empty where the scope is everything.');
      return { scope, value, projectId: null };
    case 'project': {
      const id = value === '' ? projectId : await findProject(tx, value);
      const allowed = id !== null && (id === by.projectId || permits(by, 'admin'));
      if (!allowed) throw new PortcullisError('not_found', `There is no project "${value}" that you may stop.`);
      return { scope, value: id, projectId: id };
    }
    case 'model':
      if (!modelPattern.test(value)) throw invalid('value', 'value must be a model name, such as claude-* or gpt-5.');
      return { scope, value, projectId };
    case 'agent':
    case 'key':
    case 'run': {
      const id = await findKillTarget(tx, scope, value, projectId);
      if (id === null) throw new PortcullisError('not_found', `There is no ${scope} "${value}" in this project.`);
      return { scope, value: id, projectId };
    }
  }
}

/** The data plane compares each call with the switches of its project, so their number is bounded; a stop of the whole always fits. */
async function requireRoom(tx: Tx, target: KillTarget): Promise<void> {
  if (target.projectId === null || target.scope === 'project') return;
  if ((await countEngaged(tx, target.projectId)) < killSwitchesPerProjectMax) return;
  throw new PortcullisError(
    'conflict',
    `${killSwitchesPerProjectMax} kill switches are engaged in this project: release some, or stop the whole project.`,
  );
}

const modelPattern = new RegExp(String.raw`^[^\s\p{C}]{1,${modelNameCharsMax}}$`, 'u');

function invalid(param: string, message: string): PortcullisError {
  return new PortcullisError('invalid_argument', message, { param });
}
