/** The way out to addresses that others than the operator can influence. Part of the composition root: see main.ts. */
import { createEgress, type Egress } from '../net/egress/egress.ts';
import type { Base } from './base.ts';

export function startEgress({ config, metrics, stops }: Base): Egress {
  const egress = createEgress({
    allowPrivate: config.options.EGRESS_ALLOW_PRIVATE,
    onRequest: (owner, outcome) => metrics.egressRequests.inc({ owner, outcome }),
  });
  stops.add('egress', () => egress.close());
  return egress;
}
