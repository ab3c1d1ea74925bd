import type { Dialect } from '../../llm/dialect.ts';

/** What a call asks of a model. */
export type Operation = 'generate' | 'count_tokens' | 'embed';

export interface Endpoint {
  readonly path: string;
  readonly dialect: Dialect;
  readonly operation: Operation;
}

/** The paths of the models door. What is not here is 404 and never forwarded. */
export const endpoints: readonly Endpoint[] = [
  { path: '/v1/messages', dialect: 'anthropic', operation: 'generate' },
  { path: '/v1/messages/count_tokens', dialect: 'anthropic', operation: 'count_tokens' },
  { path: '/v1/chat/completions', dialect: 'chat', operation: 'generate' },
  { path: '/v1/responses', dialect: 'responses', operation: 'generate' },
  { path: '/v1/responses/input_tokens', dialect: 'responses', operation: 'count_tokens' },
  { path: '/v1/embeddings', dialect: 'chat', operation: 'embed' },
];
