import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import {
  type UpdateWebhookEndpointRequest,
  WebhookDeliveryStateSchema,
  type WebhookService,
} from '../../gen/portcullis/v1/webhook_pb.ts';
import { eventTypes } from '../../outbox/catalogue.ts';
import { deliveryStates } from '../../webhook/outbound/delivery-log-model.ts';
import { callerOf } from '../caller.ts';
import { signedRequestKey } from '../context.ts';
import type { ServiceDeps } from '../deps.ts';
import { fromEnum } from '../enums.ts';
import { fromTimestamp } from '../time.ts';
import { changesIn } from '../update-mask.ts';
import { attemptMessage, deliveryMessage, endpointMessage, eventTypeMessage } from './messages.ts';

type Implementation = ServiceImpl<typeof WebhookService>;

export function webhookHandler(deps: ServiceDeps): Implementation {
  return { ...endpointMethods(deps), ...changeMethods(deps), ...deliveryMethods(deps), ...redeliveryMethods(deps) };
}

function endpointMethods({
  webhookEndpoints: endpoints,
  pageTokens,
}: ServiceDeps): Pick<
  Implementation,
  'createWebhookEndpoint' | 'getWebhookEndpoint' | 'listWebhookEndpoints' | 'listWebhookEventTypes'
> {
  return {
    async createWebhookEndpoint(request, context) {
      const { url, description, eventTypes: types, ordered } = request;
      const content = { url, description, eventTypes: types, ratePerS: rateOf(request.ratePerSecond), ordered };
      const { endpoint, secret } = await endpoints.create({ ...by(request, context), ...content });
      return { endpoint: endpointMessage(endpoint), secret };
    },

    async getWebhookEndpoint(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      return { endpoint: endpointMessage(await endpoints.get(projectId, request.endpointId)) };
    },

    async listWebhookEndpoints(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const page = await endpoints.list(projectId, pageTokens.read(list, request));
      return { endpoints: page.items.map(endpointMessage), nextPageToken: pageTokens.next(list, page) };
    },

    listWebhookEventTypes: () => ({ eventTypes: eventTypes.map(eventTypeMessage) }),
  };
}

function changeMethods({
  webhookEndpoints: endpoints,
}: ServiceDeps): Pick<
  Implementation,
  'updateWebhookEndpoint' | 'deleteWebhookEndpoint' | 'rotateWebhookSecret' | 'verifyWebhookEndpoint'
> {
  return {
    async updateWebhookEndpoint(request, context) {
      const change = changeIn(request);
      return { endpoint: endpointMessage(await endpoints.update({ ...named(request, context), change })) };
    },

    async deleteWebhookEndpoint(request, context) {
      return { endpoint: endpointMessage(await endpoints.delete(named(request, context))) };
    },

    async rotateWebhookSecret(request, context) {
      const { endpointId: id, endOldNow } = request;
      const { endpoint, secret } = await endpoints.rotate({ ...by(request, context), id, endOldNow });
      return { endpoint: endpointMessage(endpoint), secret };
    },

    async verifyWebhookEndpoint(request, context) {
      const endpoint = await endpoints.verify({ ...by(request, context), id: request.endpointId });
      return { endpoint: endpointMessage(endpoint) };
    },
  };
}

function deliveryMethods({
  webhookDeliveries: deliveries,
  pageTokens,
}: ServiceDeps): Pick<Implementation, 'listWebhookDeliveries' | 'getWebhookDelivery' | 'listWebhookAttempts'> {
  return {
    async listWebhookDeliveries(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const endpointId = request.endpointId ?? null;
      const state =
        request.state === 0 ? null : fromEnum(WebhookDeliveryStateSchema, deliveryStates, request.state, 'state');
      const page = await deliveries.list({ projectId, endpointId, state }, pageTokens.read(list, request));
      return { deliveries: page.items.map(deliveryMessage), nextPageToken: pageTokens.next(list, page) };
    },

    async getWebhookDelivery(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const { delivery, body } = await deliveries.get(projectId, request.deliveryId);
      return { delivery: deliveryMessage(delivery), body };
    },

    async listWebhookAttempts(request, context) {
      const { projectId } = callerOf(context, request.projectId);
      const list = { method: context.method, projectId };
      const page = await deliveries.attempts(projectId, request.deliveryId, pageTokens.read(list, request));
      return { attempts: page.items.map(attemptMessage), nextPageToken: pageTokens.next(list, page) };
    },
  };
}

function redeliveryMethods({
  webhookDeliveries: deliveries,
}: ServiceDeps): Pick<Implementation, 'sendTestWebhook' | 'redeliverWebhook' | 'redeliverWebhooks'> {
  return {
    async sendTestWebhook(request, context) {
      const { endpointId, eventType } = request;
      const delivery = await deliveries.test({ ...by(request, context), endpointId, eventType });
      return { delivery: deliveryMessage(delivery) };
    },

    async redeliverWebhook(request, context) {
      const delivery = await deliveries.redeliver({ ...by(request, context), id: request.deliveryId });
      return { delivery: deliveryMessage(delivery) };
    },

    async redeliverWebhooks(request, context) {
      const { redelivered, lastId } = await deliveries.redeliverSpan({
        ...by(request, context),
        endpointId: request.endpointId,
        sinceMs: fromTimestamp('since_time', request.sinceTime) ?? 0,
        untilMs: fromTimestamp('until_time', request.untilTime),
        delivered: request.includeDelivered,
        afterId: request.afterDeliveryId ?? null,
      });
      return { redelivered, lastDeliveryId: lastId ?? '' };
    },
  };
}

interface InProject {
  readonly projectId?: string | undefined;
}

/** Who asks, where, and from which address. */
function by({ projectId: inProject }: InProject, context: HandlerContext) {
  const { principal, requestId, projectId } = callerOf(context, inProject);
  const address = context.values.get(signedRequestKey)?.clientAddress ?? null;
  return { by: principal, requestId, projectId, address };
}

function named(request: InProject & { readonly endpointId: string; readonly etag: string }, context: HandlerContext) {
  return { ...by(request, context), id: request.endpointId, etag: request.etag === '' ? null : request.etag };
}

/** What is named and not given is cleared, where it can be empty. */
function changeIn(request: UpdateWebhookEndpointRequest) {
  const { updateMask, url, description, ratePerSecond, ordered, disabled } = request;
  const types = request.eventTypes.length === 0 ? undefined : request.eventTypes;
  const given = { url, description, event_types: types, rate_per_second: ratePerSecond, ordered, disabled };
  const changes = changesIn(updateMask, given);
  return {
    ...(changes.has('url') && { url: url ?? '' }),
    ...(changes.has('description') && { description: description ?? '' }),
    ...(changes.has('event_types') && { eventTypes: types ?? [] }),
    ...(changes.has('rate_per_second') && { ratePerS: rateOf(ratePerSecond ?? 0) }),
    ...(changes.has('ordered') && { ordered: ordered ?? false }),
    ...(changes.has('disabled') && { disabled: disabled ?? false }),
  };
}

function rateOf(perSecond: number): number | null {
  return perSecond === 0 ? null : perSecond;
}
