import type { DescMethod } from '@bufbuild/protobuf';
import { type MethodRule, methodRule, services } from '../../server/src/api/methods.ts';
import manifest from '../../server/package.json' with { type: 'json' };
import { protoComments } from './comments.ts';
import { type Credential, type HttpRoute, httpRoutes } from './http-routes.ts';
import { MessageSchemas } from './messages.ts';
import { type Schema, reference } from './schema.ts';

const text: Schema = { type: 'string' };

/** Shapes of refusals, by the protocol that is spoken. */
const errorSchemas: Readonly<Record<string, Schema>> = {
  ConnectError: {
    description:
      'Connect\'s error. Among its details is portcullis.v1.ErrorInfo, whose "code" is one of docs/reference/errors.md.',
    type: 'object',
    properties: { code: text, message: text, details: { type: 'array', items: { type: 'object' } } },
    required: ['code'],
  },
  AnthropicError: {
    description: 'As the Anthropic API has it.',
    type: 'object',
    properties: {
      type: { type: 'string', enum: ['error'] },
      error: { type: 'object', properties: { type: text, message: text }, required: ['type', 'message'] },
      request_id: text,
    },
    required: ['type', 'error'],
  },
  OpenAIError: {
    description: 'As the OpenAI API has it.',
    type: 'object',
    properties: {
      error: { type: 'object', properties: { message: text, type: text, code: {}, param: {} }, required: ['message'] },
    },
    required: ['error'],
  },
  OAuthError: {
    description: 'RFC 6749, section 5.2.',
    type: 'object',
    properties: { error: text, error_description: text },
    required: ['error'],
  },
  Problem: {
    description: 'RFC 9457.',
    type: 'object',
    properties: { title: text, detail: text, status: { type: 'integer' }, code: text, request_id: text },
  },
};

const errorTypes: Readonly<Record<string, string>> = { Problem: 'application/problem+json' };

const credentials: Readonly<Record<Credential, object>> = {
  bearer: { type: 'http', scheme: 'bearer', description: 'An API key, or an access token of an issuer.' },
  apiKey: {
    type: 'apiKey',
    in: 'header',
    name: 'x-api-key',
    description: "An API key, as Anthropic's clients send it.",
  },
  session: {
    type: 'apiKey',
    in: 'cookie',
    name: '__Host-portcullis',
    description: 'The session of a browser that signed in.',
  },
};

/** Everything that `HTTP_ADDR` serves to programs, as OpenAPI 3.1: the control API by Connect JSON, the models door, OAuth, operations. */
export function openApiPage(): { readonly path: string; readonly text: string } {
  const comments = protoComments();
  const messages = new MessageSchemas(comments);
  const methods = services.flatMap((service) => service.methods);
  const paths = Object.fromEntries([
    ...methods.map((method) => [
      `/${method.parent.typeName}/${method.name}`,
      { post: controlMethod(method, messages, comments) },
    ]),
    ...httpRoutes.map((route) => [route.path, { [route.method]: operation(route) }]),
  ]);
  const document = {
    openapi: '3.1.1',
    info: {
      title: 'Portcullis',
      version: manifest.version,
      summary: 'The control plane for AI agents that you only half trust',
      description:
        'Made from `proto/` by `npm run gen`. The control API is also gRPC and gRPC-Web (docs/grpc.md). Fields may be written as in `proto/` too; an unknown one is refused. 64-bit numbers are text.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    tags: [
      ...services.map(({ typeName }) => ({ name: typeName, description: comments.get(typeName) ?? '' })),
      { name: 'models', description: 'Model calls, in the dialect that the caller knows.' },
      { name: 'OAuth', description: 'Where programs get keys (docs/login.md).' },
      { name: 'operations', description: 'What load balancers and scrapers ask.' },
    ],
    paths,
    components: {
      schemas: {
        ...Object.fromEntries([...messages.schemas].toSorted(([one], [other]) => (one < other ? -1 : 1))),
        ...errorSchemas,
      },
      securitySchemes: credentials,
    },
  };
  return { path: 'docs/reference/openapi.json', text: `${JSON.stringify(document, null, 2)}\n` };
}

function rightsOf(scope: MethodRule['scope']): string {
  if (scope === null) return 'Needs no credential.';
  return scope === 'authenticated' ? 'Needs any credential.' : `Needs the scope \`${scope}\`.`;
}

function controlMethod(method: DescMethod, messages: MessageSchemas, comments: ReadonlyMap<string, string>): object {
  const name = `${method.parent.typeName}.${method.name}`;
  const { access, scope } = methodRule(method);
  const isStream = method.methodKind === 'server_streaming';
  // Connect envelopes the messages of streams, requests too.
  const type = isStream ? 'application/connect+json' : 'application/json';
  return {
    operationId: name,
    tags: [method.parent.typeName],
    description: [
      comments.get(name),
      rightsOf(scope),
      isStream ? "Answers with a stream of messages in Connect's envelopes." : '',
    ]
      .join(' ')
      .trim(),
    security: scope === null ? [] : [{ bearer: [] }, { session: [] }],
    ...(access === 'write' && { parameters: [idempotencyKey] }),
    requestBody: { required: true, content: { [type]: { schema: messages.of(method.input) } } },
    responses: {
      200: { description: 'The answer.', content: { [type]: { schema: messages.of(method.output) } } },
      default: refusal('ConnectError'),
    },
  };
}

const idempotencyKey = {
  name: 'Idempotency-Key',
  in: 'header',
  description: 'The same write under the same key happens once (docs/idempotency.md).',
  schema: { type: 'string', minLength: 1, maxLength: 255 },
};

function operation({ path, method, tag, summary, description, security, body, answers, errors }: HttpRoute): object {
  return {
    operationId: `${method} ${path}`,
    tags: [tag],
    summary,
    ...(description !== undefined && { description }),
    security: security.map((name) => ({ [name]: [] })),
    ...(body && { requestBody: { required: true, content: { [body.type]: { schema: body.schema } } } }),
    responses: {
      200: { description: 'The answer.', content: Object.fromEntries(answers.map((type) => [type, {}])) },
      default: refusal(errors),
    },
  };
}

function refusal(schema: string): object {
  const type = errorTypes[schema] ?? 'application/json';
  return { description: 'Refused, or failed.', content: { [type]: { schema: reference(schema) } } };
}
