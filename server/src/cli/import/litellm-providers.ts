/** What a prefix of LiteLLM's model names (`groq/llama-3`) stands for here. */
export interface ImportedKind {
  readonly kind: 'anthropic' | 'openai' | 'openai-compatible' | 'gemini' | 'azure';
  /** The variable that LiteLLM reads the key from when the file names none; absent: it needs no key. */
  readonly apiKeyEnv?: string;
  /** Where it is when the file does not say; absent: the file must say. */
  readonly baseUrl?: string;
  /** What LiteLLM adds to the base URL by itself. */
  readonly basePath?: string;
}

const compatible = (baseUrl: string | undefined, apiKeyEnv?: string, basePath?: string): ImportedKind => ({
  kind: 'openai-compatible',
  ...(baseUrl === undefined ? {} : { baseUrl }),
  ...(apiKeyEnv === undefined ? {} : { apiKeyEnv }),
  ...(basePath === undefined ? {} : { basePath }),
});

const ollama = compatible('http://127.0.0.1:11434', undefined, '/v1');

/** The providers that have a kind here, by LiteLLM's prefix. */
export const importedKinds: ReadonlyMap<string, ImportedKind> = new Map(
  Object.entries<ImportedKind>({
    anthropic: { kind: 'anthropic', apiKeyEnv: 'ANTHROPIC_API_KEY' },
    openai: { kind: 'openai', apiKeyEnv: 'OPENAI_API_KEY' },
    gemini: { kind: 'gemini', apiKeyEnv: 'GEMINI_API_KEY' },
    azure: { kind: 'azure', apiKeyEnv: 'AZURE_API_KEY', baseUrl: '${AZURE_API_BASE}' },
    cerebras: compatible('https://api.cerebras.ai/v1', 'CEREBRAS_API_KEY'),
    custom_openai: compatible(undefined, 'OPENAI_API_KEY'),
    deepinfra: compatible('https://api.deepinfra.com/v1/openai', 'DEEPINFRA_API_KEY'),
    deepseek: compatible('https://api.deepseek.com/v1', 'DEEPSEEK_API_KEY'),
    fireworks_ai: compatible('https://api.fireworks.ai/inference/v1', 'FIREWORKS_AI_API_KEY'),
    groq: compatible('https://api.groq.com/openai/v1', 'GROQ_API_KEY'),
    hosted_vllm: compatible(undefined),
    litellm_proxy: compatible(undefined, 'LITELLM_PROXY_API_KEY'),
    llamafile: compatible('http://127.0.0.1:8080/v1'),
    lm_studio: compatible('http://127.0.0.1:1234/v1'),
    mistral: compatible('https://api.mistral.ai/v1', 'MISTRAL_API_KEY'),
    moonshot: compatible('https://api.moonshot.ai/v1', 'MOONSHOT_API_KEY'),
    nvidia_nim: compatible('https://integrate.api.nvidia.com/v1', 'NVIDIA_NIM_API_KEY'),
    ollama,
    ollama_chat: ollama,
    openai_like: compatible(undefined, 'OPENAI_LIKE_API_KEY'),
    openrouter: compatible('https://openrouter.ai/api/v1', 'OPENROUTER_API_KEY'),
    sambanova: compatible('https://api.sambanova.ai/v1', 'SAMBANOVA_API_KEY'),
    together_ai: compatible('https://api.together.xyz/v1', 'TOGETHERAI_API_KEY'),
    xai: compatible('https://api.x.ai/v1', 'XAI_API_KEY'),
  }),
);

/** LiteLLM's provider of a model name: its prefix, or for a bare name whose family says it. */
export function splitModel(model: string): { readonly prefix: string | null; readonly name: string } {
  const slash = model.indexOf('/');
  // A deployment at Azure has no slash in its name: what is before one (`azure/o_series/…`) is for LiteLLM.
  if (model.startsWith('azure/')) return { prefix: 'azure', name: model.slice(model.lastIndexOf('/') + 1) };
  if (slash > 0) return { prefix: model.slice(0, slash), name: model.slice(slash + 1) };
  if (model.startsWith('claude-')) return { prefix: 'anthropic', name: model };
  if (/^(?:gpt-|chatgpt-|o\d|text-embedding-)/.test(model)) return { prefix: 'openai', name: model };
  return { prefix: null, name: model };
}
