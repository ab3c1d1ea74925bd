import type { Adapter } from '../adapter.ts';

export const openaiAdapter: Adapter = {
  kind: 'openai',
  dialects: ['chat'],
  type: 'api',
  baseUrl: 'https://api.openai.com/v1',
  paths: { generate: '/chat/completions' },
  defaultHeaders: {},
  headers: (apiKey, attemptId) => ({
    ...(apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }),
    'x-request-id': attemptId,
    'x-client-request-id': attemptId,
  }),
};
