import type { Schema } from './schema.ts';

/** How a caller says who it is: the names of the security schemes of the document. */
export type Credential = 'bearer' | 'apiKey' | 'session';

/** A route that is no method of the control API. */
export interface HttpRoute {
  readonly method: 'get' | 'post';
  readonly path: string;
  readonly tag: 'models' | 'operations' | 'OAuth';
  readonly summary: string;
  readonly description?: string;
  /** By which credential; none where it needs no credential. */
  readonly security: readonly Credential[];
  readonly body?: Body;
  /** The media types of its answer. */
  readonly answers: readonly string[];
  /** The shape of its refusals: a schema of the document. */
  readonly errors: 'AnthropicError' | 'OpenAIError' | 'OAuthError' | 'Problem';
}

interface Body {
  readonly type: string;
  readonly schema: Schema;
}

const json = 'application/json';
const events = 'text/event-stream';
const form = 'application/x-www-form-urlencoded';

const modelCall = (vendor: string): Body => ({
  type: json,
  schema: {
    description: `As ${vendor} documents it. What becomes of each field at a provider of another dialect is in docs/reference/conformance.md.`,
    type: 'object',
    properties: { model: { description: 'A public model name: `GET /v1/models` lists them.', type: 'string' } },
    required: ['model'],
  },
});

const formOf = (properties: Readonly<Record<string, string>>, ...required: string[]): Body => ({
  type: form,
  schema: {
    type: 'object',
    properties: Object.fromEntries(
      Object.entries(properties).map(([name, description]) => [name, { type: 'string', description }]),
    ),
    required,
  },
});

const models = { tag: 'models', security: ['bearer', 'apiKey'], method: 'post' } as const;
const oauth = { tag: 'OAuth', security: [], method: 'post', answers: [json], errors: 'OAuthError' } as const;

/** Every route of `HTTP_ADDR` for programs besides the control API, in the order of the document. A test compares it with what is served. */
export const httpRoutes: readonly HttpRoute[] = [
  {
    ...models,
    path: '/v1/messages',
    summary: 'A call in the dialect of Anthropic Messages',
    body: modelCall('Anthropic'),
    answers: [json, events],
    errors: 'AnthropicError',
  },
  {
    ...models,
    path: '/v1/messages/count_tokens',
    summary: 'How many tokens such a call would have',
    body: modelCall('Anthropic'),
    answers: [json],
    errors: 'AnthropicError',
  },
  {
    ...models,
    path: '/v1/chat/completions',
    summary: 'A call in the dialect of OpenAI Chat Completions',
    body: modelCall('OpenAI'),
    answers: [json, events],
    errors: 'OpenAIError',
  },
  {
    ...models,
    path: '/v1/responses',
    summary: 'A call in the dialect of OpenAI Responses, without stored state',
    body: modelCall('OpenAI'),
    answers: [json, events],
    errors: 'OpenAIError',
  },
  {
    ...models,
    path: '/v1/responses/input_tokens',
    summary: 'How many tokens such a call would have',
    body: modelCall('OpenAI'),
    answers: [json],
    errors: 'OpenAIError',
  },
  {
    ...models,
    path: '/v1/embeddings',
    summary: 'Embeddings, at providers that have them',
    body: modelCall('OpenAI'),
    answers: [json],
    errors: 'OpenAIError',
  },
  {
    ...models,
    method: 'get',
    path: '/v1/models',
    summary: 'The public model names that the credential may call',
    answers: [json],
    errors: 'OpenAIError',
  },
  {
    method: 'get',
    path: '/healthz',
    tag: 'operations',
    summary: 'Says that the process lives',
    security: [],
    answers: ['text/plain'],
    errors: 'Problem',
  },
  {
    method: 'get',
    path: '/readyz',
    tag: 'operations',
    summary: 'Says whether to send work here, with a word for each dependency; 503 when not',
    security: [],
    answers: [json],
    errors: 'Problem',
  },
  {
    method: 'get',
    path: '/metrics',
    tag: 'operations',
    summary: 'Metrics in the text format of Prometheus (docs/reference/metrics.md)',
    description: 'Needs the scope `metrics:read`, or METRICS_API_KEY.',
    security: ['bearer', 'session'],
    answers: ['text/plain'],
    errors: 'Problem',
  },
  {
    method: 'get',
    path: '/v1/metrics',
    tag: 'operations',
    summary: 'A few of them as JSON',
    description: 'Needs the scope `metrics:read`, or METRICS_API_KEY.',
    security: ['bearer', 'session'],
    answers: [json],
    errors: 'Problem',
  },
  {
    ...oauth,
    path: '/oauth/device_authorization',
    summary: 'Begins a login of a command line (RFC 8628)',
    body: formOf(
      { client_id: 'portcullis-cli', client_name: 'Shown to who confirms it', scope: 'Fewer than the person has' },
      'client_id',
    ),
  },
  {
    ...oauth,
    path: '/oauth/token',
    summary:
      'A key for a confirmed device code, a refresh credential, or a token of a registered agent (RFC 6749, 8628, 8693)',
    body: formOf(
      {
        grant_type: 'Which of the three',
        client_id: 'portcullis-cli',
        device_code: 'Of the device authorization',
        refresh_token: 'Of the answer before',
        subject_token: 'The token of the issuer',
        subject_token_type: 'Its type, as RFC 8693 names it',
        scope: 'Fewer than there were',
      },
      'grant_type',
    ),
  },
  {
    ...oauth,
    path: '/oauth/revoke',
    summary: 'Ends the login whose refresh credential is presented (RFC 7009)',
    body: formOf({ token: 'The refresh credential' }, 'token'),
  },
];
