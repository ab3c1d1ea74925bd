import { createSecretKey, randomBytes } from 'node:crypto';
import { systemClock } from '../../server/src/base/clock.ts';
import { newId } from '../../server/src/base/ids.ts';
import { createLogger } from '../../server/src/base/log.ts';
import type { SealingKey } from '../../server/src/base/sealed-secret.ts';
import { createEgress, type EgressOptions } from '../../server/src/net/egress/egress.ts';
import { type EventType, exampleData } from '../../server/src/outbox/catalogue.ts';
import { emitEvent, type NewEvent } from '../../server/src/outbox/emit.ts';
import { inTransaction } from '../../server/src/pg/tx.ts';
import { Deliverer, type DelivererOptions } from '../../server/src/webhook/outbound/deliverer.ts';
import { hmacSecretText, makeSecret } from '../../server/src/webhook/outbound/signing.ts';
import { queryAsOwner, type TestDatabase } from './database.ts';

/** Seals the secrets of endpoints in tests. */
export const sealingKey = { id: randomBytes(8), key: createSecretKey(randomBytes(32)) };

export const [projectId, otherProjectId] = ['prj_a', 'prj_b'];

export async function makeProjects(db: TestDatabase): Promise<void> {
  await queryAsOwner(
    db,
    `INSERT INTO projects (id, name, control_version) VALUES ('prj_a', 'a', 1), ('prj_b', 'b', 1) ON CONFLICT DO NOTHING`,
  );
}

export interface MadeEndpoint {
  readonly id: string;
  /** `whsec_…` */
  readonly secret: string;
  readonly publicKey: Buffer;
}

/** An endpoint that answered its challenge. */
export async function addEndpoint(
  db: TestDatabase,
  made: {
    readonly url: string;
    readonly projectId?: string;
    readonly eventTypes?: readonly EventType[];
    readonly ordered?: boolean;
    readonly ratePerS?: number;
    /** Of the process that delivers. */
    readonly key?: SealingKey;
  },
): Promise<MadeEndpoint> {
  const id = newId('whe');
  await queryAsOwner(
    db,
    `INSERT INTO webhook_endpoints (id, project_id, url, event_types, ordered, rate_per_s, state, created_by)
     VALUES ($1, $2, $3, $4, $5, $6, 'active', 'test')`,
    [id, made.projectId ?? projectId, made.url, made.eventTypes ?? [], made.ordered ?? false, made.ratePerS ?? null],
  );
  return { id, ...(await addSecret(db, id, 0, made.key)) };
}

/** Another secret; the one before it goes on to sign for so long. */
export async function addSecret(
  db: TestDatabase,
  endpointId: string,
  overlapMs = 0,
  key: SealingKey = sealingKey,
): Promise<Omit<MadeEndpoint, 'id'>> {
  const id = newId('whs');
  const { secret, sealed } = makeSecret(key, id);
  await queryAsOwner(
    db,
    `UPDATE webhook_secrets SET expires_at = now() + $2 * interval '1 ms' WHERE endpoint_id = $1 AND expires_at IS NULL`,
    [endpointId, overlapMs],
  );
  await queryAsOwner(db, 'INSERT INTO webhook_secrets (id, endpoint_id, sealed, public_key) VALUES ($1, $2, $3, $4)', [
    id,
    endpointId,
    sealed,
    secret.publicKey,
  ]);
  return { secret: hmacSecretText(secret), publicKey: secret.publicKey };
}

/** Emits an event with the data of the catalogue's example. */
export function emitExample(
  db: Pick<TestDatabase, 'pool'>,
  type: EventType,
  more: Partial<Omit<NewEvent, 'type'>> = {},
): Promise<void> {
  const event = { projectId, data: exampleData(type), ...more, type } as NewEvent;
  return inTransaction(db.pool, (tx) => emitEvent(tx, event));
}

export interface TestDeliverer {
  readonly deliverer: Deliverer;
  /** Outcomes as they were counted. */
  readonly outcomes: string[];
  stop(): Promise<void>;
}

/** An engine that may reach these receivers, private as they are. */
export function startDeliverer(
  db: Pick<TestDatabase, 'pool'>,
  allowPrivate: EgressOptions['allowPrivate'],
  more: Partial<DelivererOptions> = {},
): TestDeliverer {
  const egress = createEgress({ allowPrivate });
  const outcomes: string[] = [];
  const deliverer = new Deliverer({
    pool: db.pool,
    egress,
    key: sealingKey,
    clock: systemClock,
    log: createLogger('silent'),
    timeoutMs: 5_000,
    claimMs: 20_000,
    random: () => 0.5,
    onOutcome: (outcome) => outcomes.push(outcome),
    ...more,
  });
  deliverer.start();
  return {
    deliverer,
    outcomes,
    stop: async () => {
      await deliverer.stop();
      await egress.close();
    },
  };
}

/** Deliveries of an endpoint in the order in which their events occurred. */
export function deliveriesOf(db: TestDatabase, endpointId: string) {
  return queryAsOwner<{
    readonly id: string;
    readonly event_id: string;
    readonly state: string;
    readonly tries: number;
    readonly attempts: number;
    readonly due_in_s: number;
    readonly dead_reason: string | null;
    readonly claim: string | null;
  }>(
    db,
    `SELECT id, event_id, state, tries, attempts, dead_reason, claim,
       CASE WHEN next_at = 'infinity' THEN 'Infinity' ELSE extract(epoch FROM next_at - now()) END::float8 AS due_in_s
     FROM webhook_deliveries WHERE endpoint_id = $1 ORDER BY seq`,
    [endpointId],
  );
}

/** Lets what waits for its next attempt be due now; what waits for others waits on. It locks as the engine does, endpoints first. */
export async function makeDue(db: TestDatabase): Promise<void> {
  await queryAsOwner(
    db,
    `BEGIN;
     SELECT FROM webhook_endpoints ORDER BY id FOR NO KEY UPDATE;
     UPDATE webhook_deliveries SET next_at = now() WHERE state = 'pending' AND claim IS NULL AND next_at <> 'infinity';
     UPDATE webhook_endpoints SET held_until = NULL, next_due_at = now()
     WHERE EXISTS (SELECT FROM webhook_deliveries WHERE endpoint_id = webhook_endpoints.id AND state = 'pending');
     COMMIT`,
  );
}
