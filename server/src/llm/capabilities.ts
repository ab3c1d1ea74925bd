/**
 * What one model at one provider can take and give. Declared in the configuration, or what its kind of provider usually
 * can. Translation asks this record, never the model's name.
 */
export interface Capabilities {
  /** Prompt and answer together; null when nobody said. */
  readonly contextTokens: number | null;
  /** The most output tokens that the model can give; null when nobody said. */
  readonly maxOutputTokens: number | null;
  readonly images: boolean;
  readonly documents: boolean;
  readonly tools: boolean;
  readonly parallelTools: boolean;
  /** Which JSON Schema its tools may use: all of it, or the plain part that every server knows (`tool-schema.ts`). */
  readonly toolSchemas: 'full' | 'basic';
  /** Answers held to a JSON Schema. */
  readonly structuredOutput: boolean;
  /** How it is told how much to think: in words, in tokens, or not at all. */
  readonly reasoning: 'effort' | 'budget' | 'none';
  /** Whether it takes temperature and top_p. */
  readonly sampling: boolean;
  /**
   * `explicit`: it caches what the request marks. `automatic`: it caches by itself, or (Anthropic) on a word for the
   * whole request, so that marks are not needed.
   */
  readonly promptCaching: 'explicit' | 'automatic' | 'none';
}

/** A model that can do everything and has no known limits: refuses nothing here, so that the provider decides. */
export const fullCapabilities: Capabilities = {
  contextTokens: null,
  maxOutputTokens: null,
  images: true,
  documents: true,
  tools: true,
  parallelTools: true,
  toolSchemas: 'full',
  structuredOutput: true,
  reasoning: 'effort',
  sampling: true,
  promptCaching: 'automatic',
};
