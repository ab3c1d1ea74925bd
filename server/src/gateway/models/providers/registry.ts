import type { Adapter } from './adapter.ts';
import { anthropicAdapter } from './anthropic/adapter.ts';
import { openaiAdapter } from './openai/adapter.ts';
import { openaiCompatibleAdapter } from './openai-compatible/adapter.ts';

/** The HTTP providers by kind; `sim` runs in the process. */
export const adapters: Readonly<Record<'anthropic' | 'openai' | 'openai-compatible', Adapter>> = {
  anthropic: anthropicAdapter,
  openai: openaiAdapter,
  'openai-compatible': openaiCompatibleAdapter,
};
