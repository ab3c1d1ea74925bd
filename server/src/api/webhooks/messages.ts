import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  WebhookAttemptOutcomeSchema,
  type WebhookAttemptSchema,
  WebhookDeadReason,
  WebhookDeadReasonSchema,
  type WebhookDeliverySchema,
  WebhookDeliveryStateSchema,
  WebhookDisabledReason,
  WebhookDisabledReasonSchema,
  type WebhookEndpointSchema,
  WebhookEndpointStateSchema,
  type WebhookEventTypeSchema,
} from '../../gen/portcullis/v1/webhook_pb.ts';
import { catalogue, type EventType, eventSchema } from '../../outbox/catalogue.ts';
import { exampleBody } from '../../outbox/example.ts';
import type { Delivery, LoggedAttempt } from '../../webhook/outbound/delivery-log-model.ts';
import { type Endpoint, etagOf } from '../../webhook/outbound/endpoint-model.ts';
import { publicKeyText } from '../../webhook/outbound/signing.ts';
import { toEnum } from '../enums.ts';
import { toTimestamp } from '../time.ts';

export function endpointMessage(endpoint: Endpoint): MessageInitShape<typeof WebhookEndpointSchema> {
  const { disabledReason, challenge } = endpoint;
  return {
    id: endpoint.id,
    projectId: endpoint.projectId,
    url: endpoint.url,
    description: endpoint.description,
    eventTypes: [...endpoint.eventTypes],
    ratePerSecond: endpoint.ratePerS ?? 0,
    ordered: endpoint.ordered,
    state: toEnum(WebhookEndpointStateSchema, endpoint.state),
    disabledReason:
      disabledReason === null ? WebhookDisabledReason.UNSPECIFIED : toEnum(WebhookDisabledReasonSchema, disabledReason),
    publicKeys: endpoint.publicKeys.map(publicKeyText),
    oldSecretUntil: toTimestamp(endpoint.oldSecretUntil),
    failingSince: toTimestamp(endpoint.failingSince),
    ...(challenge !== null && {
      challenge: {
        id: challenge.id,
        attempts: challenge.attempts,
        nextAttemptTime: toTimestamp(challenge.nextAt),
        error: challenge.error,
      },
    }),
    etag: etagOf(endpoint),
    createdBy: endpoint.createdBy,
    createTime: toTimestamp(endpoint.createdAt),
    updateTime: toTimestamp(endpoint.updatedAt),
  };
}

export function deliveryMessage(delivery: Delivery): MessageInitShape<typeof WebhookDeliverySchema> {
  const { deadReason } = delivery;
  return {
    id: delivery.id,
    endpointId: delivery.endpointId,
    eventId: delivery.eventId,
    eventType: delivery.eventType,
    state: toEnum(WebhookDeliveryStateSchema, delivery.state),
    attempts: delivery.attempts,
    nextAttemptTime: toTimestamp(delivery.nextAt),
    deadReason: deadReason === null ? WebhookDeadReason.UNSPECIFIED : toEnum(WebhookDeadReasonSchema, deadReason),
    createTime: toTimestamp(delivery.createdAt),
    endTime: toTimestamp(delivery.endedAt),
  };
}

export function attemptMessage(attempt: LoggedAttempt): MessageInitShape<typeof WebhookAttemptSchema> {
  return {
    number: attempt.number,
    startTime: toTimestamp(attempt.startedAt),
    durationMs: attempt.durationMs,
    status: attempt.status ?? 0,
    outcome: toEnum(WebhookAttemptOutcomeSchema, attempt.outcome),
    error: attempt.error ?? '',
    answer: attempt.answer,
  };
}

export function eventTypeMessage(type: EventType): MessageInitShape<typeof WebhookEventTypeSchema> {
  return {
    type,
    description: catalogue[type].doc,
    version: catalogue[type].version,
    schema: JSON.stringify(eventSchema(type)),
    example: exampleBody(type),
  };
}
