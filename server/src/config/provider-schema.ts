import { z } from 'zod';
import { price, unknownPrice } from './price-schema.ts';

/** A name under `providers`. */
export const providerName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'names have letters, digits, dots, dashes and underscores, 64 at most');

/** An entry of `providers`. */
export const provider = z
  .strictObject({
    kind: z
      .enum(['anthropic', 'openai', 'openai-compatible', 'gemini', 'azure', 'sim'])
      .describe(
        "What it is: a vendor's own API (`anthropic`, `openai`, `gemini`), OpenAI's models at Azure (`azure`), any server with OpenAI's wire format such as vLLM, Ollama or OpenRouter (`openai-compatible`), or the built-in simulated model (`sim`).",
      ),
    api_key: z
      .string()
      .min(1)
      .optional()
      .describe(
        "The gate's own key at the provider: write a reference, never the key. Needed for `anthropic`, `openai`, `gemini` and `azure`, unless `credential` is `caller`.",
      ),
    base_url: z
      .url({ protocol: /^https?$/, error: 'write an http or https URL' })
      .optional()
      .describe(
        "Where it is. Needed for `openai-compatible` (up to and with `/v1`) and `azure` (`https://NAME.openai.azure.com`); for the others it replaces the vendor's address. Production refuses http, except to this machine or with `allow_private`.",
      ),
    allow_private: z
      .boolean()
      .default(false)
      .describe(
        'Lets it be at a private or loopback address. Else those are refused when connecting, so that no name on the internet leads into your network. For servers of your own.',
      ),
    type: z
      .enum(['api', 'subscription', 'opensource'])
      .optional()
      .describe(
        'How it is paid: by the call, by subscription, or on your own machines. Budgets can select by it (`--provider-type`). Without it: `api`, but `opensource` for `openai-compatible` and `sim`.',
      ),
    credential: z
      .enum(['gate', 'caller'])
      .default('gate')
      .describe(
        "`gate` calls it with `api_key`. `caller` calls it with the caller's own `Authorization` or `x-api-key`, where the gate's key comes as `x-portcullis-key`: for people with a subscription or account of their own. Their calls must be in the provider's dialect, count tokens and no money, and are never cached; a route may lead to one such provider.",
      ),
    dialects: z
      .array(z.enum(['chat', 'responses']))
      .min(1)
      .refine((all) => new Set(all).size === all.length, 'names a dialect twice')
      .optional()
      .describe(
        'Which of the OpenAI APIs it has; calls in another dialect are translated to the first. For `openai-compatible` (without it: `chat`) and `azure` (without it: `responses`, `chat`) alone.',
      ),
    price: price
      .optional()
      .describe(
        'What all its models cost, unless a target says otherwise. Without it: the file of `prices`, then public prices for `anthropic`, `openai` and `gemini`; free for `sim`. See `unknown_price` for what neither knows.',
      ),
    unknown_price: unknownPrice
      .optional()
      .describe('What becomes of its models whose price nobody knows. Without it: `deny`.'),
    account_terms: z
      .strictObject({
        service_tier: z
          .string()
          .regex(/^[a-z_]{1,40}$/, 'write it as the vendor does, like priority')
          .optional()
          .describe("OpenAI's project setting of the service tier, like `priority`. Without it: the usual one."),
        inference_geo: z
          .string()
          .regex(/^[a-z_]{1,40}$/, 'write it as the vendor does, like us')
          .optional()
          .describe("The default of Anthropic's workspace, like `us`. Without it: `global`."),
        region: z
          .string()
          .regex(/^[a-z]{2}$/, 'write it as the vendor does, like eu')
          .optional()
          .describe(
            "OpenAI's region, like `eu`, where `base_url` is a proxy of yours in front of it. Without it: what `base_url` says.",
          ),
      })
      .meta({
        id: 'account-terms',
        title: 'Account terms',
        description:
          "What the vendor's account is set to for calls that do not say. Money is held by it; what is settled is what the answer says.",
      })
      .optional()
      .describe(
        "What the vendor's account is set to for calls that do not say. Without it: the usual service tier, and any place.",
      ),
  })
  .superRefine((value, context) => {
    if ((value.kind === 'openai-compatible' || value.kind === 'azure') && value.base_url === undefined) {
      context.addIssue({ code: 'custom', path: ['base_url'], message: `is needed for kind ${value.kind}` });
    }
    if (value.kind === 'azure' && /\/openai(\/v1)?\/?$/.test(value.base_url ?? '')) {
      const message = 'for kind azure it ends before /openai: https://NAME.openai.azure.com';
      context.addIssue({ code: 'custom', path: ['base_url'], message });
    }
    const needsKey = value.credential === 'gate' && !['openai-compatible', 'sim'].includes(value.kind);
    if (needsKey && value.api_key === undefined) {
      context.addIssue({ code: 'custom', path: ['api_key'], message: `is needed for kind ${value.kind}` });
    }
    if (value.credential === 'caller' && value.api_key !== undefined) {
      const message = "is not used where credential is caller: it is called with the caller's own";
      context.addIssue({ code: 'custom', path: ['api_key'], message });
    }
    if (value.credential === 'caller' && value.kind === 'sim') {
      context.addIssue({ code: 'custom', path: ['credential'], message: 'is not for kind sim, which needs none' });
    }
    if (value.dialects !== undefined && value.kind !== 'openai-compatible' && value.kind !== 'azure') {
      const message = 'is for kinds openai-compatible and azure alone';
      context.addIssue({ code: 'custom', path: ['dialects'], message });
    }
  })
  .meta({ id: 'provider', title: 'Provider', description: 'A place where models are, and how it is reached.' });
