import { z } from 'zod';
import { attemptsMax, cacheTtlMaxS, clampedOutputTokensMax, clampedOutputTokensMin } from '../base/limits.ts';
import { price, unknownPrice } from './price-schema.ts';
import { providerName } from './provider-schema.ts';

const milliseconds = z.number().int().min(100).max(86_400_000);
const tokens = z.number().int().min(1).max(10_000_000);

const timeouts = z
  .strictObject({
    connect_ms: milliseconds
      .optional()
      .describe('Connecting to the provider, in milliseconds. Without it: `MODEL_CONNECT_MS`.'),
    first_byte_ms: milliseconds
      .optional()
      .describe(
        'From an attempt to the first event of its stream, or the first byte of another answer, in milliseconds; pings do not count. Raise it for a local model that is slow to load. Without it: `MODEL_FIRST_BYTE_MS`.',
      ),
    idle_ms: milliseconds
      .optional()
      .describe(
        'Silence in the middle of a stream, and a client that does not read, in milliseconds. Without it: `MODEL_IDLE_MS`.',
      ),
    total_ms: milliseconds
      .optional()
      .describe('A call in all, with every attempt before this one, in milliseconds. Without it: `MODEL_TOTAL_MS`.'),
  })
  .meta({
    id: 'timeouts',
    title: 'Timeouts',
    description: 'How long calls to one target may take. What is left out is as the options of the environment say.',
  });

const capabilities = z
  .strictObject({
    context: tokens
      .optional()
      .describe(
        'The context window in tokens, prompt and answer together. A translated call that does not fit is refused before it is sent, and `trim` shortens to it; budgets hold no more than it. Without it nothing is checked here. Other tokenizers count up to a fifth differently, so write a little less to be safe.',
      ),
    max_output: tokens
      .optional()
      .describe(
        'The longest answer in tokens. Translated calls ask for no more, and a call that sets no limit is held at this much.',
      ),
    images: z.boolean().optional().describe('Takes images. Without it: `true`.'),
    documents: z
      .boolean()
      .optional()
      .describe('Takes documents such as PDF. Without it: `true`, but `false` for kind `gemini`.'),
    tools: z.boolean().optional().describe('Calls tools. Without it: `true`.'),
    parallel_tools: z
      .boolean()
      .optional()
      .describe('Several tool calls in one turn. With `false` it is asked for one at a time. Without it: `true`.'),
    tool_schemas: z
      .enum(['full', 'basic'])
      .optional()
      .describe(
        "Which JSON Schema tools may have. `basic` rewrites them to the plain part that every server knows, for a server that refuses a tool's schema. Without it: `full`, but `basic` for kind `gemini`.",
      ),
    structured_output: z.boolean().optional().describe('Holds answers to a JSON Schema. Without it: `true`.'),
    reasoning: z
      .enum(['effort', 'budget', 'none'])
      .optional()
      .describe(
        'How it is told how much to think: in words (`effort`), in tokens (`budget`), or not at all (`none`). Without it: `effort`, but `budget` for kind `anthropic`; write `effort` for those of its models that take no budget.',
      ),
    sampling: z
      .boolean()
      .optional()
      .describe('Takes `temperature` and `top_p`. Write `false` for models that refuse them. Without it: `true`.'),
    prompt_caching: z
      .enum(['explicit', 'automatic', 'none'])
      .optional()
      .describe(
        'Caches prompts by the marks in a request (`explicit`), by itself (`automatic`), or not (`none`). Without it: `automatic`, but `explicit` for kind `anthropic`.',
      ),
  })
  .meta({
    id: 'capabilities',
    title: 'Capabilities',
    description:
      'What the model behind a target can. Translated calls that ask for more are refused by name (or, with `lossy: allow`, go without it); calls in its own dialect pass, and the provider decides.',
  });

const target = z
  .strictObject({
    provider: providerName.describe(
      'A name under `providers`, or `sim`. The simulated model never shares a route with a real one.',
    ),
    model: z
      .string()
      .min(1)
      .max(200)
      .optional()
      .describe(
        "The provider's name of the model (for `azure`: of the deployment). Without it: the name that the caller asked for.",
      ),
    weight: z
      .number()
      .int()
      .min(0)
      .max(1000)
      .default(1)
      .describe(
        'Its share of the calls, against the weights of the other targets. With 0 it is called only when others failed.',
      ),
    max_output_tokens: tokens
      .optional()
      .meta({ deprecated: true, description: 'An older name of `capabilities.max_output`: write one of them.' }),
    capabilities: capabilities
      .optional()
      .describe('What the model can. What is left out is what its kind of provider usually can.'),
    price: price
      .optional()
      .describe("What this model costs. Without it: the provider's `price`, else what is said there."),
    base_model: z
      .string()
      .min(1)
      .max(200)
      .optional()
      .describe(
        'As which model it is priced and measured, where its own name does not say (a deployment at Azure, a fine-tuned model): a name of the file of `prices`, or `openai/gpt-5.4` for a public price. Without it: `model`.',
      ),
    unknown_price: unknownPrice
      .optional()
      .describe("What becomes of it where nobody knows its price. Without it: the provider's `unknown_price`."),
    timeouts: timeouts.optional().describe('How long calls here may take, where that differs from the options.'),
  })
  .refine(({ max_output_tokens, capabilities }) => max_output_tokens === undefined || !capabilities?.max_output, {
    path: ['max_output_tokens'],
    message: 'is the same as capabilities.max_output: write one of them',
  })
  .meta({ id: 'target', title: 'Target', description: 'A model at a provider, as one of the places of a route.' });

/** An entry of `models`. */
export const route = z
  .strictObject({
    targets: z
      .array(target)
      .min(1)
      .max(16)
      .refine((targets) => targets.some(({ weight }) => weight > 0), 'need one whose weight is not 0')
      .describe(
        'Where calls go. A call goes to one of them by weight, and when that fails to the others as they are listed. At least one has a weight above 0.',
      ),
    lossy: z
      .enum(['refuse', 'allow'])
      .default('refuse')
      .describe(
        "What becomes of a part of a call that its target's dialect or model has nothing for. `refuse` answers 400 and names it. `allow` leaves it out and lists it in the header `portcullis-dropped`.",
      ),
    trim: z
      .enum(['refuse', 'oldest_turns'])
      .default('refuse')
      .describe(
        'What becomes of a conversation that is too long for the `context` of its target. `refuse` answers 400 as the vendor would. `oldest_turns` takes out the oldest turns and says so in `portcullis-trimmed`: for clients that do not shorten by themselves.',
      ),
    max_tokens: z
      .enum(['refuse', 'clamp'])
      .default('refuse')
      .describe(
        `What becomes of a call that fits in its budgets only with a shorter answer. \`refuse\` answers 429 and says what is left. \`clamp\` lowers its output limit to what fits, to ${clampedOutputTokensMin} tokens at least (beside those that it sets apart for thinking), and says so in \`portcullis-max-tokens\`; where nobody knows how long an answer can be, to ${clampedOutputTokensMax} at most; an answer that comes to that end says so as one does that comes to the caller's own limit.`,
      ),
    on_failure: z
      .enum(['next', 'refuse'])
      .default('next')
      .describe(
        'Whether a call that its target failed, before any of an answer came, may go to the other targets (`next`) or only to the same one again (`refuse`).',
      ),
    attempts_max: z
      .number()
      .int()
      .min(1)
      .max(attemptsMax)
      .default(3)
      .describe(
        'Upstream attempts of one call over all targets, the first included. Each has a hold and a ledger row of its own. With 1 nothing is tried again.',
      ),
    cache_ttl_s: z
      .number()
      .int()
      .min(1)
      .max(cacheTtlMaxS)
      .optional()
      .describe(
        'Keeps answers for this many seconds, and gives one again to exactly the same call within the project, without cost. Without it: only for calls that ask by `portcullis-cache: ttl=SECONDS`.',
      ),
  })
  .meta({ id: 'route', title: 'Model', description: 'A model as callers name it, and where it leads.' });
