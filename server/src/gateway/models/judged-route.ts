import { PortcullisError } from '../../base/errors.ts';
import { argumentEntriesMax, judgedResourcesMax } from '../../base/limits.ts';
import type { Principal } from '../../identity/model.ts';
import type { RequestFacts } from '../../llm/facts.ts';
import type { ScannedBody } from '../../llm/json-scan.ts';
import { toolNames } from '../../llm/tool-names.ts';
import { boundArgs } from '../../policy/facts.ts';
import { principalFacts } from '../../policy/principal-facts.ts';
import type { CallFacts } from '../../policy/judgement.ts';
import type { RunningRun } from '../../run/run-index.ts';
import type { Call } from './call.ts';
import type { ModelGate } from './gate.ts';
import { type Route, withTargets } from './routing.ts';

/** What is known of a call when the policy judges it. */
interface Asked {
  readonly principal: Principal;
  readonly run: RunningRun | null;
  readonly facts: RequestFacts;
  readonly body: Buffer;
  readonly scanned: ScannedBody;
  readonly route: Route;
}

/**
 * The route with those of its targets to which the project's policy lets the call go: what it denies is no target, neither
 * at first nor after a failure.
 * @throws PortcullisError policy_denied, unavailable (the policy cannot be read here), invalid_argument (too many models to judge)
 */
export function judgedRoute(gate: ModelGate, call: Call, asked: Asked): Route {
  const { principal, route } = asked;
  const { requestId } = call.exchange;
  requireFew(asked);
  const judged = gate.policy.judge(principal.projectId, requestId, () => callFacts(gate, call, asked));
  if (judged.shadows.length > 0) call.note({ policyShadows: judged.shadows });
  if (judged.refusal) throw judged.refusal;
  const { providers } = judged;
  if (providers === null) return route;
  return withTargets(
    route,
    route.targets.filter(({ provider }) => providers.has(provider.name)),
  );
}

/** Whatever the policy says: a rule that is tried must not make calls fail that went through before. */
function requireFew({ facts, route }: Asked): void {
  const models = new Set([facts.model, ...facts.otherModels]).size;
  const providers = providersOf(route).size;
  if (models * providers <= judgedResourcesMax) return;
  throw new PortcullisError(
    'invalid_argument',
    `The request names ${models} models, fallbacks included, and ${providers} providers may serve it: each model is judged at each, and ${judgedResourcesMax} judgements are the most. Name fewer fallbacks.`,
    { param: 'fallbacks' },
  );
}

function providersOf(route: Route): ReadonlySet<string> {
  return new Set(route.targets.map(({ provider }) => provider.name));
}

function callFacts(
  { clock }: ModelGate,
  call: Call,
  { principal, run, facts, body, scanned, route }: Asked,
): CallFacts {
  const { endpoint, attempt } = call;
  // One more than is judged, so that it is seen that there are more.
  const tools = toolNames(body, scanned, argumentEntriesMax + 1);
  const { args } = boundArgs({
    operation: endpoint.operation,
    dialect: endpoint.dialect,
    stream: endpoint.operation === 'generate' && facts.stream,
    ...(facts.maxOutputTokens !== null && { max_output_tokens: facts.maxOutputTokens }),
    message_count: facts.messageCount,
    tool_count: facts.toolCount,
    tools_elsewhere: tools.elsewhere,
    body_bytes: facts.bodyBytes,
    // What callers fill comes last: where there is too much, nothing else is cut.
    ...(attempt.clientSession !== null && { client_session: attempt.clientSession }),
    tools: tools.names,
  });
  const [provider = '', ...otherProviders] = providersOf(route);
  return {
    facts: {
      action: 'models.invoke',
      principal: principalFacts(principal),
      resource: { type: 'model', name: facts.model, provider, route: route.name },
      args,
      run: run && { id: run.id, workflow: run.workflow },
      time: clock.now(),
    },
    otherNames: facts.otherModels,
    otherProviders,
  };
}
