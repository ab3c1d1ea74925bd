import type { ServiceImpl } from '@connectrpc/connect';
import { type WebhookEventService, WebhookEventStateSchema } from '../../gen/portcullis/v1/webhook_event_pb.ts';
import { eventStates } from '../../webhook/inbound/model.ts';
import { callerOf } from '../caller.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum } from '../enums.ts';
import { wholeSeconds } from '../time.ts';
import { callbackMessage, refusalMessage, webhookEventMessage, wholeEventMessage } from './messages.ts';

/** Webhooks that came in. */
export function webhookEventHandler({
  webhookEvents,
  pageTokens,
}: ServiceDeps): ServiceImpl<typeof WebhookEventService> {
  return {
    async listWebhookEvents(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const { source = null, runId = null } = request;
      const state = request.state === 0 ? null : fromEnum(WebhookEventStateSchema, eventStates, request.state, 'state');
      const page = await webhookEvents.list({ projectId, source, state, runId }, pageTokens.read(list, request));
      return { events: page.items.map(webhookEventMessage), nextPageToken: pageTokens.next(list, page) };
    },

    async getWebhookEvent(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      return wholeEventMessage(await webhookEvents.get(projectId, request.eventId));
    },

    async replayWebhookEvent(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const event = await webhookEvents.replay(principal, requestId, projectId, request.eventId);
      return { event: webhookEventMessage(event) };
    },

    async listWebhookRefusals() {
      return { refusals: (await webhookEvents.refused()).map(refusalMessage) };
    },

    async createWebhookCallback(request, context) {
      const { principal, requestId, projectId } = callerOf(context, request.projectId);
      const { source, runId = null, jobId = null, lifetime } = request;
      const lifetimeS = lifetime === undefined ? null : wholeSeconds('lifetime', lifetime);
      const asked = { projectId, source, runId, jobId, lifetimeS };
      const { callback, url } = await webhookEvents.createCallback(principal, requestId, asked);
      return { callback: callbackMessage(callback), url };
    },
  };
}
