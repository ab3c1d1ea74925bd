import type { Clock } from '../base/clock.ts';
import { type AddressRange, isInRanges, parseAddressRange } from '../net/client-address.ts';
import type { ControlPart } from '../pg/control-feed.ts';
import type { Queryable } from '../pg/tx.ts';
import { agentsSince } from './agent-store.ts';
import { digestsEqual } from './api-key.ts';
import { keysSince, type StoredKey } from './key-store.ts';
import type { Principal, RefusalReason } from './model.ts';
import { scopesNotForAgents } from './permission.ts';
import { peopleSince } from './person-store.ts';
import { projectsSince } from './project-store.ts';
import type { AgentRecord, Durability, PersonRecord, ProjectRecord } from './records.ts';
import { scopesOfRoles } from './roles.ts';
import { commonScopes, isScope, type Scope } from './scopes.ts';

/** What the verification of a key needs of its row. */
interface IndexedKey {
  readonly stored: StoredKey;
  readonly scopes: ReadonlySet<Scope>;
  readonly ranges: readonly AddressRange[] | null;
}

/** Who or what a call is charged to, as far as it can be ended. */
export type Subject = Pick<Principal, 'keyId' | 'agentId' | 'personId'>;

// Ended keys are kept for a while, so that the log can say why one was refused, and longer than any call that began
// before its key expired.
const endedKeyKeptMs = 2 * 86_400_000;
const pruneEveryMs = 3_600_000;

/** Projects, people, agents and keys in memory, as new as the control feed: identifying a caller asks no database. */
export class IdentityIndex implements ControlPart {
  readonly name = 'identity';
  readonly #clock: Clock;
  readonly #projects = new Map<string, ProjectRecord>();
  readonly #people = new Map<string, PersonRecord>();
  readonly #agents = new Map<string, AgentRecord>();
  readonly #agentsByName = new Map<string, AgentRecord>();
  readonly #agentsBySubject = new Map<string, AgentRecord>();
  readonly #keys = new Map<string, IndexedKey>();
  #pruneAfter = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async load(db: Queryable, since: bigint): Promise<() => void> {
    const projects = await projectsSince(db, since);
    const people = await peopleSince(db, since);
    const agents = await agentsSince(db, since);
    const keys = (await keysSince(db, since)).map(indexed);
    return () => {
      for (const project of projects) this.#projects.set(project.id, project);
      for (const person of people) this.#people.set(person.id, person);
      for (const agent of agents) {
        this.#agents.set(agent.id, agent);
        this.#agentsByName.set(nameKey(agent.projectId, agent.name), agent);
        if (agent.issuer !== null && agent.subject !== null) {
          this.#agentsBySubject.set(subjectKey(agent.projectId, agent.issuer, agent.subject), agent);
        }
      }
      for (const key of keys) this.#keys.set(key.stored.id, key);
      this.#pruneKeys();
    };
  }

  /** The project that configuration names. */
  projectByName(name: string): ProjectRecord | null {
    return this.#projects.values().find((project) => project.name === name) ?? null;
  }

  /** How the money of the project's calls is written down; a project that was never heard of is strict. */
  durabilityOf(projectId: string): Durability {
    return this.#projects.get(projectId)?.durability ?? 'strict';
  }

  /** Whether the key id was ever heard of. */
  hasKey(id: string): boolean {
    return this.#keys.has(id);
  }

  /** Who holds the key, or why it does not hold. */
  resolveKey(id: string, secretHash: Buffer, clientAddress: string): Principal | RefusalReason {
    const key = this.#keys.get(id);
    if (!key) return 'unknown_key';
    if (!digestsEqual(key.stored.secretHash, secretHash)) return 'bad_secret';
    return this.#holder(key, clientAddress);
  }

  /** Who holds a key that somebody signed in with, or why it does not hold any more. */
  holderOfKey(id: string, clientAddress: string): Principal | RefusalReason {
    const key = this.#keys.get(id);
    return key ? this.#holder(key, clientAddress) : 'unknown_key';
  }

  #holder(key: IndexedKey, clientAddress: string): Principal | RefusalReason {
    const { stored, ranges } = key;
    if (stored.expiresAt !== null && stored.expiresAt <= this.#clock.now()) return 'key_expired';
    const principal = this.#principalOf(key);
    const ended = this.whyEnded(principal);
    if (ended === 'key_revoked' && stored.runId !== null) return 'run_key_ended';
    if (ended) return ended;
    if (ranges && !isInRanges(clientAddress, ranges)) return 'address_not_allowed';
    return principal;
  }

  /** The agent that an issuer knows under this subject. An agent of another project is not it, whoever registered it. */
  agentBySubject(projectId: string, issuer: string, subject: string): AgentRecord | null {
    return this.#agentsBySubject.get(subjectKey(projectId, issuer, subject)) ?? null;
  }

  /** The agent of the project that has this id, or else this name: nobody is taken for another by a name that they chose. */
  agentOf(projectId: string, idOrName: string): AgentRecord | null {
    const byId = this.#agents.get(idOrName);
    if (byId) return byId.projectId === projectId ? byId : null;
    return this.#agentsByName.get(nameKey(projectId, idOrName)) ?? null;
  }

  /**
   * Why a caller that was let in must not go on: its key was revoked, or its agent or person disabled; null when it
   * may. An expired key ends no call, it begins none.
   */
  whyEnded({ keyId, agentId, personId }: Subject): RefusalReason | null {
    if (keyId !== null) {
      const key = this.#keys.get(keyId);
      if (!key || key.stored.revokedAt !== null) return 'key_revoked';
    }
    const agent = agentId === null ? undefined : this.#agents.get(agentId);
    if (agent?.state === 'disabled') return 'agent_disabled';
    const person = this.#people.get(agent?.personId ?? personId ?? '');
    return person?.state === 'disabled' ? 'person_disabled' : null;
  }

  /** What a caller that was let in may do now: the roles of its person may have changed. */
  scopesNow({ keyId, method, id, scopes }: Principal): ReadonlySet<Scope> {
    const key = keyId === null ? undefined : this.#keys.get(keyId);
    if (key) return this.#principalOf(key).scopes;
    if (method !== 'session') return scopes;
    const person = this.personInSession(id);
    return typeof person === 'string' ? new Set() : person.scopes;
  }

  /** Whether the person was ever heard of. */
  hasPerson(id: string): boolean {
    return this.#people.has(id);
  }

  /** Ids of the teams of a person; none for nobody. */
  teamsOf(personId: string | null): readonly string[] {
    return (personId === null ? undefined : this.#people.get(personId))?.teams ?? [];
  }

  /** A person who signed in, with what their roles give them now, or why they may not go on. */
  personInSession(id: string): Principal | RefusalReason {
    const person = this.#people.get(id);
    if (!person || person.state === 'disabled') return 'person_disabled';
    if (person.roles === null || person.roles.length === 0) return 'no_role';
    return {
      kind: 'operator',
      id,
      name: person.name,
      projectId: person.projectId,
      scopes: scopesOfRoles(person.roles),
      method: 'session',
      agentId: null,
      personId: id,
      keyId: null,
      runId: null,
      models: null,
      teams: person.teams,
      requiresSignature: false,
      binding: null,
      cidrs: null,
      token: null,
      expiresAt: null,
    };
  }

  #principalOf({ stored, scopes }: IndexedKey): Principal {
    const agent = stored.agentId === null ? undefined : this.#agents.get(stored.agentId);
    const person = stored.personId === null ? undefined : this.#people.get(stored.personId);
    return {
      kind: stored.kind,
      id: stored.agentId ?? stored.personId ?? stored.id,
      name: agent?.name ?? person?.name ?? stored.name,
      projectId: stored.projectId,
      scopes: boundScopes(stored, scopes, person),
      method: 'api_key',
      agentId: stored.agentId,
      personId: agent?.personId ?? stored.personId,
      keyId: stored.id,
      runId: stored.runId,
      models: stored.models,
      teams: this.teamsOf(agent?.personId ?? stored.personId),
      requiresSignature: stored.requireSignature,
      binding: stored.binding,
      cidrs: stored.cidrs,
      ...(stored.loginId === null ? {} : { loginId: stored.loginId }),
      token: null,
      expiresAt: stored.expiresAt,
    };
  }

  #pruneKeys(): void {
    const now = this.#clock.now();
    if (now < this.#pruneAfter) return;
    this.#pruneAfter = now + pruneEveryMs;
    for (const [id, { stored }] of this.#keys) {
      const endedAt = Math.min(stored.revokedAt ?? Infinity, stored.expiresAt ?? Infinity);
      if (endedAt + endedKeyKeptMs < now) this.#keys.delete(id);
    }
  }
}

/**
 * What a key may do where the roles of its person have been said: an operator's no more than these give, and a service's no
 * more of what no agent may hold. Else somebody who loses a role would keep it in a program's key.
 */
function boundScopes(
  { kind }: StoredKey,
  scopes: ReadonlySet<Scope>,
  person: PersonRecord | undefined,
): ReadonlySet<Scope> {
  const roles = person?.roles ?? null;
  if (kind === 'agent' || roles === null) return scopes;
  const given = scopesOfRoles(roles);
  if (kind === 'operator') return commonScopes(scopes, given);
  return scopes.difference(scopesNotForAgents).union(commonScopes(scopes.intersection(scopesNotForAgents), given));
}

function indexed(stored: StoredKey): IndexedKey {
  return {
    stored,
    scopes: new Set(stored.scopes.filter(isScope)),
    ranges: stored.cidrs?.map(parseAddressRange) ?? null,
  };
}

function nameKey(projectId: string, name: string): string {
  return `${projectId}\0${name}`;
}

// No text in PostgreSQL contains a zero byte, and no id of a project or URL of an issuer does.
function subjectKey(projectId: string, issuer: string, subject: string): string {
  return `${projectId}\0${issuer}\0${subject}`;
}
