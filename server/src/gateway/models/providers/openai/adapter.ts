import type { Adapter } from '../adapter.ts';

export const openaiAdapter: Adapter = {
  kind: 'openai',
  dialects: ['responses', 'chat'],
  type: 'api',
  baseUrl: 'https://api.openai.com/v1',
  paths: { responses: { generate: '/responses' }, chat: { generate: '/chat/completions', embed: '/embeddings' } },
  defaultHeaders: {},
  headers: (apiKey, attemptId) => ({
    ...(apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }),
    'x-request-id': attemptId,
    'x-client-request-id': attemptId,
  }),
};
