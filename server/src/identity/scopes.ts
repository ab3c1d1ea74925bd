/** What a credential may ask for. Hierarchical: see {@link grants}. */
export const scopes = [
  'models:invoke',
  'tools:read',
  'tools:call',
  'runs:write',
  'runs:read',
  'telemetry:write',
  'telemetry:read',
  'tasks:write',
  'tasks:read',
  'policy:read',
  'policy:write',
  'approvals:decide',
  'keys:write',
  'keys:read',
  'webhooks:write',
  'badges:revoke',
  'audit:read',
  'metrics:read',
  'admin:read',
  'admin',
] as const;

export type Scope = (typeof scopes)[number];

/** Names that other systems put into tokens, and ours for them. Accepted in tokens alone, never when a key is made. */
const scopeAliases: ReadonlyMap<string, Scope> = new Map([
  ['mcp:tools.read', 'tools:read'],
  ['mcp:search', 'tools:read'],
  ['mcp:fetch', 'tools:read'],
  ['mcp:read', 'tools:read'],
  ['mcp:tools.exec', 'tools:call'],
  ['mcp:process', 'tools:call'],
  ['mcp:write', 'tools:call'],
  ['mcp:tools', 'tools:call'],
  ['mcp:tools:call', 'tools:call'],
  ['mcp:admin', 'admin'],
]);

const known: ReadonlySet<string> = new Set(scopes);

export function isScope(name: string): name is Scope {
  return known.has(name);
}

/** The scopes in a token's claim; unknown names are ignored, since an issuer serves other systems too. */
export function scopesFromToken(names: Iterable<string>): Set<Scope> {
  const found = new Set<Scope>();
  for (const name of names) {
    const scope = isScope(name) ? name : scopeAliases.get(name);
    if (scope) found.add(scope);
  }
  return found;
}

/** What two holders may both do, as few scopes as say it. */
export function commonScopes(one: ReadonlySet<Scope>, other: ReadonlySet<Scope>): Set<Scope> {
  const common = scopes.filter((scope) => grants(one, scope) && grants(other, scope));
  const implied = (scope: Scope) => common.some((by) => by !== scope && grants(new Set([by]), scope));
  return new Set(common.filter((scope) => !implied(scope)));
}

/** Whether `held` covers `needed`: `admin` covers all, `x:write` covers `x:read`, `tools:call` covers `tools:read`, `admin:read` every read. */
export function grants(held: ReadonlySet<Scope>, needed: Scope): boolean {
  if (held.has(needed) || held.has('admin')) return true;
  if (needed === 'tools:read' && held.has('tools:call')) return true;
  if (!needed.endsWith(':read')) return false;
  if (held.has('admin:read')) return true;
  const write = needed.replace(/:read$/, ':write');
  return isScope(write) && held.has(write);
}
