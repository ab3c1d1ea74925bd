import { z } from 'zod';
import { askServer } from './local-models.ts';

/** What a server says of one of its models, in the words of the configuration (`capabilities` of a target). */
export interface ProbedCapabilities {
  readonly context?: number;
  readonly images?: boolean;
  readonly tools?: boolean;
  readonly reasoning?: 'effort' | 'none';
}

export interface ProbedModel {
  readonly capabilities: ProbedCapabilities;
  /** The context is what the model can take at most; how much of it the server gives it was not to be learned. */
  readonly contextIsMost: boolean;
}

/** Servers that tell more than the list of OpenAI's wire format does. */
export type ServerKind = 'ollama' | 'lm-studio' | null;

interface ProbedServer {
  readonly kind: ServerKind;
  /** Up to and with /v1. */
  readonly baseUrl: string;
  readonly apiKey: string | undefined;
}

/** Asks a server about its models. Nothing is known of those that it says nothing of, or all if it fails. */
export async function probeModels(
  server: ProbedServer,
  models: readonly string[],
): Promise<ReadonlyMap<string, ProbedModel>> {
  const probed = new Map<string, ProbedModel>();
  try {
    const readings = server.kind === 'ollama' ? askOllama(server, models) : askList(server);
    for await (const [name, model] of readings)
      if (models.includes(name) && Object.keys(model.capabilities).length > 0) probed.set(name, model);
  } catch {
    // What was not told stays to be declared by hand.
  }
  return probed;
}

type Reading = readonly [name: string, model: ProbedModel];

// What the configuration takes; anything else is not worth writing.
const tokens = z.number().int().min(1).max(10_000_000).optional().catch(undefined);

/** The members by which servers tell a window: vLLM, LM Studio, llama.cpp, and others that go with one of these names. */
const listSchema = z.object({
  data: z.array(
    z.object({
      id: z.string(),
      max_model_len: tokens,
      loaded_context_length: tokens,
      context_length: tokens,
      context_window: tokens,
      max_context_length: tokens,
      meta: z.object({ n_ctx: tokens, n_ctx_train: tokens }).optional().catch(undefined),
      type: z.string().optional().catch(undefined),
      capabilities: z.array(z.string()).optional().catch(undefined),
    }),
  ),
});

async function* askList({ kind, baseUrl, apiKey }: ProbedServer): AsyncGenerator<Reading> {
  // LM Studio's own list is the longer one.
  const url = kind === 'lm-studio' ? new URL('/api/v0/models', baseUrl).href : `${baseUrl}/models`;
  for (const { id, type, capabilities, ...list } of listSchema.parse(await askServer(url, { apiKey })).data) {
    const given =
      list.max_model_len ??
      list.loaded_context_length ??
      list.meta?.n_ctx ??
      list.context_length ??
      list.context_window;
    yield [
      id,
      described(given, list.max_context_length ?? list.meta?.n_ctx_train, {
        ...((type === 'llm' || type === 'vlm') && { images: type === 'vlm' }),
        ...(capabilities !== undefined && { tools: capabilities.includes('tool_use') }),
      }),
    ];
  }
}

const ollamaRunning = z.object({ models: z.array(z.object({ name: z.string(), context_length: tokens })) });

const ollamaModel = z.object({
  capabilities: z.array(z.string()).optional().catch(undefined),
  parameters: z.string().optional().catch(undefined),
  model_info: z.record(z.string(), z.unknown()).optional().catch(undefined),
});

/** Ollama cuts a prompt that is longer than what it loaded the model with, and says nothing of it. */
async function* askOllama({ baseUrl, apiKey }: ProbedServer, models: readonly string[]): AsyncGenerator<Reading> {
  const ask = (path: string, body?: object) =>
    askServer(new URL(path, baseUrl).href, { apiKey, ...(body !== undefined && { body }) });
  const running = ollamaRunning.safeParse(await ask('/api/ps').catch(() => null)).data?.models ?? [];
  for (const model of models) {
    const { capabilities, parameters, model_info = {} } = ollamaModel.parse(await ask('/api/show', { model }));
    const set = tokens.parse(Number(/^num_ctx\s+(\d+)\s*$/m.exec(parameters ?? '')?.[1]));
    const loaded = running.find(({ name }) => name === model)?.context_length;
    const [, most] = Object.entries(model_info).find(([name]) => name.endsWith('.context_length')) ?? [];
    yield [
      model,
      described(set ?? loaded, tokens.parse(most), {
        ...(capabilities !== undefined && {
          images: capabilities.includes('vision'),
          tools: capabilities.includes('tools'),
          reasoning: capabilities.includes('thinking') ? 'effort' : 'none',
        }),
      }),
    ];
  }
}

function described(given: number | undefined, most: number | undefined, rest: ProbedCapabilities): ProbedModel {
  const context = given ?? most;
  return {
    capabilities: { ...(context !== undefined && { context }), ...rest },
    contextIsMost: given === undefined && most !== undefined,
  };
}
