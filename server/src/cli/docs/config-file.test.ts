import fc from 'fast-check';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import type { Findings } from '../../config/environment.ts';
import { parseConfigFile } from '../../config/file.ts';
import { configFilePage, exampleFile } from './config-file-page.ts';
import { type JsonSchema, editorSchema } from './config-file-schema.ts';

const environment = {
  ANTHROPIC_API_KEY: 'a',
  OPENAI_API_KEY: 'b',
  AZURE_OPENAI_API_KEY: 'c',
  SIGN_IN_CLIENT_SECRET: 'd',
  SET: 'https://x.example',
};

/** What a gate says of a file's text. */
function problemsOf(text: string): string[] {
  const findings: Findings = { problems: [], notes: [] };
  parseConfigFile(text, environment, findings);
  return findings.problems;
}

// Ajv, as Fastify has it, judges by the schema alone; nothing is coerced or taken away first.
let ajv: FastifyInstance;
beforeAll(async () => {
  const customOptions = { removeAdditional: false, coerceTypes: false, useDefaults: false } as const;
  ajv = Fastify({ ajv: { customOptions } });
  ajv.post('/', { schema: { body: editorSchema() } }, () => 'ok');
  await ajv.ready();
});
afterAll(() => ajv.close());

async function editorTakes(content: object): Promise<boolean> {
  return (await ajv.inject({ method: 'POST', url: '/', payload: content })).statusCode === 200;
}

/** Each object of the schema, with the names of its fields. */
function fieldsOf(schema: JsonSchema): string[] {
  const own = Object.entries(schema.properties ?? {}).flatMap(([name, { deprecated }]) => (deprecated ? [] : [name]));
  return [...own, ...[...(schema.anyOf ?? []), ...Object.values(schema.definitions ?? {})].flatMap(fieldsOf)];
}

describe('the example', () => {
  it('holds for a gate, and for an editor', async () => {
    expect(problemsOf(exampleFile())).toEqual([]);
    expect(await editorTakes(parse(exampleFile()) as object)).toBe(true);
    expect(configFilePage()).toContain(exampleFile());
  });

  it('has every field that there is', () => {
    const written = new Set<string>();
    const collect = (value: unknown) => {
      if (typeof value !== 'object' || value === null) return;
      for (const [key, inner] of Object.entries(value)) collect((written.add(key), inner));
    };
    collect(parse(exampleFile()));
    const fields = fieldsOf(editorSchema());
    expect(fields.length).toBeGreaterThan(45);
    expect(fields.filter((field) => !written.has(field))).toEqual([]);
  });
});

it('every field and section has words of its own', () => {
  const silent = (schema: JsonSchema, at: string): string[] => [
    ...Object.entries(schema.properties ?? {}).flatMap(([name, { description }]) =>
      description?.endsWith('.') ? [] : [`${at}.${name}`],
    ),
    ...(schema.anyOf ?? []).flatMap((each) => silent(each, at)),
    ...Object.entries(schema.definitions ?? {}).flatMap(([name, each]) => silent(each, name)),
  ];
  expect(silent(editorSchema(), '')).toEqual([]);
});

// Mostly what a gate takes, and now and then what it does not.
const some = (model: Record<string, fc.Arbitrary<unknown>>, requiredKeys: string[] = []) =>
  fc.record(model, { requiredKeys });
const tokens = fc.oneof({ weight: 9, arbitrary: fc.integer({ min: 1, max: 1e7 }) }, fc.integer());
const ms = fc.integer({ min: 100, max: 86_400_000 });
const url = fc.constantFrom(
  'https://x.example/v1',
  'http://127.0.0.1:1',
  '${SET}',
  '${SET}/v1',
  'urn:x:y',
  'x.example',
);
const amount = fc.oneof(fc.constantFrom(0, 0.25, '1.5', '${SET}'), fc.double({ min: -1, noNaN: true }));
const tokenPrices = { input: amount, output: amount, reasoning: amount, cache_read: amount, cache_write_5m: amount };
const price = fc.oneof(
  fc.constant('free'),
  some(tokenPrices, ['input', 'output']),
  fc.array(
    some({ from: fc.constantFrom('2026-12-01', '2026-12-01T08:00:00+01:00', 'soon'), ...tokenPrices }, [
      'from',
      'input',
      'output',
    ]),
    { minLength: 1, maxLength: 1 },
  ),
);
const unknownPrice = fc.constantFrom('deny', 'allow', { assume: { input: 1, output: 2 } }, { assume: 'much' });
const provider = some(
  {
    kind: fc.constantFrom('sim', 'openai-compatible', 'azure', 'openai', 'magic'),
    api_key: fc.constantFrom('${SET}', 'k', ''),
    base_url: url,
    allow_private: fc.boolean(),
    type: fc.constantFrom('api', 'subscription', 'opensource'),
    credential: fc.constantFrom('gate', 'gate', 'caller'),
    dialects: fc.uniqueArray(fc.constantFrom('chat', 'responses')),
    price,
    unknown_price: unknownPrice,
    account_terms: some({ service_tier: fc.constantFrom('priority', 'Much'), inference_geo: fc.constant('us') }),
  },
  ['kind'],
);
const target = some(
  {
    provider: fc.constantFrom('lab', 'lab', 'other', 'no name'),
    model: fc.string({ minLength: 1 }),
    weight: fc.integer({ min: 0, max: 1000 }),
    max_output_tokens: tokens,
    capabilities: some({ context: tokens, images: fc.boolean(), reasoning: fc.constantFrom('effort', 'none', 'much') }),
    price,
    timeouts: some({ connect_ms: ms, first_byte_ms: ms, idle_ms: ms, total_ms: ms }),
  },
  ['provider'],
);
const route = some(
  {
    targets: fc.array(target, { maxLength: 3 }),
    lossy: fc.constantFrom('refuse', 'allow'),
    trim: fc.constantFrom('refuse', 'oldest_turns'),
    on_failure: fc.constantFrom('next', 'refuse'),
    attempts_max: fc.integer({ min: 1, max: 11 }),
    cache_ttl_s: fc.integer({ min: 1, max: 90_000 }),
  },
  ['targets'],
);
const issuer = some(
  { issuer: url, audience: fc.array(fc.string({ minLength: 1 })), jwks_uri: url, project: fc.string() },
  ['issuer', 'audience', 'jwks_uri'],
);
const lab = { kind: 'openai-compatible', base_url: 'http://10.0.0.7:8000/v1' };
const file = some({
  providers: fc.dictionary(fc.constantFrom('other', 'a b'), provider, { maxKeys: 1 }).map((more) => ({ lab, ...more })),
  models: fc.dictionary(fc.constantFrom('m', 'm-*', 'a*b*'), route, { maxKeys: 2 }),
  issuers: fc.array(issuer, { maxLength: 1 }),
});

describe('the schema for editors', () => {
  it('takes whatever a gate takes', async () => {
    let taken = 0;
    await fc.assert(
      fc.asyncProperty(file, async (content) => {
        if (problemsOf(stringify(content)).length > 0) return;
        taken++;
        expect(await editorTakes(content)).toBe(true);
      }),
      { numRuns: 1500 },
    );
    expect(taken).toBeGreaterThan(100);
  });

  it.each([
    ['at the top', 'provider: {}'],
    ['of a provider', 'providers: { a: { kind: sim, apikey: x } }'],
    ['of a price', 'providers: { a: { kind: sim, price: { input: 1, output: 1, images: 1 } } }'],
    ['of a model', 'models: { m: { targets: [{ provider: sim }], retries: 2 } }'],
    ['of a target', 'models: { m: { targets: [{ provider: sim, fallback: true }] } }'],
    ['of capabilities', 'models: { m: { targets: [{ provider: sim, capabilities: { vision: true } }] } }'],
    ['of timeouts', 'models: { m: { targets: [{ provider: sim, timeouts: { read_ms: 500 } }] } }'],
    ['of an issuer', 'issuers: [{ issuer: "https://x/", audience: [a], jwks_uri: "https://x/k", secret: s }]'],
  ])('refuses an unknown key %s, as a gate does', async (_where, text) => {
    expect(problemsOf(text)).not.toEqual([]);
    expect(await editorTakes(parse(text) as object)).toBe(false);
  });

  it.each([
    ['a kind that does not exist', 'providers: { a: { kind: magic } }'],
    ['a missing kind', 'providers: { a: {} }'],
    ['an address without a scheme', 'providers: { a: { kind: sim, base_url: models.example.com } }'],
    ['a model without targets', 'models: { m: { targets: [] } }'],
    ['a model name with two stars', 'models: { "a*b*": { targets: [{ provider: sim }] } }'],
    ['a number out of its bounds', 'models: { m: { targets: [{ provider: sim }], attempts_max: 11 } }'],
    ['a negative price', 'providers: { a: { kind: sim, price: { input: -1, output: 1 } } }'],
  ])('refuses %s', async (_what, text) => {
    expect(problemsOf(text)).not.toEqual([]);
    expect(await editorTakes(parse(text) as object)).toBe(false);
  });
});
