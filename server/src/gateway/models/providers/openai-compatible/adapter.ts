import type { Adapter } from '../adapter.ts';
import { openaiAdapter } from '../openai/adapter.ts';

/** vLLM, llama.cpp, LM Studio, Ollama, OpenRouter …: OpenAI's wire format at an address of the operator's. */
export const openaiCompatibleAdapter: Adapter = {
  ...openaiAdapter,
  kind: 'openai-compatible',
  dialects: ['chat'],
  type: 'opensource',
  baseUrl: null,
};
