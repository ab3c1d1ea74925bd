import { PortcullisError } from '../../base/errors.ts';
import { jsonDepthMax } from '../../base/limits.ts';
import { matchesWildcard } from '../../base/wildcard.ts';
import type { Spender } from '../../budget/model.ts';
import type { Principal } from '../../identity/model.ts';
import type { Dialect } from '../../llm/dialect.ts';
import { readFacts as embeddingFacts } from '../../llm/embeddings.ts';
import type { RequestFacts } from '../../llm/facts.ts';
import { scanObject } from '../../llm/json-scan.ts';
import type { Flight } from '../../policy/flights.ts';
import type { RunningRun } from '../../run/run-index.ts';
import type { Call } from './call.ts';
import { callerCredential } from './caller-credential.ts';
import { embeddingRoute } from './embedding-route.ts';
import { header } from './exchange.ts';
import type { ModelGate } from './gate.ts';
import { requireScope } from './identify.ts';
import { judgedRoute } from './judged-route.ts';
import { openRoute } from './open-route.ts';
import { passingQuery } from './passing-query.ts';
import { type Clamp, type Prepared, prepare } from './prepare.ts';
import { type Route, type Target, chooseTarget, withRetries } from './routing.ts';
import { wire } from './wire.ts';

/** What the call may do: where it goes first, and with what bytes. */
export type Plan = CallPlan | CountPlan;

/** To be counted here, as the model of that target would be shown it. */
export interface CountPlan {
  readonly kind: 'count_locally';
  readonly target: Target;
  readonly dialectOut: Dialect;
  readonly modelServed: string;
}

/** One attempt at a call. */
export interface CallPlan extends Prepared {
  readonly kind: 'call';
  readonly route: Route;
  readonly target: Target;
  readonly dialectOut: Dialect;
  readonly modelServed: string;
  readonly facts: RequestFacts;
  readonly streamed: boolean;
  readonly spender: Spender;
  /** What of the client's query passes. */
  readonly query: string;
  /** The caller's own, where the provider is called with it. */
  readonly credential: Readonly<Record<string, string>> | null;
  /** The same call at another target, or with another output limit. @throws PortcullisError what that target cannot take */
  readonly at: (target: Target, clamp?: Clamp) => Promise<CallPlan>;
}

/**
 * Whether this principal may make this call, and what it becomes.
 * @throws PortcullisError insufficient_scope, invalid_argument, context_length_exceeded, policy_denied, not_found, killed
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
  const isEmbedding = endpoint.operation === 'embed';
  const facts = (isEmbedding ? embeddingFacts : wire[endpoint.dialect].readFacts)(body, scanned);
  const streamed = endpoint.operation === 'generate' && facts.stream;
  exchange.access.model = facts.model;
  call.note({ modelAsked: facts.model, streamed });
  requireModels(principal, facts);
  const run = await gate.runs.resolve(header(exchange, 'x-portcullis-run') ?? null, principal);
  if (run) {
    exchange.access.runId = run.id;
    call.note({ runId: run.id, workflow: run.workflow });
  }
  flight.streamed = streamed;
  flight.update({
    runId: run?.id ?? null,
    workflow: run?.workflow ?? null,
    models: [facts.model, ...facts.otherModels],
  });

  const found = gate.routes().resolve(facts.model);
  call.note({ route: found.name });
  const open = openRoute(isEmbedding ? embeddingRoute(found, facts.model) : found, flight);
  const judged = judgedRoute(gate, call, { principal, run, facts, body, scanned, route: open });
  const route = run === null ? judged : withRetries(judged, run.maxRetries);
  const chosen = chooseTarget(route, Math.random());
  // A provider may have embeddings and no chat; they are not translated.
  const dialectsOf = (target: Target) =>
    isEmbedding ? ([endpoint.dialect] as const) : dialectsAt(target, endpoint.dialect);
  const servedBy = (target: Target, dialectOut: Dialect = dialectsOf(target)[0]) => ({
    dialectOut,
    modelServed: target.model ?? facts.model,
  });
  if (endpoint.operation === 'count_tokens' && !countsTokens(chosen, endpoint.dialect))
    return { kind: 'count_locally', target: chosen, ...servedBy(chosen) };
  const at = (target: Target, clamp: Clamp | null = null) =>
    firstThatSaysIt(dialectsOf(target), (dialectOut) => inDialect(target, dialectOut, clamp));
  const inDialect = async (target: Target, dialectOut: Dialect, clamp: Clamp | null): Promise<CallPlan> => {
    const { provider } = target;
    const served = servedBy(target, dialectOut);
    const isSame = served.dialectOut === endpoint.dialect;
    const request = { operation: endpoint.operation, from: endpoint.dialect, to: served.dialectOut };
    return {
      kind: 'call',
      route,
      target,
      ...served,
      facts: clamp === null ? facts : { ...facts, maxOutputTokens: clamp.maxTokens },
      streamed,
      spender: spenderOf(principal, run, target, facts.model),
      ...(await prepare({ ...request, ...served, body, scanned, facts, route, target, clamp, signal: call.signal })),
      query: isSame ? passingQuery(exchange) : '',
      credential: provider.credential === 'caller' ? callerCredential(gate, exchange, provider, isSame) : null,
      at,
    };
  };
  return firstPlan(route, chosen, (target) => {
    call.note({ provider: target.provider.name, ...servedBy(target) });
    return at(target);
  });
}

/**
 * The call at the chosen target or, where it is too long for that one, at the first other target of the route with a
 * larger window that takes it.
 * @throws PortcullisError why the chosen target cannot take it, or how much is too much for the largest window
 */
async function firstPlan({ onFailure, targets }: Route, chosen: Target, at: CallPlan['at']): Promise<CallPlan> {
  const window = ({ capabilities }: Target) => capabilities.contextTokens ?? Infinity;
  let tooLong: { readonly target: Target; readonly error: PortcullisError } | null = null;
  for (const target of [chosen, ...(onFailure === 'next' ? targets : [])]) {
    if (tooLong !== null && window(target) <= window(tooLong.target)) continue;
    try {
      return await at(target);
    } catch (error) {
      if (!(error instanceof PortcullisError)) throw error;
      if (error.code === 'context_length_exceeded') tooLong = { target, error };
      // What another one lacks is not the caller's fault.
      else if (target === chosen || error.code !== 'invalid_argument') throw error;
    }
  }
  throw tooLong?.error ?? new Error('a route has no target');
}

/** In which of its dialects the provider may be called: in the caller's where it speaks that, since then bytes pass. */
function dialectsAt({ provider }: Target, asked: Dialect): readonly [Dialect, ...Dialect[]] {
  return provider.dialects.includes(asked) ? [asked] : provider.dialects;
}

/**
 * The plan in the first dialect that can say the request: OpenAI's Responses has no stop sequences, its Chat has.
 * @throws PortcullisError what the first one cannot say, where none can
 */
async function firstThatSaysIt(
  dialects: readonly Dialect[],
  plan: (dialect: Dialect) => Promise<CallPlan>,
): Promise<CallPlan> {
  let refusal: PortcullisError | null = null;
  for (const dialect of dialects) {
    try {
      return await plan(dialect);
    } catch (error) {
      if (!(error instanceof PortcullisError) || error.code !== 'invalid_argument') throw error;
      refusal ??= error;
    }
  }
  throw refusal ?? new Error('a provider speaks no dialect');
}

/** Whether the target itself answers how many tokens a request of that dialect has. */
export function countsTokens(target: Target, asked: Dialect): boolean {
  return target.provider.countsTokens && dialectsAt(target, asked)[0] === asked;
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
    teams: principal.teams,
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
