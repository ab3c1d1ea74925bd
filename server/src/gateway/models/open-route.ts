import type { Flight } from '../../policy/flights.ts';
import { type Route, withTargets } from './routing.ts';

/**
 * The route without the targets whose provider is stopped for this call.
 * @throws PortcullisError killed when none is left
 */
export function openRoute(route: Route, flight: Flight): Route {
  const reasons = route.targets.map(({ provider }) => flight.whyNotTo(provider.name));
  const targets = route.targets.filter((_, index) => reasons[index] === null);
  if (targets.length === route.targets.length) return route;
  const [reason] = reasons.filter((one) => one !== null);
  if (targets.length === 0 && reason) throw reason;
  return withTargets(route, targets);
}
