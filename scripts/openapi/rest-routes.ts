import type { DescMethod } from '@bufbuild/protobuf';
import { WebhookService } from '../../server/src/gen/portcullis/v1/webhook_pb.ts';
import type { MessageSchemas } from './messages.ts';
import { reference, type Schema } from './schema.ts';

/** A resource's route that stands for a method of the control API. */
interface RestRoute {
  readonly path: string;
  readonly verb: 'get' | 'post' | 'patch' | 'delete';
  readonly method: DescMethod;
  readonly summary: string;
  readonly status: 200 | 201 | 204;
  /** Names of fields that are sent as query. */
  readonly query?: readonly string[];
  readonly isConditional?: true;
}

const endpoints = '/v1/webhooks/endpoints';
const endpoint = `${endpoints}/{endpoint_id}`;
const methods = WebhookService.method;

/** Every such route. A test compares them with what is served. */
const restRoutes: readonly RestRoute[] = [
  {
    path: endpoints,
    verb: 'get',
    method: methods.listWebhookEndpoints,
    summary: 'The endpoints of webhooks, newest first',
    status: 200,
    query: ['page_size', 'page_token', 'project_id'],
  },
  {
    path: endpoints,
    verb: 'post',
    method: methods.createWebhookEndpoint,
    summary: 'Registers an endpoint; its secret is shown once',
    status: 201,
  },
  {
    path: endpoint,
    verb: 'get',
    method: methods.getWebhookEndpoint,
    summary: 'One endpoint',
    status: 200,
    query: ['project_id'],
  },
  {
    path: endpoint,
    verb: 'patch',
    method: methods.updateWebhookEndpoint,
    summary: 'Changes what is sent of an endpoint; null clears',
    status: 200,
    query: ['project_id'],
    isConditional: true,
  },
  {
    path: endpoint,
    verb: 'delete',
    method: methods.deleteWebhookEndpoint,
    summary: 'Deletes an endpoint',
    status: 204,
    query: ['project_id'],
    isConditional: true,
  },
];

const text: Schema = { type: 'string' };

/** The paths of resources, each with its operations. @param common what such an operation has of its method: rights, idempotency */
export function restPaths(
  messages: MessageSchemas,
  common: (method: DescMethod) => { readonly security: readonly object[]; readonly parameters?: readonly object[] },
): Record<string, Record<string, object>> {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of restRoutes)
    (paths[route.path] ??= {})[route.verb] = operation(route, messages, common(route.method));
  return paths;
}

function operation(
  { path, verb, method, summary, status, query = [], isConditional }: RestRoute,
  messages: MessageSchemas,
  {
    security,
    parameters: shared = [],
  }: { readonly security: readonly object[]; readonly parameters?: readonly object[] },
): object {
  const parameters = [
    ...[...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({ name, in: 'path', required: true, schema: text })),
    ...query.map((name) => ({ name, in: 'query', schema: text })),
    ...(isConditional
      ? [{ name: 'If-Match', in: 'header', description: 'The etag that the change was made from.', schema: text }]
      : []),
    ...shared,
  ];
  const json = (schema: Schema) => ({ 'application/json': { schema } });
  const body: Schema = verb === 'post' ? messages.of(method.input) : { type: 'object' };
  return {
    operationId: `${verb} ${path}`,
    tags: [method.parent.typeName],
    summary,
    description: `As ${method.parent.typeName}.${method.name}.`,
    security,
    ...(parameters.length > 0 && { parameters }),
    ...((verb === 'post' || verb === 'patch') && { requestBody: { required: true, content: json(body) } }),
    responses: {
      [status]:
        status === 204
          ? { description: 'Done.' }
          : { description: 'The answer.', content: json(messages.of(method.output)) },
      default: {
        description: 'Refused, or failed.',
        content: { 'application/problem+json': { schema: reference('Problem') } },
      },
    },
  };
}
