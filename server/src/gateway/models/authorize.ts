import { PortcullisError } from '../../base/errors.ts';
import { jsonDepthMax } from '../../base/limits.ts';
import { matchesWildcard } from '../../base/wildcard.ts';
import type { Spender } from '../../budget/model.ts';
import type { Principal } from '../../identity/model.ts';
import type { Dialect } from '../../llm/dialect.ts';
import type { RequestFacts } from '../../llm/facts.ts';
import { scanObject } from '../../llm/json-scan.ts';
import type { TranslatedRequest } from '../../llm/translate.ts';
import type { Flight } from '../../policy/flights.ts';
import type { RunningRun } from '../../run/run-index.ts';
import type { Call } from './call.ts';
import { header } from './exchange.ts';
import type { ModelGate } from './gate.ts';
import { requireScope } from './identify.ts';
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
  readonly streamed: boolean;
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
  requireScope(principal);
  const scanned = scanObject(body, { depthMax: jsonDepthMax });
  const facts = wire[endpoint.dialect].readFacts(body, scanned);
  const streamed = endpoint.operation === 'generate' && facts.stream;
  exchange.access.model = facts.model;
  call.note({ modelAsked: facts.model, streamed });
  requireModels(principal, facts);
  const run = await gate.runs.resolve(header(exchange, 'x-portcullis-run') ?? null, principal);
  if (run) {
    exchange.access.runId = run.id;
    call.note({ runId: run.id, workflow: run.workflow });
  }
  flight.update({ runId: run?.id ?? null, models: [facts.model, ...facts.otherModels] });

  const route = gate.routes().resolve(facts.model);
  call.note({ route: route.name });
  const target = chooseTarget(route, Math.random());
  const { dialects, countsTokens, name } = target.provider;
  const dialectOut = dialects.includes(endpoint.dialect) ? endpoint.dialect : dialects[0];
  if (endpoint.operation === 'count_tokens' && !(countsTokens && dialectOut === endpoint.dialect))
    return { kind: 'count_locally' };

  const modelServed = target.model ?? facts.model;
  call.note({ provider: name, modelServed, dialectOut });
  return {
    kind: 'call',
    target,
    dialectOut,
    modelServed,
    facts,
    streamed,
    spender: spenderOf(principal, run, target, facts.model),
    ...prepare({ from: endpoint.dialect, to: dialectOut, body, scanned, facts, modelServed, route, target }),
  };
}

/** A request may name models besides the one that it is for; none of them may be one that the key must not use. */
function requireModels({ models: allowed }: Principal, facts: RequestFacts): void {
  if (allowed === null) return;
  for (const model of [facts.model, ...facts.otherModels]) {
    if (allowed.some((pattern) => matchesWildcard(pattern, model))) continue;
    throw new PortcullisError('policy_denied', `This key may not use the model "${model.slice(0, 100)}".`, {
      rule: 'key.models',
      param: 'model',
    });
  }
}

function spenderOf(principal: Principal, run: RunningRun | null, { provider }: Target, model: string): Spender {
  return {
    projectId: principal.projectId,
    personId: principal.personId,
    agentId: principal.agentId,
    keyId: principal.keyId,
    workflow: run?.workflow ?? null,
    runId: run?.id ?? null,
    providerType: provider.type,
    provider: provider.name,
    model,
  };
}
