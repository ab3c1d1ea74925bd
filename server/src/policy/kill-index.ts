import { PortcullisError } from '../base/errors.ts';
import type { ControlPart } from '../pg/control-feed.ts';
import type { Queryable } from '../pg/tx.ts';
import { matchesWildcard } from '../base/wildcard.ts';
import type { KillTarget } from './kill-rules.ts';
import { killSwitchesSince, type StoredKillSwitch } from './kill-store.ts';
import type { CallSubject, KillScope, KillSwitch } from './model.ts';

/**
 * The engaged kill switches, in memory. A switch stops calls of its own project alone, whatever it names; the one for
 * everything has no project. Fed by the control feed; expiry needs no event, since each look compares times: those of the
 * database's clock, since a replica's own may be wrong.
 */
export class KillIndex implements ControlPart {
  readonly name = 'kill switches';
  /** By scope, project and value; at most one unreleased switch has the same three. */
  readonly #engaged = new Map<string, KillSwitch>();
  /** The switches with a pattern, by project. */
  readonly #models = new Map<string, Map<string, KillSwitch>>();
  /** The switches on keys of logins, by login. */
  readonly #logins = new Map<string, Map<string, KillSwitch>>();
  #applied: KillSwitch[] = [];

  async load(db: Queryable, since: bigint): Promise<() => void> {
    const changed = await killSwitchesSince(db, since);
    return () => {
      // Releases first: the same scope may have been released and engaged anew between two reads.
      for (const kill of changed) if (kill.releasedAt !== null) this.#remove(kill);
      for (const kill of changed) if (kill.releasedAt === null) this.#add(kill);
      // Nothing of a drill stays.
      this.#applied.push(...changed.filter(({ drill }) => drill));
    };
  }

  /** The switches, drills too, that this replica obeys since this was last asked for: to be acknowledged. */
  takeApplied(): readonly KillSwitch[] {
    const applied = this.#applied;
    this.#applied = [];
    return applied;
  }

  /** The switch that stops such a call at that time of the database's clock, the widest first; null: none does. */
  killedBy(subject: CallSubject, nowMs: number): KillSwitch | null {
    if (this.#engaged.size === 0) return null;
    const { projectId, agentId, keyId, loginId, runId, workflow, provider, models } = subject;
    return (
      this.#at('everything', null, '', nowMs) ??
      this.#at('project', projectId, projectId, nowMs) ??
      this.#at('agent', projectId, agentId, nowMs) ??
      this.#at('key', projectId, keyId, nowMs) ??
      this.#byLogin(projectId, loginId, nowMs) ??
      this.#at('run', projectId, runId, nowMs) ??
      this.#at('workflow', projectId, workflow, nowMs) ??
      this.#at('provider', projectId, provider, nowMs) ??
      this.#byModel(projectId, models, nowMs)
    );
  }

  /** How many are engaged at that time, for the gauge. */
  engagedAt(nowMs: number): number {
    let count = 0;
    for (const kill of this.#engaged.values()) if (isInForce(kill, nowMs)) count++;
    return count;
  }

  #at(scope: KillScope, projectId: string | null, value: string | null, nowMs: number): KillSwitch | null {
    if (value === null) return null;
    const kill = this.#engaged.get(slot({ scope, projectId, value }));
    return kill && isInForce(kill, nowMs) ? kill : null;
  }

  #byLogin(projectId: string, loginId: string | null | undefined, nowMs: number): KillSwitch | null {
    if (!loginId) return null;
    for (const kill of this.#logins.get(loginId)?.values() ?? [])
      if (kill.projectId === projectId && isInForce(kill, nowMs)) return kill;
    return null;
  }

  #byModel(projectId: string, models: readonly string[], nowMs: number): KillSwitch | null {
    const patterns = this.#models.get(projectId);
    if (!patterns) return null;
    for (const kill of patterns.values()) {
      if (isInForce(kill, nowMs) && models.some((model) => matchesWildcard(kill.value, model))) return kill;
    }
    return null;
  }

  #add(kill: StoredKillSwitch): void {
    if (this.#engaged.get(slot(kill))?.id !== kill.id) this.#applied.push(kill);
    this.#engaged.set(slot(kill), kill);
    if (kill.loginId) {
      const ofLogin = this.#logins.get(kill.loginId) ?? new Map<string, KillSwitch>();
      this.#logins.set(kill.loginId, ofLogin.set(kill.value, kill));
    }
    if (kill.scope !== 'model' || kill.projectId === null) return;
    const patterns = this.#models.get(kill.projectId) ?? new Map<string, KillSwitch>();
    this.#models.set(kill.projectId, patterns.set(kill.value, kill));
  }

  #remove(kill: StoredKillSwitch): void {
    if (this.#engaged.get(slot(kill))?.id !== kill.id) return;
    this.#engaged.delete(slot(kill));
    if (kill.loginId) {
      this.#logins.get(kill.loginId)?.delete(kill.value);
      if (this.#logins.get(kill.loginId)?.size === 0) this.#logins.delete(kill.loginId);
    }
    if (kill.scope === 'model' && kill.projectId !== null) this.#models.get(kill.projectId)?.delete(kill.value);
  }
}

/** What the stopped caller is told: what stopped it, who, why, and how to go on. */
export function killError(kill: KillSwitch): PortcullisError {
  const stopped = kill.scope === 'everything' ? 'everything' : `the ${kill.scope} ${kill.value}`;
  const next =
    kill.expiresAt === null
      ? 'Nothing goes on until it is released.'
      : `It ends at ${new Date(kill.expiresAt).toISOString()} unless it is released before.`;
  const reason = /[.!?]$/.test(kill.reason) ? kill.reason : `${kill.reason}.`;
  return new PortcullisError(
    'killed',
    `Stopped by the kill switch for ${stopped}, engaged by ${kill.engagedBy}: ${reason} ${next}`,
    { rule: kill.id },
  );
}

function isInForce({ expiresAt }: KillSwitch, nowMs: number): boolean {
  return expiresAt === null || nowMs < expiresAt;
}

function slot({ scope, projectId, value }: KillTarget): string {
  return `${scope} ${projectId ?? ''} ${value}`;
}
