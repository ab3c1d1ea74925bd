import { queryAsOwner, type TestDatabase } from '../../support/database.ts';
import { verified } from '../../support/delivery-target.ts';
import type { Receipt } from './run.ts';

export interface Evidence {
  /** Transactions that emitted an event and were committed. */
  readonly committed: number;
  /** Deliveries that were waiting when it was over. */
  readonly waiting: number;
  readonly receipts: readonly Receipt[];
  readonly endpoints: readonly {
    readonly id: string;
    readonly path: string;
    readonly secret: string;
    readonly ordered: boolean;
  }[];
}

interface EventRow {
  readonly id: string;
  readonly key: string;
}

interface DeliveryRow {
  readonly endpoint_id: string;
  readonly event_id: string;
  readonly state: string;
  readonly attempts: number;
  readonly written: number;
  readonly successes: number;
}

/** What the database and the receiver say, compared. */
export async function judge(
  db: TestDatabase,
  { committed, waiting, receipts, endpoints }: Evidence,
): Promise<{ counts: Record<string, number>; violations: string[] }> {
  const violations: string[] = [];
  const broken = (what: string) => violations.push(what);
  const events = await queryAsOwner<EventRow>(db, 'SELECT id, key FROM outbox_events ORDER BY seq');
  const deliveries = await queryAsOwner<DeliveryRow>(
    db,
    `SELECT d.endpoint_id, d.event_id, d.state, d.attempts, count(a.number)::int AS written,
       count(a.number) FILTER (WHERE a.outcome = 'delivered')::int AS successes
     FROM webhook_deliveries d LEFT JOIN webhook_attempts a ON a.delivery_id = d.id GROUP BY d.id`,
  );
  if (waiting !== 0) broken(`${waiting} deliveries wait still`);
  if (events.length !== committed) broken(`${committed} events were committed, and ${events.length} are there`);
  if (deliveries.length !== events.length * endpoints.length)
    broken(`${deliveries.length} deliveries of ${events.length} events for ${endpoints.length} endpoints`);
  const known = new Set(events.map(({ id }) => id));
  for (const { id, body } of receipts) {
    if (!known.has(id)) broken(`${id} came, and is no event`);
    if (body.includes('undone')) broken(`${id} came, and its transaction was undone`);
  }
  for (const endpoint of endpoints) {
    const came = receipts.filter(({ path }) => path === endpoint.path);
    const byEvent = Map.groupBy(came, ({ id }) => id);
    for (const row of deliveries.filter(({ endpoint_id }) => endpoint_id === endpoint.id)) {
      const mine = byEvent.get(row.event_id) ?? [];
      const problem = problemOf(row, mine);
      if (problem !== null) broken(`${row.event_id} at ${endpoint.path}: ${problem}`);
    }
    for (const receipt of came)
      if (!holds(endpoint.secret, receipt)) broken(`${receipt.id}: its signature does not hold`);
    if (endpoint.ordered) violations.push(...outOfOrder(events, came));
  }
  const successes = receipts.filter(({ status }) => status === 204).length;
  return {
    counts: {
      events: events.length,
      deliveries: deliveries.length,
      'messages that came': receipts.length,
      'answered with 500': receipts.length - successes,
      'taken more than once': successes - deliveries.length,
      'attempts written': deliveries.reduce((sum, { written }) => sum + written, 0),
    },
    violations,
  };
}

function problemOf({ state, attempts, written, successes }: DeliveryRow, came: readonly Receipt[]): string | null {
  if (state !== 'delivered') return `it is ${state}`;
  if (!came.some(({ status }) => status === 204)) return 'it never was taken';
  if (new Set(came.map(({ body }) => body)).size !== 1) return 'its body changed';
  if (attempts !== written) return `${attempts} attempts are counted and ${written} written`;
  if (successes < 1) return 'no success is written';
  // A process that was killed wrote nothing of what it sent; nothing is written that was not sent.
  const sent = came.filter(({ status }) => status === 204).length;
  if (successes > sent) return `${successes} successes are written of ${sent}`;
  return null;
}

/** Where order is wanted, an event comes for the first time only after the one before it of its key was taken. */
function outOfOrder(events: readonly EventRow[], came: readonly Receipt[]): string[] {
  const taken = new Map<string, number>();
  const first = new Map<string, number>();
  for (const [at, { id, status }] of came.entries()) {
    if (!first.has(id)) first.set(id, at);
    if (status === 204 && !taken.has(id)) taken.set(id, at);
  }
  return [...Map.groupBy(events, ({ key }) => key).values()].flatMap((ofKey) =>
    ofKey.flatMap(({ id }, at) => {
      const before = ofKey[at - 1];
      if (before === undefined) return [];
      const early = (first.get(id) ?? Infinity) < (taken.get(before.id) ?? Infinity);
      return early ? [`${id} came before ${before.id}, which is of the same key, was taken`] : [];
    }),
  );
}

function holds(secret: string, receipt: Receipt): boolean {
  try {
    verified(secret, receipt);
    return true;
  } catch {
    return false;
  }
}
