import { translateError } from '../../../../llm/provider-error.ts';
import type { Adapter } from '../adapter.ts';
import { openaiAdapter } from '../openai/adapter.ts';

/**
 * Google's Gemini by its OpenAI-compatible surface (ai.google.dev/gemini-api/docs/openai), which can say what
 * callers of any dialect say, but for documents; its signatures of thoughts stand at the tool calls (`llm/chat/call-extras.ts`).
 */
export const geminiAdapter: Adapter = {
  ...openaiAdapter,
  kind: 'gemini',
  dialects: ['chat'],
  baseUrl: 'https://generativelanguage.googleapis.com/v1beta/openai',
  paths: { chat: { generate: '/chat/completions', embed: '/embeddings' } },
  headers: (apiKey, attemptId) => ({
    ...(apiKey === null ? {} : { authorization: `Bearer ${apiKey}` }),
    'x-request-id': attemptId,
  }),
  // Refusals are in Google's own shape (AIP-193), in a list at that, and one for the key is no 401.
  refusal: (status, body) =>
    translateError({
      from: 'chat',
      to: 'chat',
      status: body.includes('"API_KEY_INVALID"') ? 401 : status,
      body,
    }),
};
