import { z } from 'zod';
import { issuer } from './issuer-schema.ts';
import { prices } from './price-schema.ts';
import { provider, providerName } from './provider-schema.ts';
import { route } from './route-schema.ts';
import { signIn } from './sign-in-schema.ts';

const modelName = z
  .string()
  .regex(/^[^\s*]*\*?[^\s*]*$/, 'a model name has no spaces and at most one *')
  .min(1)
  .max(200);

/**
 * The configuration file: what is written once per installation. Unknown keys are errors.
 *
 * `docs/reference/portcullis-yaml.md` and `portcullis.schema.json` are generated from here: an object with an `id` is a
 * section there, and every field says what it is, in what unit, what holds without it, and when to use it.
 */
export const fileSchema = z
  .strictObject({
    providers: z
      .record(providerName, provider)
      .default({})
      .describe(
        'Where models are, each under a name of your choice: letters, digits, dots, dashes and underscores, 64 at most.',
      ),
    models: z
      .record(modelName, route)
      .default({})
      .describe(
        'What callers may ask for, by the name that they use. One `*` in a name stands for any characters; an exact name goes before a pattern, and a longer pattern before a shorter one. `sim` and `sim-*` lead to the simulated model unless they are written here.',
      ),
    prices: prices
      .optional()
      .describe('Prices of your own for many models. Without it: only those that are declared here, and public ones.'),
    issuers: z
      .array(issuer)
      .default([])
      .describe(
        'Whose access tokens are taken besides API keys, in addition to the one of `AUTH_ISSUER`. A change needs a restart.',
      ),
    sign_in: signIn
      .optional()
      .describe('Where people sign in besides with keys. Without it: with keys alone. A change needs a restart.'),
  })
  .superRefine((file, context) => {
    for (const [model, { targets }] of Object.entries(file.models)) {
      const refuse = (message: string, ...at: (string | number)[]) =>
        context.addIssue({ code: 'custom', path: ['models', model, 'targets', ...at], message });
      const providers = targets.map(({ provider }) => file.providers[provider]);
      for (const [index, { provider: wanted }] of targets.entries())
        if (wanted !== 'sim' && !providers[index])
          refuse(`"${wanted}" is not a provider of this file`, index, 'provider');
      const simulated = targets.filter(({ provider }, index) => (providers[index]?.kind ?? provider) === 'sim');
      if (simulated.length > 0 && simulated.length < targets.length)
        refuse('the simulated model never stands in for a real one: give it a route of its own');
      const callers = targets.filter((_, index) => providers[index]?.credential === 'caller');
      if (new Set(callers.map(({ provider }) => provider)).size > 1)
        refuse("a caller's credential is given to one provider: only one in a route may have `credential: caller`");
    }
  })
  .meta({
    title: 'portcullis.yaml',
    description: 'The configuration file of a Portcullis gate: providers, models and token issuers.',
  });
