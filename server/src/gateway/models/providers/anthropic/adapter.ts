import type { Adapter } from '../adapter.ts';

export const anthropicAdapter: Adapter = {
  kind: 'anthropic',
  dialects: ['anthropic'],
  type: 'api',
  baseUrl: 'https://api.anthropic.com',
  paths: { generate: '/v1/messages', count_tokens: '/v1/messages/count_tokens' },
  headers: (apiKey, attemptId) => ({
    // The version is required; a client's own (an open-list header) takes precedence.
    'anthropic-version': '2023-06-01',
    ...(apiKey === null ? {} : { 'x-api-key': apiKey }),
    'x-request-id': attemptId,
  }),
};
