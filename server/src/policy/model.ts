/** What a kill switch stops. `everything` has no value and no project. */
export const killScopes = ['everything', 'project', 'agent', 'key', 'run', 'model', 'workflow', 'provider'] as const;
export type KillScope = (typeof killScopes)[number];

export interface KillSwitch {
  readonly id: string;
  readonly scope: KillScope;
  /** The id of what is stopped, or a name: of a workflow, a provider, a public model (wildcards allowed). Empty for `everything`. */
  readonly value: string;
  /** Null for `everything`: it crosses projects and only `admin` without a project may set it. */
  readonly projectId: string | null;
  readonly reason: string;
  readonly engagedBy: string;
  /** Times are epoch milliseconds by the database's clock. */
  readonly engagedAt: number;
  /** After which it no longer applies; null is until released. */
  readonly expiresAt: number | null;
  /** Of the key that it stops. */
  readonly loginId?: string | null;
  /** It stops nothing: replicas say what it would have stopped. */
  readonly drill: boolean;
}

/** What a call is, in the words that a kill switch or a revocation names. */
export interface CallSubject {
  readonly projectId: string;
  readonly agentId: string | null;
  readonly personId: string | null;
  readonly keyId: string | null;
  /** Of the key: a switch on one key of a login stops them all, else the next one would escape it. */
  readonly loginId?: string | null;
  readonly runId: string | null;
  /** Of the run; null outside of one, and until the run is known. */
  readonly workflow: string | null;
  /** The provider of the attempt under way; null between attempts. */
  readonly provider: string | null;
  /** The public names that were asked for, fallbacks included; empty until the body was read. */
  readonly models: readonly string[];
}
