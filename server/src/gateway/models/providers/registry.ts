import type { ProviderKind } from '../provider.ts';
import type { Adapter } from './adapter.ts';
import { anthropicAdapter } from './anthropic/adapter.ts';
import { azureAdapter } from './azure/adapter.ts';
import { geminiAdapter } from './gemini/adapter.ts';
import { openaiAdapter } from './openai/adapter.ts';
import { openaiCompatibleAdapter } from './openai-compatible/adapter.ts';

/** The HTTP providers by kind; `sim` runs in the process. */
export const adapters: Readonly<Record<Exclude<ProviderKind, 'sim'>, Adapter>> = {
  anthropic: anthropicAdapter,
  openai: openaiAdapter,
  'openai-compatible': openaiCompatibleAdapter,
  gemini: geminiAdapter,
  azure: azureAdapter,
};
