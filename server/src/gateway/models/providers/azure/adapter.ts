import type { Adapter } from '../adapter.ts';
import { openaiAdapter } from '../openai/adapter.ts';

/**
 * OpenAI's models at Azure, by its API v1, which has no dated versions (Microsoft Learn, "Azure OpenAI API version
 * lifecycle"). The model's name is that of a deployment.
 */
export const azureAdapter: Adapter = {
  ...openaiAdapter,
  kind: 'azure',
  baseUrl: null,
  paths: {
    responses: { generate: '/openai/v1/responses' },
    chat: { generate: '/openai/v1/chat/completions', embed: '/openai/v1/embeddings' },
  },
  headers: (apiKey, attemptId) => ({
    ...(apiKey === null ? {} : { 'api-key': apiKey }),
    'x-request-id': attemptId,
    'x-ms-client-request-id': attemptId,
  }),
};
