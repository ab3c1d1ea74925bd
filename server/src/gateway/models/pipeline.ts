import { PortcullisError } from '../../base/errors.ts';
import { admit } from './admit.ts';
import { makeAttempts } from './attempts.ts';
import { authorize } from './authorize.ts';
import { cached } from './cached.ts';
import { Call } from './call.ts';
import { countLocally } from './count-tokens.ts';
import type { Endpoint } from './endpoints.ts';
import type { Exchange } from './exchange.ts';
import type { ModelGate } from './gate.ts';
import { identify } from './identify.ts';
import { once } from './once.ts';
import { receive } from './receive.ts';
import { record } from './record.ts';
import { refuse } from './refuse.ts';
import { requireSignature } from './signature.ts';

/**
 * A model call, from its headers to its ledger row. The order is the security argument: nobody unknown makes us read a
 * body, nobody unauthorized makes us hold money, and of each attempt (attempts.ts) nothing goes upstream before its worst
 * case is durably held, and nobody sees the end of an answer before it is paid for.
 */
export async function handleCall(gate: ModelGate, exchange: Exchange, endpoint: Endpoint): Promise<void> {
  const call = new Call(exchange, endpoint);
  try {
    const principal = await identify(gate, exchange);
    call.identified(principal, gate.clock.now());
    const flight = await admit(gate, call, principal);
    try {
      const body = await receive(call, flight);
      await requireSignature(gate, exchange, principal, body);
      const plan = await authorize(gate, call, principal, flight, body);
      if (plan.kind === 'count_locally') return await countLocally(call, plan, body);
      const asked = { call, principal, flight, plan, body };
      const answered = await once(gate, asked, () => cached(gate, asked, () => makeAttempts(gate, asked)));
      answered.finish();
    } finally {
      flight.end();
    }
  } catch (thrown) {
    refuse(gate, call, PortcullisError.from(thrown));
  } finally {
    call.close();
    record(gate, call);
  }
}
