import type { Scope } from './scopes.ts';

/** What a person may be: names of sets of scopes (docs/decisions/0019-who-calls.md). */
export const roles = ['admin', 'operator', 'approver', 'auditor', 'developer'] as const;
export type Role = (typeof roles)[number];

/** `docs/sign-in.md` has this table, and a test keeps it so. */
export const roleScopes: Readonly<Record<Role, readonly Scope[]>> = {
  admin: ['admin'],
  operator: ['keys:write', 'policy:write', 'runs:write', 'telemetry:read', 'webhooks:write', 'tasks:write'],
  approver: ['approvals:decide', 'policy:read', 'runs:read', 'telemetry:read', 'tasks:read'],
  auditor: ['admin:read'],
  developer: ['models:invoke', 'tools:call', 'runs:write', 'telemetry:read', 'policy:read', 'tasks:read'],
};

export function isRole(name: string): name is Role {
  return roles.some((role) => role === name);
}

/** The scopes of all the roles together. */
export function scopesOfRoles(held: readonly Role[]): Set<Scope> {
  return new Set(held.flatMap((role) => roleScopes[role]));
}
