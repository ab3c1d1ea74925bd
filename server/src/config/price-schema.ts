import { z } from 'zod';
import { datedPricesMax, usdPerMillionTokensMax } from '../base/limits.ts';
import { type NanoUsd, nanoPerUsd, parseUsd } from '../base/money.ts';

// YAML numbers are floats; their shortest decimal text is what the person wrote, and that is read exactly.
const usdPerMillion = z.union([z.number().nonnegative(), z.string()]).transform((value, context) => {
  const usd = usdOrNull(String(value));
  if (usd !== null && usd <= BigInt(usdPerMillionTokensMax) * nanoPerUsd) return usd;
  const message = `write USD per million tokens, like 0.25, ${usdPerMillionTokensMax} at most`;
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
});

function usdOrNull(text: string): NanoUsd | null {
  try {
    return parseUsd(text);
  } catch {
    return null;
  }
}

const classes = {
  input: usdPerMillion.describe('Tokens of the prompt.'),
  output: usdPerMillion.describe('Tokens of the answer, reasoning included.'),
  reasoning: usdPerMillion
    .optional()
    .describe('Those of the answer that are reasoning, where they have a price of their own. Without it: as `output`.'),
  cache_read: usdPerMillion
    .optional()
    .describe('Tokens that the provider read from its prompt cache. Without it: as `input`.'),
  cache_write_5m: usdPerMillion
    .optional()
    .describe(
      'Tokens written to a prompt cache for five minutes. Without it: 1.25 times `input` for kind `anthropic`, as `input` elsewhere.',
    ),
  cache_write_1h: usdPerMillion
    .optional()
    .describe(
      "Tokens written to a prompt cache for longer (Anthropic's hour, OpenAI's twelve). Without it: twice `input` for kind `anthropic`, twice `cache_write_5m` for kind `openai` where that is written, as `cache_write_5m` elsewhere.",
    ),
};

const classesObject = z.strictObject(classes).meta({
  id: 'token-prices',
  title: 'Token prices',
  description: 'What the provider bills for each class of tokens, in USD per million tokens.',
});

const instant = z
  .string()
  .regex(
    /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2}))?$/,
    'write a day like 2026-12-01, or a time like 2026-12-01T00:00:00+01:00',
  )
  .transform((text, context) => {
    const at = Date.parse(text);
    const isDay = text.length > 10 || (!Number.isNaN(at) && new Date(at).toISOString().startsWith(text));
    if (!Number.isNaN(at) && isDay) return at;
    context.addIssue({ code: 'custom', message: 'there is no such day or time' });
    return z.NEVER;
  });

const datedPrice = z
  .strictObject({
    from: instant.describe(
      'From when on it holds, by the time of the call: a day, which begins at midnight UTC, or a time.',
    ),
    ...classes,
  })
  .meta({ id: 'dated-price', title: 'Dated price', description: 'Token prices that hold from some time on.' });

/** What a model costs; amounts become nano-USD per million tokens. */
export const price = z
  .union(
    [
      z.literal('free'),
      classesObject,
      z
        .array(datedPrice)
        .min(1)
        .max(datedPricesMax)
        .refine(
          (list) => list.every(({ from }, at) => at === 0 || from > (list[at - 1]?.from ?? from)),
          'is not in the order of time',
        ),
    ],
    {
      error:
        'write `free`, or { input, output, cache_read, cache_write_5m, cache_write_1h } in USD per million tokens, or a list of those, each with its `from`',
    },
  )
  .meta({
    id: 'price',
    title: 'Price',
    description:
      '`free`, or what the provider bills for each class of tokens, or a list of that with dates: each holds until the next begins, and before the first the price is what is known without the list.',
  });

/** What becomes of a model whose price nobody knows. */
export const unknownPrice = z
  .union([z.literal('deny'), z.strictObject({ assume: classesObject.describe('What it is taken to cost.') })], {
    error: 'write `deny`, or { assume: { input, output } } in USD per million tokens',
  })
  .meta({
    id: 'unknown-price',
    title: 'Unknown price',
    description:
      '`deny`, or `assume` with a price. `deny` refuses its calls where a budget counts money, and counts no money elsewhere. `assume` counts the price that you write, and the ledger says that it is assumed.',
  });

/** The file of prices. */
export const prices = z
  .strictObject({
    file: z
      .string()
      .min(1)
      .max(1_000)
      .describe(
        "A JSON file in LiteLLM's format (`model_prices_and_context_window.json`), from the folder of this file. It is read at the start and whenever this file is read again (SIGHUP). `portcullis prices check FILE` says which of its entries are of use.",
      ),
  })
  .meta({
    id: 'prices',
    title: 'Prices',
    description:
      'Prices of your own for many models. They go before the public prices that come with the gate, and after those of targets and providers.',
  });
