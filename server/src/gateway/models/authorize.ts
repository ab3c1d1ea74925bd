import { PortcullisError } from '../../base/errors.ts';
import { jsonDepthMax } from '../../base/limits.ts';
import { matchesWildcard } from '../../base/wildcard.ts';
import type { Spender } from '../../budget/model.ts';
import type { Principal } from '../../identity/model.ts';
import { grants } from '../../identity/scopes.ts';
import type { Dialect } from '../../llm/dialect.ts';
import type { RequestFacts } from '../../llm/facts.ts';
import { scanObject } from '../../llm/json-scan.ts';
import type { TranslatedRequest } from '../../llm/translate.ts';
import type { Flight } from '../../policy/flights.ts';
import type { Call } from './call.ts';
import { header } from './exchange.ts';
import type { ModelGate } from './gate.ts';
import { prepare } from './prepare.ts';
import { type Target, chooseTarget } from './routing.ts';
import { wire } from './wire.ts';

/** What the call may do: where it goes, and with what bytes. */
export type Plan = CallPlan | { readonly kind: 'count_locally' };

export interface CallPlan {
  readonly kind: 'call';
  readonly target: Target;
  readonly dialectOut: Dialect;
  readonly modelServed: string;
  readonly facts: RequestFacts;
  readonly spender: Spender;
  readonly body: Buffer;
  /** Null where both sides speak the same dialect and bytes pass. */
  readonly translation: TranslatedRequest | null;
  /** The gate asked for usage in the stream and the client did not. */
  readonly hideUsage: boolean;
}

/**
 * Whether this principal may make this call, and what it becomes.
 * @throws PortcullisError insufficient_scope, invalid_argument, policy_denied, not_found, killed
 */
export async function authorize(
  gate: ModelGate,
  call: Call,
  principal: Principal,
  flight: Flight,
  body: Buffer,
): Promise<Plan> {
  const { endpoint, exchange } = call;
  if (!grants(principal.scopes, 'models:invoke')) {
    gate.refusals.note('scope.denied', principal, 'models:invoke', exchange.requestId);
    throw new PortcullisError('insufficient_scope', 'This credential lacks the scope models:invoke.', {
      rule: 'scope:models:invoke',
    });
  }
  const scanned = scanObject(body, { depthMax: jsonDepthMax });
  const facts = wire[endpoint.dialect].readFacts(body, scanned);
  exchange.access.model = facts.model.slice(0, 200);
  describe(call, { modelAsked: facts.model.slice(0, 200), streamed: facts.stream });

  // A request may name models besides the one that it is for; none of them may be one that the key must not use.
  for (const model of [facts.model, ...facts.otherModels]) {
    if (principal.models === null || principal.models.some((pattern) => matchesWildcard(pattern, model))) continue;
    gate.refusals.note('call.denied', principal, 'key.models', exchange.requestId);
    throw new PortcullisError('policy_denied', `This key may not use the model "${model.slice(0, 100)}".`, {
      rule: 'key.models',
      param: 'model',
    });
  }
  const run = await gate.runs.resolve(header(exchange, 'x-portcullis-run') ?? principal.runId, principal);
  if (run) {
    exchange.access.runId = run.id;
    describe(call, { runId: run.id, workflow: run.workflow });
  }
  for (const model of [...facts.otherModels, facts.model]) flight.update({ runId: run?.id ?? null, model });

  const route = gate.routes().resolve(facts.model);
  describe(call, { route: route.name });
  const target = chooseTarget(route, Math.random());
  const { provider } = target;
  if (endpoint.operation === 'count_tokens' && !(provider.countsTokens && provider.dialects.includes(endpoint.dialect)))
    return { kind: 'count_locally' };

  const modelServed = target.model ?? facts.model;
  const dialectOut = provider.dialects.includes(endpoint.dialect) ? endpoint.dialect : provider.dialects[0];
  if (dialectOut === undefined) throw new Error(`provider ${provider.name} speaks no dialect`);
  describe(call, { provider: provider.name, modelServed, dialectOut });
  const spender: Spender = {
    projectId: principal.projectId,
    personId: principal.personId,
    agentId: principal.agentId,
    keyId: principal.keyId,
    workflow: run?.workflow ?? null,
    runId: run?.id ?? null,
    providerType: provider.type,
    provider: provider.name,
    model: facts.model,
  };
  return {
    kind: 'call',
    target,
    dialectOut,
    modelServed,
    facts,
    spender,
    ...prepare({ from: endpoint.dialect, to: dialectOut, body, scanned, facts, modelServed, route, target }),
  };
}

/** Adds what is now known to the ledger row of the call. */
export function describe(call: Call, known: Partial<NonNullable<Call['attempt']>>): void {
  if (call.attempt) call.attempt = { ...call.attempt, ...known };
}
