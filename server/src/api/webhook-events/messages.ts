import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type GetWebhookEventResponseSchema,
  type WebhookCallbackSchema,
  type WebhookEventSchema,
  WebhookEventStateSchema,
  type WebhookRefusalSchema,
  WebhookSignatureStatus,
  WebhookSignatureStatusSchema,
} from '../../gen/portcullis/v1/webhook_event_pb.ts';
import type { Callback, RefusedWebhooks, WebhookEvent, WholeEvent } from '../../webhook/inbound/model.ts';
import { toEnum } from '../enums.ts';
import { toTimestamp } from '../time.ts';

/** Of a body that an answer tells; base64 makes four bytes of three. */
const toldBytesMax = 1024 * 1024;

export function webhookEventMessage(event: WebhookEvent): MessageInitShape<typeof WebhookEventSchema> {
  return {
    id: event.id,
    projectId: event.projectId,
    source: event.source,
    providerEventId: event.providerEventId,
    type: event.type,
    ...(event.runId !== null && { runId: event.runId }),
    ...(event.callbackId !== null && { callbackId: event.callbackId }),
    signatureStatus: WebhookSignatureStatus.VALID,
    state: toEnum(WebhookEventStateSchema, event.state),
    attempts: event.attempts,
    replays: event.replays,
    note: event.note,
    contentType: event.contentType,
    bodyBytes: event.bodyBytes,
    sealed: event.sealed,
    receiveTime: toTimestamp(event.receivedAt),
    finishTime: toTimestamp(event.finishedAt),
  };
}

export function wholeEventMessage(event: WholeEvent): MessageInitShape<typeof GetWebhookEventResponseSchema> {
  const { headers, body } = event;
  return {
    event: webhookEventMessage(event),
    headers: { ...headers },
    ...(body !== null && { body: body.subarray(0, toldBytesMax) }),
    truncated: body !== null && body.length > toldBytesMax,
  };
}

export function refusalMessage(refusal: RefusedWebhooks): MessageInitShape<typeof WebhookRefusalSchema> {
  return {
    source: refusal.source,
    hour: toTimestamp(refusal.hour),
    signatureStatus: toEnum(WebhookSignatureStatusSchema, refusal.signatureStatus),
    reason: refusal.reason,
    count: refusal.refused,
    firstTime: toTimestamp(refusal.firstAt),
    lastTime: toTimestamp(refusal.lastAt),
    lastAddress: refusal.lastAddress,
  };
}

export function callbackMessage(callback: Callback): MessageInitShape<typeof WebhookCallbackSchema> {
  return {
    id: callback.id,
    projectId: callback.projectId,
    source: callback.source,
    ...(callback.runId !== null && { runId: callback.runId }),
    ...(callback.jobId !== null && { jobId: callback.jobId }),
    createdBy: callback.createdBy,
    createTime: toTimestamp(callback.createdAt),
    expireTime: toTimestamp(callback.expiresAt),
  };
}
