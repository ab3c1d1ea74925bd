import type { Binding, PrincipalKind } from './model.ts';
import type { Role } from './roles.ts';

/** Whether a person or an agent may act. */
export type State = 'active' | 'disabled';

// Times are epoch milliseconds.

/** How the money of a project's calls is written down: before each call goes on, or from leased slices a moment later. */
export const durabilities = ['strict', 'relaxed'] as const;
export type Durability = (typeof durabilities)[number];

export interface ProjectRecord {
  readonly id: string;
  readonly name: string;
  readonly durability: Durability;
  readonly createdAt: number;
}

export interface PersonRecord {
  readonly id: string;
  readonly projectId: string;
  readonly email: string;
  readonly name: string;
  /** Null: nobody has said, and their keys have the scopes that they were made with. */
  readonly roles: readonly Role[] | null;
  /** Ids of the teams that they belong to. */
  readonly teams: readonly string[];
  /** Who they are where they sign in: both or none. */
  readonly issuer: string | null;
  readonly subject: string | null;
  readonly state: State;
  readonly createdAt: number;
  readonly lastSignInAt: number | null;
}

export interface TeamRecord {
  readonly id: string;
  readonly projectId: string;
  readonly name: string;
  readonly createdAt: number;
  readonly createdBy: string;
}

export interface AgentRecord {
  readonly id: string;
  readonly projectId: string;
  readonly name: string;
  readonly description: string;
  /** Who answers for the agent. */
  readonly personId: string | null;
  /** The identity under which an issuer of access tokens knows the agent: both or none. */
  readonly issuer: string | null;
  readonly subject: string | null;
  /** What it may ask for by its client certificate alone. */
  readonly certificateScopes: readonly string[];
  readonly state: State;
  readonly createdAt: number;
  readonly createdBy: string;
}

/** An API key as it is listed: all but the hash of its secret. */
export interface KeyRecord {
  readonly id: string;
  readonly projectId: string;
  readonly agentId: string | null;
  readonly personId: string | null;
  readonly kind: PrincipalKind;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly models: readonly string[] | null;
  readonly cidrs: readonly string[] | null;
  readonly runId: string | null;
  readonly requireSignature: boolean;
  readonly binding: Binding | null;
  /** The login of a command line that it is of. */
  readonly loginId: string | null;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly expiresAt: number | null;
  readonly revokedAt: number | null;
  readonly successorId: string | null;
  readonly lastUsedAt: number | null;
}
