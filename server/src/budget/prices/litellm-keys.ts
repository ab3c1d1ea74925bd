import type { TokenPrices } from './price.ts';

/** What a price key of an entry prices: a class, above how many tokens of prompt, on which terms. */
export interface ClassKey {
  readonly name: keyof TokenPrices;
  readonly aboveInputTokens: number;
  /** Null: the list price. */
  readonly service: string | null;
}

const classNames: Readonly<Record<string, keyof TokenPrices | undefined>> = {
  input_cost_per_token: 'input',
  output_cost_per_token: 'output',
  output_cost_per_reasoning_token: 'reasoning',
  cache_read_input_token_cost: 'cacheRead',
  cache_creation_input_token_cost: 'cacheWrite5m',
  cache_creation_input_token_cost_above_1hr: 'cacheWrite1h',
  cache_creation_input_token_cost_above_12hr: 'cacheWrite1h',
};

/** Service tiers, as answers name them. Any other ending makes another price of a key, and nobody knows what of. */
const serviceTiers = 'priority|flex|ultrafast|balanced';

const classKey = new RegExp(
  `^(${Object.keys(classNames).join('|')})(?:_above_(\\d{1,6})k_tokens)?(?:_(${serviceTiers}))?$`,
);

/** What multiplies the price at OpenAI's endpoint of a region. */
export const regionalKey = /^regional_processing_uplift_multiplier_[a-z]{2}$/;

/** Reads a key such as `input_cost_per_token_above_272k_tokens_priority`; null for one that prices no class of tokens. */
export function parseClassKey(key: string): ClassKey | null {
  const [, base = '', thousands = '0', service = null] = classKey.exec(key) ?? [];
  const name = classNames[base];
  return name === undefined ? null : { name, aboveInputTokens: Number(thousands) * 1_000, service };
}

/**
 * Keys of prices that stand beside those of tokens, and do not make a call dearer than its tokens say: for what no call may
 * have where money is counted (sound, films, most server tools), for batches and other APIs, and the same price in another unit.
 */
const besideKeys = new RegExp(
  [
    '_(?:batches|decisions)$',
    '^(?:input_cost_per|cache_(?:read|creation)_input)_(?:audio|video)_',
    '^(?:google_maps_grounding_cost_per_query|file_search_cost_|code_interpreter_cost_|computer_use_|vector_store_cost_)',
    '^(?:input|output)_dbu_cost_per_token$',
    '^input_cost_per_token_cache_hit$',
    '^annotation_cost_per_page$',
  ].join('|'),
);

/** Whether a key speaks of money at all. */
export function isPriceKey(key: string): boolean {
  return /cost|pricing|multiplier/.test(key);
}

/** Whether a price may be left out of the count. */
export function isBeside(key: string): boolean {
  return besideKeys.test(key);
}
