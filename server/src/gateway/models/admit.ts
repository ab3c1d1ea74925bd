import { PortcullisError } from '../../base/errors.ts';
import type { Principal } from '../../identity/model.ts';
import type { Flight } from '../../policy/flights.ts';
import type { Call } from './call.ts';
import type { Exchange } from './exchange.ts';
import type { ModelGate } from './gate.ts';

/**
 * Lets a known caller in: fresh control state, its rate, a place in flight. The flight is registered before the kill
 * switch is looked at, so that no moment lies between.
 * @throws PortcullisError unavailable, rate_limited, killed, client_closed
 */
export async function admit(gate: ModelGate, call: Call, principal: Principal): Promise<Flight> {
  gate.assertFresh();
  takeRate(gate, call.exchange, principal);
  const began = gate.clock.monotonic();
  const flight = await gate.flights.enter({
    caller: principal.loginId ?? principal.keyId ?? principal.id,
    subject: {
      projectId: principal.projectId,
      agentId: principal.agentId,
      personId: principal.personId,
      keyId: principal.keyId,
      loginId: principal.loginId ?? null,
      runId: principal.runId,
      workflow: null,
      provider: null,
      models: [],
    },
    abort: call.abort,
    gone: call.signal,
  });
  call.note({ queueMs: gate.clock.monotonic() - began });
  return flight;
}

/** Takes one call from the caller's rate, and tells what is left of it. @throws PortcullisError rate_limited */
export function takeRate(gate: ModelGate, { response }: Exchange, principal: Principal): void {
  const perMinute = principal.method === 'jwt' ? gate.rates.tokenPerMinute : gate.rates.keyPerMinute;
  // A fifth of a minute's calls may come at once.
  const burst = Math.max(1, Math.ceil(perMinute / 5));
  const verdict = gate.limiter.take(`models:${principal.loginId ?? principal.keyId ?? principal.id}`, {
    perMinute,
    burst,
  });
  // draft-ietf-httpapi-ratelimit-headers: the policy, and what is left of it.
  response.setHeader('ratelimit-policy', `"models";q=${perMinute};w=60`);
  response.setHeader('ratelimit', `"models";r=${verdict.remaining};t=${Math.ceil(verdict.resetS)}`);
  if (verdict.allowed) return;
  gate.metrics.rateLimitExceeded.inc({ class: 'models', identifier_type: principal.keyId === null ? 'sub' : 'key' });
  throw new PortcullisError(
    'rate_limited',
    `This credential may make ${perMinute} model calls a minute; wait ${Math.ceil(verdict.retryAfterS)} s.`,
    { retryAfterS: verdict.retryAfterS, rule: 'models' },
  );
}
