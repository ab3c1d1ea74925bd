import type { Adapter } from '../adapter.ts';

export const anthropicAdapter: Adapter = {
  kind: 'anthropic',
  dialects: ['anthropic'],
  type: 'api',
  baseUrl: 'https://api.anthropic.com',
  paths: { anthropic: { generate: '/v1/messages', count_tokens: '/v1/messages/count_tokens' } },
  defaultHeaders: { 'anthropic-version': '2023-06-01' },
  headers: (apiKey, attemptId) => ({
    ...(apiKey === null ? {} : { 'x-api-key': apiKey }),
    'x-request-id': attemptId,
  }),
};
