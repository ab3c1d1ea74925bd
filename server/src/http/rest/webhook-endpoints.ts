import type { DescMethod, JsonObject } from '@bufbuild/protobuf';
import type { UniversalHandler } from '@connectrpc/connect/protocol';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { PortcullisError } from '../../base/errors.ts';
import { WebhookService } from '../../gen/portcullis/v1/webhook_pb.ts';
import { type GuardOptions, admitCaller } from '../guard.ts';
import type { RateClass } from '../rates.ts';
import { discardBody, noteRefusal, problemBody } from '../refusal.ts';
import { type ReadBody, callMethod } from './alias.ts';

const prefix = '/v1/webhooks/endpoints';
const all = ['GET', 'HEAD', 'POST'] as const;
const one = ['GET', 'HEAD', 'PATCH', 'DELETE'] as const;

interface Named {
  Params: { readonly endpoint_id: string };
}

/**
 * The endpoints of webhooks as resources: other names of methods of WebhookService, with their rights, rules and idempotency.
 * Bodies are the methods' own messages; refusals are problems (RFC 9457).
 */
export async function registerWebhookEndpoints(
  app: FastifyInstance,
  guard: GuardOptions,
  rate: RateClass,
  handlers: readonly UniversalHandler[],
): Promise<void> {
  const { createWebhookEndpoint, listWebhookEndpoints, getWebhookEndpoint } = WebhookService.method;
  const { updateWebhookEndpoint, deleteWebhookEndpoint } = WebhookService.method;
  const call = (
    method: DescMethod,
    exchange: { readonly request: FastifyRequest; readonly reply: FastifyReply },
    messageOf: (read: ReadBody) => Promise<JsonObject>,
  ) => callMethod(handlers, method, exchange, messageOf);
  await app.register(
    async (scope) => {
      scope.addHook('onRequest', async (request, reply) => {
        await admitCaller(guard, rate, request, reply);
      });
      scope.get('', async (request, reply) => {
        const query = async () => ({ ...(request.query as JsonObject) });
        const { answer } = await call(listWebhookEndpoints, { request, reply }, query);
        return reply.send(answer);
      });
      scope.post('', async (request, reply) => {
        const { answer, headers } = await call(createWebhookEndpoint, { request, reply }, (read) => read());
        const id = (answer['endpoint'] as JsonObject)['id'] as string;
        return sendEndpoint(reply.code(201).header('location', `${prefix}/${id}`), answer, headers);
      });
      scope.get<Named>('/:endpoint_id', async (request, reply) => {
        const { answer, headers } = await call(getWebhookEndpoint, { request, reply }, async () => named(request));
        return sendEndpoint(reply, answer, headers);
      });
      scope.patch<Named>('/:endpoint_id', async (request, reply) => {
        const change = async (read: ReadBody) => ({
          ...named(request),
          ...etagIn(request),
          ...maskedChange(await read()),
        });
        const { answer, headers } = await call(updateWebhookEndpoint, { request, reply }, change);
        return sendEndpoint(reply, answer, headers);
      });
      scope.delete<Named>('/:endpoint_id', async (request, reply) => {
        const order = async () => ({ ...named(request), ...etagIn(request) });
        const { headers } = await call(deleteWebhookEndpoint, { request, reply }, order);
        return replayed(reply, headers).code(204).send();
      });
      scope.setNotFoundHandler(sendNotAllowed);
    },
    { prefix },
  );
}

function named({ params, query }: FastifyRequest<Named>): JsonObject {
  return { ...(query as JsonObject), endpointId: params.endpoint_id };
}

/** `If-Match` as RFC 9110 has it: one strong etag, or `*` for whatever is there. @throws PortcullisError invalid_argument */
function etagIn({ headers }: FastifyRequest): JsonObject {
  const given = headers['if-match'];
  if (given === undefined || given.trim() === '*') return {};
  const etag = /^"([^"]{1,50})"$/.exec(given.trim())?.[1];
  if (etag === undefined) throw new PortcullisError('invalid_argument', 'If-Match must be one etag in quotes, or *.');
  return { etag };
}

/** What is sent is what is changed (RFC 7396): null clears. */
function maskedChange(change: JsonObject): JsonObject {
  const names = Object.keys(change).map((name) =>
    name.replace(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase()),
  );
  return { ...change, updateMask: names.join(',') };
}

function sendEndpoint(reply: FastifyReply, answer: JsonObject, headers: Headers): FastifyReply {
  const { etag } = answer['endpoint'] as { readonly etag?: string };
  if (etag !== undefined) reply.header('etag', `"${etag}"`);
  return replayed(reply, headers).send(answer);
}

function replayed(reply: FastifyReply, headers: Headers): FastifyReply {
  return headers.get('idempotency-replayed') === null ? reply : reply.header('idempotency-replayed', 'true');
}

/** Whoever calls a resource by a method that it does not have is told those that it has (RFC 9110, 15.5.6). */
async function sendNotAllowed(request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const [path = ''] = request.url.split('?', 1);
  const allowed = path === prefix ? all : /^\/[^/]+$/.test(path.slice(prefix.length)) ? one : null;
  const error = new PortcullisError('not_found', `There is nothing at ${request.method} ${path}.`);
  if (allowed === null) throw error;
  noteRefusal(request.access, error);
  await discardBody(request, reply);
  const body = problemBody(error, request.id, 405);
  await reply
    .code(405)
    .headers({ allow: allowed.join(', '), 'x-should-retry': 'false' })
    .type('application/problem+json')
    .send(JSON.stringify({ ...body, title: 'Method not allowed' }));
}
