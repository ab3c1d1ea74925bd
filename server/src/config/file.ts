import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { attemptsMax, cacheTtlMaxS } from '../base/limits.ts';
import { parseUsd } from '../base/money.ts';
import type { Findings } from './environment.ts';

const name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'names have letters, digits, dots, dashes and underscores, 64 at most');
const modelName = z
  .string()
  .regex(/^[^\s*]*\*?[^\s*]*$/, 'a model name has no spaces and at most one *')
  .min(1)
  .max(200);
const milliseconds = z.number().int().min(100).max(86_400_000);

// YAML numbers are floats; their shortest decimal text is what the person wrote, and that is read exactly.
const usdPerMillion = z.union([z.number().nonnegative(), z.string()]).transform((value, context) => {
  try {
    return parseUsd(String(value));
  } catch {
    context.addIssue({ code: 'custom', message: 'write USD per million tokens, like 0.25' });
    return z.NEVER;
  }
});

const price = z.union(
  [
    z.literal('free'),
    z.strictObject({
      input: usdPerMillion,
      output: usdPerMillion,
      cache_read: usdPerMillion.optional(),
      cache_write_5m: usdPerMillion.optional(),
      cache_write_1h: usdPerMillion.optional(),
    }),
  ],
  { error: 'write `free`, or { input, output, cache_read, cache_write_5m, cache_write_1h } in USD per million tokens' },
);

const timeouts = z.strictObject({
  connect_ms: milliseconds.optional(),
  first_byte_ms: milliseconds.optional(),
  idle_ms: milliseconds.optional(),
  total_ms: milliseconds.optional(),
});

const tokens = z.number().int().min(1).max(10_000_000);

/** What the model behind a target can; what is left out is what its kind of provider usually can. */
const capabilities = z.strictObject({
  context: tokens.optional(),
  max_output: tokens.optional(),
  images: z.boolean().optional(),
  documents: z.boolean().optional(),
  tools: z.boolean().optional(),
  parallel_tools: z.boolean().optional(),
  tool_schemas: z.enum(['full', 'basic']).optional(),
  structured_output: z.boolean().optional(),
  reasoning: z.enum(['effort', 'budget', 'none']).optional(),
  sampling: z.boolean().optional(),
  prompt_caching: z.enum(['explicit', 'automatic', 'none']).optional(),
});

const provider = z
  .strictObject({
    kind: z.enum(['anthropic', 'openai', 'openai-compatible', 'gemini', 'azure', 'sim']),
    api_key: z.string().min(1).optional(),
    base_url: z.url({ protocol: /^https?$/, error: 'write an http or https URL' }).optional(),
    allow_private: z.boolean().default(false),
    type: z.enum(['api', 'subscription', 'opensource']).optional(),
    credential: z.enum(['gate', 'caller']).default('gate'),
    dialects: z
      .tuple([z.enum(['chat', 'responses'])], z.enum(['chat', 'responses']))
      .refine((all) => new Set(all).size === all.length, 'names a dialect twice')
      .optional(),
    price: price.optional(),
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
  });

const target = z
  .strictObject({
    provider: name,
    model: z.string().min(1).max(200).optional(),
    /** Of 0 it is called only when others failed. */
    weight: z.number().int().min(0).max(1000).default(1),
    /** An older name of `capabilities.max_output`. */
    max_output_tokens: tokens.optional(),
    capabilities: capabilities.optional(),
    price: price.optional(),
    timeouts: timeouts.optional(),
  })
  .refine(({ max_output_tokens, capabilities }) => max_output_tokens === undefined || !capabilities?.max_output, {
    path: ['max_output_tokens'],
    message: 'is the same as capabilities.max_output: write one of them',
  });

const route = z.strictObject({
  targets: z
    .array(target)
    .min(1)
    .max(16)
    .refine((targets) => targets.some(({ weight }) => weight > 0), 'need one whose weight is not 0'),
  lossy: z.enum(['refuse', 'allow']).default('refuse'),
  /** Of a conversation that is too long for its target. */
  trim: z.enum(['refuse', 'oldest_turns']).default('refuse'),
  on_failure: z.enum(['next', 'refuse']).default('next'),
  attempts_max: z.number().int().min(1).max(attemptsMax).default(3),
  cache_ttl_s: z.number().int().min(1).max(cacheTtlMaxS).optional(),
});

const issuer = z.strictObject({
  issuer: z.url(),
  audience: z.array(z.string().min(1)).min(1),
  jwks_uri: z.url({ protocol: /^https?$/ }),
  algorithms: z
    .array(z.enum(['RS256', 'PS256', 'ES256', 'EdDSA']))
    .min(1)
    .optional(),
  require_at_jwt: z.boolean().default(false),
  client_id: z.string().min(1).optional(),
  project: z.string().default('default'),
  grant_admin: z.boolean().default(false),
  max_lifetime_s: z.number().int().min(60).max(604_800).default(86_400),
});

/** The configuration file: what is written once per installation. Unknown keys are errors. */
export const fileSchema = z
  .strictObject({
    providers: z.record(name, provider).default({}),
    models: z.record(modelName, route).default({}),
    issuers: z.array(issuer).default([]),
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
  });

export type ConfigFile = z.infer<typeof fileSchema>;

/**
 * Reads and checks the file's text. `${NAME}` and `${file:PATH}` are replaced in strings; a name that is not set is a
 * problem, since a secret has no default.
 * @returns null when there is a problem
 */
export function parseConfigFile(
  text: string,
  environment: Readonly<Record<string, string | undefined>>,
  findings: Findings,
): ConfigFile | null {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, version: '1.2' });
  if (document.errors.length > 0) {
    for (const error of document.errors)
      findings.problems.push(`portcullis.yaml: ${error.message.split('\n')[0] ?? 'is not YAML'}.`);
    return null;
  }
  const before = findings.problems.length;
  let raw: unknown;
  try {
    raw = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    // An alias that leads nowhere, or too many of them.
    findings.problems.push(`portcullis.yaml: ${error instanceof Error ? error.message : String(error)}.`);
    return null;
  }
  const data = replaceReferences(raw ?? {}, environment, findings, '');
  const parsed = fileSchema.safeParse(data);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      const node = document.getIn([...issue.path], true) as { range?: [number, number, number] } | undefined;
      const line = node?.range ? ` (line ${lines.linePos(node.range[0]).line})` : '';
      const at = issue.path.length > 0 ? `${issue.path.join('.')}${line}: ` : '';
      findings.problems.push(`portcullis.yaml: ${at}${issue.message}.`);
    }
  }
  return parsed.success && findings.problems.length === before ? parsed.data : null;
}

/** The SHA-256 of the file's text, by which the audit log tells versions of it apart; null when there is no file. */
export function configFileDigest(path: string): string | null {
  try {
    return createHash('sha256').update(readFileSync(path)).digest('hex');
  } catch {
    return null;
  }
}

function replaceReferences(
  value: unknown,
  environment: Readonly<Record<string, string | undefined>>,
  findings: Findings,
  path: string,
): unknown {
  if (typeof value === 'string') {
    return value.replace(/\$\{([^}]*)\}/g, (_, reference: string) => resolve(reference, environment, findings, path));
  }
  if (Array.isArray(value))
    return value.map((item, index) => replaceReferences(item, environment, findings, `${path}[${index}]`));
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [
        key,
        replaceReferences(item, environment, findings, path ? `${path}.${key}` : key),
      ]),
    );
  }
  return value;
}

function resolve(
  reference: string,
  environment: Readonly<Record<string, string | undefined>>,
  findings: Findings,
  path: string,
): string {
  if (reference.startsWith('file:')) {
    try {
      return readFileSync(reference.slice('file:'.length), 'utf8').trim();
    } catch {
      findings.problems.push(`portcullis.yaml: ${path}: the file of \${${reference}} cannot be read.`);
      return '';
    }
  }
  const value = /^[A-Za-z_][A-Za-z0-9_]*$/.test(reference) ? environment[reference] : undefined;
  if (value === undefined || value === '')
    findings.problems.push(`portcullis.yaml: ${path}: \${${reference}} is not set in the environment.`);
  return value ?? '';
}
