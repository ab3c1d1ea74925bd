import { grants } from '../identity/scopes.ts';
import { isRole, type Role, scopesOfRoles } from '../identity/roles.ts';
import type { Approval, DecisionAction, DecisionWay, OutcomeState, Rung } from './model.ts';

/** What of a person decides whether they may decide. */
export interface DeciderFacts {
  readonly id: string;
  readonly projectId: string;
  readonly email: string;
  readonly active: boolean;
  readonly roles: readonly Role[] | null;
  /** Names of their teams. */
  readonly teams: readonly string[];
}

/** Who asks, or answers for who does, now or when it was asked: people who never decide. */
export interface Interested {
  readonly id: string;
  readonly email: string;
}

/** Why a person may not decide; null where they may. */
export type Hindrance = 'inactive' | 'own' | 'role' | 'group' | null;

/** Whether such a group can be named: `role:<role>`, `team:<name>` or `person:<email>`. */
export function isGroup(group: string): boolean {
  const [kind, name] = split(group);
  if (kind === 'role') return isRole(name);
  return (kind === 'team' || kind === 'person') && name !== '' && name.trim() === name && !/\p{C}/u.test(name);
}

/**
 * Whether somebody belongs to a group of a project. Administrators are in every role, of every project; people of other
 * projects are in no group otherwise.
 */
export function isIn(person: DeciderFacts, group: string, projectId: string): boolean {
  const [kind, name] = split(group);
  const held = person.roles ?? [];
  if (kind === 'role') {
    if (held.includes('admin')) return true;
    return person.projectId === projectId && held.some((role) => role === name);
  }
  if (person.projectId !== projectId) return false;
  return kind === 'team' ? person.teams.includes(name) : kind === 'person' && person.email === name.toLowerCase();
}

function split(group: string): [kind: string, name: string] {
  const colon = group.indexOf(':');
  return colon < 0 ? ['', group] : [group.slice(0, colon), group.slice(colon + 1)];
}

/** Whether a person may decide, whatever they show for being that person. One address is one person, under whatever record. */
export function hindranceOf(
  person: DeciderFacts,
  approval: Pick<Approval, 'projectId' | 'groups'>,
  interested: readonly Interested[],
): Hindrance {
  if (!person.active) return 'inactive';
  if (interested.some(({ id, email }) => id === person.id || sameAddress(email, person.email))) return 'own';
  if (!grants(scopesOfRoles(person.roles ?? []), 'approvals:decide')) return 'role';
  return approval.groups.some((group) => isIn(person, group, approval.projectId)) ? null : 'group';
}

export function sameAddress(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}

/** What who decides must show: a session where a stolen key or a forwarded link must not be enough, and for high risk a fresh one. */
export function demandsOf({ risk, quorum }: Pick<Approval, 'risk' | 'quorum'>): {
  readonly session: boolean;
  readonly fresh: boolean;
} {
  return { session: risk === 'high' || quorum > 1, fresh: risk === 'high' };
}

/** Whether it is shown well enough. */
export function meets(demands: ReturnType<typeof demandsOf>, way: DecisionWay, isFresh: boolean): boolean {
  return (!demands.session || way === 'session') && (!demands.fresh || isFresh);
}

/** A vote that may count. */
export interface CountedVote {
  readonly personId: string;
  readonly email: string;
  readonly digest: Buffer;
  readonly action: DecisionAction;
}

/** How many people approved that digest; two records of one address are one person. */
export function approvers(votes: readonly CountedVote[], digest: Buffer): number {
  const counted = votes.filter(({ action, digest: seen }) => isYes(action) && seen.equals(digest));
  const ids = new Set(counted.map(({ personId }) => personId));
  const addresses = new Set(counted.map(({ email }) => email.toLowerCase()));
  return Math.min(ids.size, addresses.size);
}

function isYes(action: DecisionAction): boolean {
  return action === 'approve' || action === 'edit';
}

/**
 * What becomes of a request by a vote that may be cast: its outcome, or null where more people must agree.
 * @param votes those that count, this one among them
 * @param digest the one in force after this vote
 */
export function outcomeOf(
  action: DecisionAction,
  { quorum, isEdited }: { readonly quorum: number; readonly isEdited: boolean },
  votes: readonly CountedVote[],
  digest: Buffer,
): OutcomeState | null {
  if (!isYes(action)) return 'rejected';
  if (approvers(votes, digest) < quorum) return null;
  return isEdited ? 'edited' : 'approved';
}

/** Who may decide after the step `rung` (from 0) of the ladder was taken. */
export function groupsAfter(groups: readonly string[], ladder: readonly Rung[], rung: number): string[] {
  return [...new Set([...groups, ...(ladder[rung]?.groups ?? [])])];
}

/** Who decides where nobody is named. */
export const defaultGroups: readonly string[] = ['role:approver'];
