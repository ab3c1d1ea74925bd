import { amount, type DataOf, type Fields, type JsonSchema, orNull, text, texts, time, whole, word } from './fields.ts';

/** One type of event: what it tells, and the fields of its data. A change that could break a receiver is another version. */
interface EventKind<F extends Fields> {
  readonly doc: string;
  readonly version: number;
  readonly fields: F;
}

function kind<F extends Fields>(doc: string, fields: F): EventKind<F> {
  return { doc, version: 1, fields };
}

const runOf = {
  run_id: text('The run.', 'run_01k9zq3m4x0000000000000000'),
  agent_id: text('Whose run it is.', 'agt_01k9zq3m4x0000000000000000'),
  workflow: text('Its workflow.', 'fix-bug'),
};
const endOfRun = {
  ...runOf,
  outcome: word('How it ended.', ['succeeded', 'failed', 'cancelled']),
  summary: text('What was done, in the words of whoever ended it.', 'Mended the login page.'),
  error: text('Why it did not succeed; empty where it did.', ''),
  started_at: time('When it began.', '2026-11-23T10:00:00.000Z'),
  finished_at: time('When it ended.', '2026-11-23T10:05:12.345Z'),
};
const approvalOf = {
  approval_id: text('The approval.', 'apr_01k9zq3m4x0000000000000000'),
  kind: text(
    'What kind of thing is asked for: tool_call, model_call, run_gate, policy_change, kill_release.',
    'run_gate',
  ),
  run_id: orNull(text('The run that asks; null outside of one.', 'run_01k9zq3m4x0000000000000000')),
};
const budgetOf = {
  budget_id: text('The budget.', 'bud_01k9zq3m4x0000000000000000'),
  name: text('Its name.', 'team per month'),
  unit: word('What it counts.', ['usd', 'tokens', 'requests', 'concurrent_requests', 'latency_ms']),
  window: word('How long one window is.', ['month', 'day', 'hour', 'lifetime', 'run', 'attempt']),
  window_key: text('Which window: its beginning, or the run.', '2026-11'),
  percent: whole('The percent of the limit that was reached.', 80),
  used: amount('What was used when it was found.', '80.25'),
  limit: amount('The limit.', '100'),
  mode: word('Whether it refuses calls, or only tells.', ['enforce', 'dry_run']),
};
const killOf = {
  kill_switch_id: text('The kill switch.', 'kil_01k9zq3m4x0000000000000000'),
  scope: word('What it stops.', ['project', 'everything', 'agent', 'key', 'run', 'workflow', 'provider', 'model']),
  value: text('Which one: an id or a name; empty for everything.', 'prj_01k9zq3m4x0000000000000000'),
  reason: text('Why it was engaged.', 'Spends too much.'),
};
const keyOf = {
  key_id: text('The key; never its secret.', 'k3y1d0f12c0a'),
  name: text('Its name.', 'ci'),
  kind: word('Whose it is.', ['agent', 'operator', 'service']),
  agent_id: orNull(text('The agent whose key it is; null for others.', 'agt_01k9zq3m4x0000000000000000')),
  expires_at: orNull(time('When it ends; null is never.', '2026-12-23T10:00:00.000Z')),
};
const targetOf = {
  provider: text('The provider as the configuration names it.', 'anthropic'),
  model: text('The model as the configuration names it.', 'claude-opus-4'),
};

/**
 * Every event that endpoints can be told of. `docs/reference/webhooks.md` is generated from it. A key orders events: those
 * that have the same one are emitted in the order in which they happened.
 */
export const catalogue = {
  'run.started': kind('A run began.', { ...runOf, started_at: endOfRun.started_at }),
  'run.finished': kind('A run ended, and did not fail.', endOfRun),
  'run.failed': kind('A run ended as failed.', {
    ...endOfRun,
    outcome: word('How it ended.', ['failed']),
    error: text('Why it failed.', 'The tests do not pass.'),
  }),
  'run.waiting_approval': kind('A run waits for a decision at a gate.', {
    ...runOf,
    approval_id: approvalOf.approval_id,
    gate: text('The gate.', 'prepublish'),
  }),
  'approval.requested': kind('Somebody is asked to decide.', {
    ...approvalOf,
    summary: text('What is asked for, for people.', 'Publish the video "Cats".'),
    requested_by: text('Who asks.', 'agt_01k9zq3m4x0000000000000000'),
    risk: text('How much is at stake.', 'normal'),
    digest: text('SHA-256 of exactly what is asked for, in hex.', 'a'.repeat(64)),
    expires_at: time('When no answer becomes a no.', '2026-11-23T11:00:00.000Z'),
  }),
  'approval.decided': kind('An approval got its one outcome from people, or was withdrawn.', {
    ...approvalOf,
    outcome: word('What was decided.', ['approved', 'rejected', 'edited', 'cancelled']),
    decided_by: texts('The people whose votes made it.', ['psn_01k9zq3m4x0000000000000000']),
    reason: text('Why, in their words; may be empty.', ''),
  }),
  'approval.expired': kind('Nobody decided in time: that is a no.', approvalOf),
  'budget.threshold': kind(
    'A percent below 100 of a limit was reached; told once for each window and percent.',
    budgetOf,
  ),
  'budget.exceeded': kind('A limit was reached, or a percent above 100 of it; told once for each window and percent.', {
    ...budgetOf,
    percent: whole('The percent of the limit that was reached.', 100),
    used: amount('What was used when it was found.', '100.5'),
  }),
  'kill.engaged': kind('A kill switch stops something from now on.', {
    ...killOf,
    engaged_by: text('Who engaged it.', 'ada'),
    expires_at: orNull(time('When it ends by itself; null is when somebody releases it.', '2026-11-23T11:00:00.000Z')),
  }),
  'kill.released': kind('A kill switch was released by somebody; nobody is told of one that ends by itself.', {
    ...killOf,
    released_by: text('Who released it.', 'ada'),
  }),
  'policy.changed': kind('Another version of the policy is in force.', {
    version: whole('The version that is in force now.', 4),
    previous_version: orNull(whole('The one that was before; null where there was none.', 3)),
    restored_version: orNull(whole('The version that it restores, of a rollback; else null.', 2), true),
    sha256: text('Digest of its document, in hex.', 'b'.repeat(64)),
    changed_by: text('Who put it in force.', 'ada'),
  }),
  'key.created': kind('A key was made.', keyOf),
  'key.rotated': kind('A key got a successor.', {
    ...keyOf,
    successor_id: text('The key that takes its place.', 'k3y2d0f12c0a'),
  }),
  'key.revoked': kind('A key was ended.', keyOf),
  'key.expiring': kind(
    'A key that lives for a day or more has less than a quarter of its life before it, and a week at most; told once. Keys of logins and runs, and those that have a successor, are not told of.',
    {
      ...keyOf,
      expires_at: time('When it ends.', '2026-12-23T10:00:00.000Z'),
    },
  ),
  'breaker.opened': kind('A server of the fleet ceased to call a target that fails.', {
    ...targetOf,
    instance_id: text('The server.', 'ins_01k9zq3m4x0000000000000000'),
  }),
  'breaker.closed': kind('A server of the fleet calls a target again.', {
    ...targetOf,
    instance_id: text('The server.', 'ins_01k9zq3m4x0000000000000000'),
  }),
} as const satisfies Readonly<Record<string, EventKind<Fields>>>;

export type EventType = keyof typeof catalogue;
/** The data of each type of event. */
export type EventData = { readonly [T in EventType]: DataOf<(typeof catalogue)[T]['fields']> };

export const eventTypes: readonly EventType[] = Object.keys(catalogue).filter(isEventType);

export function isEventType(name: string): name is EventType {
  return Object.hasOwn(catalogue, name);
}

export function eventVersion(type: EventType): number {
  return catalogue[type].version;
}

/** The JSON Schema (2020-12) of the body that an endpoint gets for an event of this type. */
export function eventSchema(type: EventType): JsonSchema {
  const { doc, version, fields } = catalogue[type];
  return closedObject(doc, {
    type: { const: type },
    version: { const: version },
    timestamp: { type: 'string', format: 'date-time', description: 'When it happened.' },
    project_id: { type: ['string', 'null'], description: 'The project; null for what concerns all.' },
    data: closedObject('What happened.', schemas(fields)),
  });
}

/** An example of the data of this type. */
export function exampleData(type: EventType): Readonly<Record<string, unknown>> {
  const fields: Fields = catalogue[type].fields;
  return Object.fromEntries(Object.entries(fields).map(([name, { example }]) => [name, example]));
}

function schemas(fields: Fields): Record<string, JsonSchema> {
  return Object.fromEntries(Object.entries(fields).map(([name, { schema }]) => [name, schema]));
}

function closedObject(description: string, properties: Readonly<Record<string, JsonSchema>>): JsonSchema {
  return { type: 'object', description, properties, required: Object.keys(properties), additionalProperties: false };
}
