/** What a kill switch stops. `everything` has no value and no project. */
export const killScopes = ['everything', 'project', 'agent', 'key', 'run', 'model'] as const;
export type KillScope = (typeof killScopes)[number];

export interface KillSwitch {
  readonly id: string;
  readonly scope: KillScope;
  /** The id of what is stopped, or a public model name (wildcards allowed); empty for `everything`. */
  readonly value: string;
  /** Null for `everything`: it crosses projects and only `admin` without a project may set it. */
  readonly projectId: string | null;
  readonly reason: string;
  readonly engagedBy: string;
  readonly engagedAt: number;
  /** Epoch milliseconds after which it no longer applies; null is until released. */
  readonly expiresAt: number | null;
}

/** What a call is, in the words that a kill switch or a revocation names. */
export interface CallSubject {
  readonly projectId: string;
  readonly agentId: string | null;
  readonly personId: string | null;
  readonly keyId: string | null;
  readonly runId: string | null;
  /** The public names that were asked for, fallbacks included; empty until the body was read. */
  readonly models: readonly string[];
}
