import { boundArgs, type Facts } from '../facts.ts';

/** A call of the agent `planner` for a model, for tests. */
export function someFacts({ args, ...known }: Partial<Omit<Facts, 'args'>> & { readonly args?: unknown } = {}): Facts {
  return {
    action: 'models.invoke',
    principal: {
      kind: 'agent',
      id: 'agt_1',
      name: 'planner',
      agent: 'agt_1',
      person: null,
      key: 'key_1',
      teams: ['team_research', 'team_web'],
      scopes: ['models:invoke'],
    },
    resource: { type: 'model', name: 'claude-sonnet', provider: 'anthropic', route: 'default' },
    run: null,
    time: Date.parse('2026-11-23T10:20:30.456Z'),
    ...known,
    args: boundArgs(args ?? {}).args,
  };
}
