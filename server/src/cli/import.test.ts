import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { runCommand } from '../../../test/support/cli.ts';
import { parseConfigFile } from '../config/file.ts';
import { perMillion } from './import/per-token.ts';

const root = mkdtempSync(join(tmpdir(), 'portcullis-import-'));
afterAll(() => rmSync(root, { recursive: true }));

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(root, 'cwd-'));
});

const target = () => join(cwd, 'portcullis.yaml');

function importing(yaml: string, ...args: string[]) {
  writeFileSync(join(cwd, 'config.yaml'), yaml);
  return runCommand(['import', 'litellm', 'config.yaml', ...args], { cwd });
}

/** The file as a gate reads it, with a value for every variable. */
function written() {
  const text = readFileSync(target(), 'utf8');
  const names = [...text.matchAll(/\$\{(\w+)\}/g)].map(([, name]) => name ?? '');
  const findings = { problems: [] as string[], notes: [] };
  const parsed = parseConfigFile(text, Object.fromEntries(names.map((name) => [name, 'https://x.example/'])), findings);
  if (parsed === null) throw new Error(findings.problems.join('\n'));
  return parsed;
}

/** Each list is ten times the one before. */
const bomb = Array.from(
  { length: 9 },
  (_, n) =>
    `a${n}: &a${n} [${Array(10)
      .fill(n === 0 ? 'x' : `*a${n - 1}`)
      .join()}]`,
).join('\n');

const house = `
model_list:
  - model_name: claude
    litellm_params:
      model: anthropic/claude-sonnet-4-5
      api_key: os.environ/CLAUDE_KEY
      timeout: 30
      rpm: 60
  - model_name: fast
    litellm_params:
      model: groq/llama-3.3-70b-versatile
      api_key: gsk-literal-secret-1
      input_cost_per_token: 5.9e-07
      output_cost_per_token: 0.00000079
      weight: 3
    model_info: { id: one, supports_vision: false, max_output_tokens: 32768, tier: gold }
  - model_name: fast
    litellm_params: { model: ollama_chat/qwen3:8b, api_base: "http://localhost:11434" }
  - model_name: gpt-5-mini
    litellm_params: { model: gpt-5-mini, api_key: os.environ/OPENAI_API_KEY, temperature: 0.2 }
  - model_name: eu
    litellm_params: { model: bedrock/gpt-4o-eu, api_key: os.environ/AWS_KEY, api_base: https://eu.example }
  - model_name: lab
    litellm_params: { model: openai/our-model, api_base: https://llm.lab.example/v1, api_key: sk-literal-secret-2 }
    model_info: { mode: chat, input_cost_per_token: 0.000001, output_cost_per_token: 0.000002 }
litellm_settings:
  drop_params: true
  num_retries: 2
  fallbacks: [{ claude: [fast] }, { fast: [nothing] }]
  max_budget: 100
  budget_duration: 30d
  success_callback: [langfuse]
router_settings:
  model_group_alias: { sonnet: claude }
  routing_strategy: latency-based-routing
  provider_budget_config: { groq: { budget_limit: 5, time_period: 1d } }
general_settings: { master_key: sk-master-secret }
environment_variables: { LANGFUSE_KEY: lf-secret }
mystery: { a: 1 }
`;

describe('portcullis import litellm', () => {
  test('changes nothing and shows the YAML unless it is told to write', async () => {
    const { code, stdout, stderr } = await importing(house);
    expect(code).toBe(0);
    expect(stdout).toContain('+     api_key: ${CLAUDE_KEY}');
    expect(stderr).toContain('was left as it is: --write writes it.');
    expect(existsSync(target())).toBe(false);
  });

  test('writes models, weights, prices, fallbacks, aliases and retries that a gate takes', async () => {
    expect((await importing(house, '--write')).code).toBe(0);
    const { providers, models } = written();
    expect(providers).toMatchObject({
      anthropic: { kind: 'anthropic' },
      groq: { kind: 'openai-compatible', base_url: 'https://api.groq.com/openai/v1' },
      'ollama-chat': { base_url: 'http://localhost:11434/v1', allow_private: true, price: 'free' },
      openai: { kind: 'openai' },
      llm: { kind: 'openai-compatible', base_url: 'https://llm.lab.example/v1' },
    });
    const everywhere = { lossy: 'allow', attempts_max: 3 };
    const groq = {
      provider: 'groq',
      model: 'llama-3.3-70b-versatile',
      weight: 3,
      price: { input: 590_000_000n, output: 790_000_000n },
      capabilities: { images: false, max_output: 32_768 },
    };
    const ollama = { provider: 'ollama-chat', model: 'qwen3:8b' };
    expect(models['fast']).toMatchObject({ ...everywhere, targets: [groq, { ...ollama, weight: 1 }] });
    const claude = {
      ...everywhere,
      targets: [
        { provider: 'anthropic', model: 'claude-sonnet-4-5', timeouts: { total_ms: 30_000 }, weight: 1 },
        { ...groq, weight: 0 },
        { ...ollama, weight: 0 },
      ],
    };
    expect(models['claude']).toMatchObject(claude);
    expect(models['sonnet']).toMatchObject(claude);
    expect(models['gpt-5-mini']?.targets).toEqual([{ provider: 'openai', weight: 1 }]);
    expect(models['lab']?.targets).toMatchObject([{ provider: 'llm', price: { input: 1_000_000_000n } }]);
    expect(Object.keys(models).toSorted()).toEqual(['claude', 'fast', 'gpt-5-mini', 'lab', 'sonnet']);
  });

  test('names what it cannot map, and why', async () => {
    const { stdout } = await importing(house);
    for (const line of [
      /model_list\[0\]\.litellm_params\.rpm +calls are limited by key here/,
      /model_list\[1\]\.model_info\.tier +has no counterpart here/,
      /model_list\[3\]\.litellm_params\.temperature +has no counterpart here/,
      /model_list\[4\] \(eu\) +is at a provider that has no kind here \(bedrock\)/,
      /litellm_settings\.fallbacks \(fast\) +names a model that was not mapped/,
      /litellm_settings\.success_callback +calls are in the ledger/,
      /router_settings\.routing_strategy +targets are chosen by weight/,
      /general_settings\.master_key +the first start makes an admin key/,
      /environment_variables +set them in the environment of the gate/,
      /mystery +has no counterpart here/,
    ])
      expect(stdout).toMatch(line);
  });

  test('says what is left to do: variables for literal keys, and budgets as commands', async () => {
    const { stderr } = await importing(house);
    expect(stderr).toContain('To do: A key for groq is written in that file itself: set GROQ_API_KEY to it');
    expect(stderr).toContain('To do: A key for llm is written in that file itself: set LLM_API_KEY to it');
    expect(stderr).toContain('To do: portcullis budgets create litellm --limit 100 --window month');
    expect(stderr).toContain('To do: portcullis budgets create litellm-groq --limit 5 --window day --provider groq');
  });

  test('never repeats a secret', async () => {
    const { stdout, stderr } = await importing(house, '--write');
    expect(stdout + stderr + readFileSync(target(), 'utf8')).not.toMatch(/secret/);
  });

  test('leaves comments, routes and other providers of the file as they are', async () => {
    const before = `# mine
providers:
  anthropic: { kind: anthropic, api_key: "\${OTHER_KEY}" } # by hand
models:
  fast: { targets: [{ provider: anthropic, model: claude-haiku-4-5 }] }
`;
    writeFileSync(target(), before);
    const { stderr } = await importing(house, '--write');
    expect(stderr).toContain('These have a route already, which stays: fast');
    const text = readFileSync(target(), 'utf8');
    for (const line of before.trim().split('\n')) expect(text).toContain(line);
    expect(written().models['claude']?.targets[0]).toMatchObject({ provider: 'anthropic-2' });
    const again = await importing(house, '--write');
    expect(again.stdout).toContain('There is nothing to add.');
    expect(readFileSync(target(), 'utf8')).toBe(text);
  });

  test('gives no variable two meanings, and no server the key of another', async () => {
    const yaml = `model_list:
  - { model_name: a, litellm_params: { model: openai/a, api_key: literal-1 } }
  - { model_name: b, litellm_params: { model: openai/b, api_key: literal-2 } }
  - { model_name: c, litellm_params: { model: openai/c, api_key: os.environ/OPENAI_API_KEY } }
  - { model_name: d, litellm_params: { model: openai/d, api_base: "https://other.example/v1" } }
  - { model_name: e, litellm_params: { model: openai/e, api_base: os.environ/BASE, api_key: literal-1 } }`;
    await importing(yaml, '--write');
    const text = readFileSync(target(), 'utf8');
    const entries = [...text.matchAll(/^ {2}([\w-]+):\n {4}kind: \S+\n((?: {4}.*\n)*)/gm)];
    expect(Object.fromEntries(entries.map(([, name, rest]) => [name, rest?.trim().split(/\n\s*/)]))).toEqual({
      openai: ['api_key: ${OPENAI_API_KEY_2}'],
      'openai-2': ['api_key: ${OPENAI_API_KEY_3}'],
      'openai-3': ['api_key: ${OPENAI_API_KEY}'],
      other: ['base_url: https://other.example/v1'],
      'openai-compatible': ['api_key: ${OPENAI_API_KEY_2}', 'base_url: ${BASE}'],
    });
  });

  test('maps deployments at Azure, by its API without versions, and models of Gemini', async () => {
    const yaml = `model_list:
  - { model_name: a, litellm_params: { model: azure/mine, api_base: "https://one.openai.azure.com/", api_key: os.environ/ONE, api_version: "2024-10-21" } }
  - { model_name: b, litellm_params: { model: azure/o_series/mine-too, api_base: "https://one.openai.azure.com/openai/v1", api_key: os.environ/ONE, input_cost_per_token: 0.000001, output_cost_per_token: 0.000002 } }
  - { model_name: c, litellm_params: { model: azure/mine } }
  - { model_name: d, litellm_params: { model: azure/mine, api_base: "https://one.openai.azure.com/openai/deployments/other" } }
  - { model_name: e, litellm_params: { model: azure/mine, api_base: "https://10.1.2.3", api_key: os.environ/ONE } }
  - { model_name: f, litellm_params: { model: gemini/gemini-2.5-flash } }
  - { model_name: g, litellm_params: { model: gemini/gemini-2.5-pro, api_base: "https://generativelanguage.googleapis.com/v1beta" } }
  - { model_name: h, litellm_params: { model: gemini/gemini-2.5-pro, api_base: "https://proxy.example/v1beta" } }`;
    const { stdout, stderr } = await importing(yaml, '--write');
    const text = readFileSync(target(), 'utf8');
    expect(parse(text)).toEqual({
      providers: {
        azure: { kind: 'azure', api_key: '${ONE}', base_url: 'https://one.openai.azure.com' },
        'azure-2': { kind: 'azure', api_key: '${AZURE_API_KEY}', base_url: '${AZURE_API_BASE}' },
        'azure-3': { kind: 'azure', api_key: '${ONE}', base_url: 'https://10.1.2.3', allow_private: true },
        gemini: { kind: 'gemini', api_key: '${GEMINI_API_KEY}' },
      },
      models: {
        a: { targets: [{ provider: 'azure', model: 'mine' }] },
        b: { targets: [{ provider: 'azure', model: 'mine-too', price: { input: 1, output: 2 } }] },
        c: { targets: [{ provider: 'azure-2', model: 'mine' }] },
        e: { targets: [{ provider: 'azure-3', model: 'mine' }] },
        f: { targets: [{ provider: 'gemini', model: 'gemini-2.5-flash' }] },
        g: { targets: [{ provider: 'gemini', model: 'gemini-2.5-pro' }] },
      },
    });
    written();
    expect(stdout).toMatch(/model_list\[0\]\.litellm_params\.api_version +Azure is called by its API v1/);
    expect(stdout).toMatch(/model_list\[3\] \(d\) +has an api_base with the path of a deployment/);
    expect(stdout).toMatch(/model_list\[7\] \(h\) +has an api_base that is not Google's own/);
    expect(stderr).toContain('No price is known for mine at azure:');
    expect(stderr).not.toContain('No price is known for gemini-2.5-flash');
  });

  test('takes nothing that the gate would put something else in the place of', async () => {
    const yaml = `model_list:
  - { model_name: a, litellm_params: { model: openai/x, api_base: "https://evil.example.com/\${SECRETS_KEY}" } }
  - { model_name: b, litellm_params: { model: "hosted_vllm/\${DATABASE_URL}", api_base: "https://evil.example.com" } }
  - { model_name: c, litellm_params: { model: openai/x, base_url: "https://evil.example.com/v1?key=\${file:/etc/hostname}" } }
  - { model_name: d, litellm_params: { model: openai/x, api_base: "\${DATABASE_URL}" } }
  - { model_name: "e\${HOME}", litellm_params: { model: openai/x, api_key: os.environ/K } }
  - { model_name: f, litellm_params: { model: openai/x, api_base: "https://\${HOME}.evil.example", api_key: os.environ/K } }
  - { model_name: good, litellm_params: { model: openai/x, api_key: os.environ/K } }
router_settings:
  model_group_alias: { "alias\${HOME}": good }`;
    const { stdout } = await importing(yaml, '--write');
    const text = readFileSync(target(), 'utf8');
    expect(text.match(/\$\{[^}]*\}/g)).toEqual(['${K}']);
    expect(Object.keys(written().models)).toEqual(['good']);
    for (const index of [0, 1, 2, 3, 5]) expect(stdout).toMatch(new RegExp(`model_list\\[${index}\\] .* holds "\\$`));
  });

  test('gives no provider what opens the gate itself', async () => {
    const yaml = `model_list:
  - { model_name: a, litellm_params: { model: openai/x, api_base: "https://a.example/v1", api_key: os.environ/ADMIN_API_KEY } }
  - { model_name: b, litellm_params: { model: openai/x, api_base: os.environ/DATABASE_URL } }
  - { model_name: c, litellm_params: { model: openai/x, api_base: "https://a.example/v1", api_key: os.environ/METTLE_SECRET_KEY } }
  - { model_name: d, litellm_params: { model: openai/x, api_base: "https://admin.example/v1", api_key: literal-1 } }
  - { model_name: e, litellm_params: { model: openai/x, api_base: "https://openai.example/v1", api_key: literal-2 } }`;
    const { stdout } = await importing(yaml, '--write');
    for (const index of [0, 1, 2])
      expect(stdout).toMatch(new RegExp(`model_list\\[${index}\\] .* names a variable that opens this gate itself`));
    const text = readFileSync(target(), 'utf8');
    // Nor does a server get the key of a provider that is called like it.
    expect(text.match(/\$\{[^}]*\}/g)).toEqual(['${ADMIN_API_KEY_2}', '${OPENAI_API_KEY_2}']);
  });

  test('writes no secret of an address, and merges no keys that differ', async () => {
    const yaml = `model_list:
  - { model_name: a, litellm_params: { model: openai/x, api_base: "https://a.example/v1?key=canary" } }
  - { model_name: b, litellm_params: { model: openai/x, api_base: "https://a.example/v1#canary" } }
  - { model_name: c, litellm_params: { model: openai/x, api_key: canary } }
  - { model_name: d, litellm_params: { model: openai/x } }`;
    const { stdout, stderr } = await importing(yaml, '--write');
    const text = readFileSync(target(), 'utf8');
    expect(stdout + stderr + text).not.toContain('canary');
    expect(stdout).toMatch(/model_list\[1\] \(b\) +has no api_base that is an http or https URL without a query/);
    expect(text.match(/\$\{[^}]*\}/g)).toEqual(['${OPENAI_API_KEY_2}', '${OPENAI_API_KEY}']);
    expect(stderr).toContain('set OPENAI_API_KEY_2 to it');
  });

  test('reminds of models whose price nobody knows', async () => {
    const { stderr } = await importing(
      'model_list: [{ model_name: m, litellm_params: { model: xai/grok-9, api_key: os.environ/X } }]',
    );
    expect(stderr).toContain('No price is known for grok-9 at xai');
  });

  test('takes a wildcard that keeps its name, and no other', async () => {
    const yaml = `model_list:
  - { model_name: "claude-*", litellm_params: { model: "anthropic/claude-*" } }
  - { model_name: "openai/*", litellm_params: { model: "openai/*" } }`;
    const { stdout } = await importing(yaml, '--write');
    expect(Object.keys(written().models)).toEqual(['claude-*']);
    expect(stdout).toMatch(/model_list\[1\] \(openai\/\*\) +rewrites the names of a wildcard/);
  });

  test.each([
    ['model_list: [', /not YAML/],
    ['a: 1\na: 2', /not YAML/],
    ['- 1', /must be a mapping/],
    ['models: []', /no configuration of LiteLLM/],
    ['model_list: {}', /no configuration of LiteLLM/],
    ['model_list: [text]', /model_list\[0\] must be a mapping/],
    ['model_list: [{ litellm_params: {} }]', /model_list\[0\]\.model_name must be a name/],
    ['model_list: [{ model_name: a }]', /model_list\[0\]\.litellm_params must be a mapping/],
    ['model_list: []\nrouter_settings: text', /router_settings must be a mapping/],
    [`${bomb}\nmodel_list: []`, /not YAML that can be read/],
  ])('refuses %j in one line', async (yaml, message) => {
    const { code, stderr } = await importing(yaml, '--write');
    expect(code).toBe(1);
    expect(stderr).toMatch(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(existsSync(target())).toBe(false);
  });

  test('shows nothing that a terminal obeys, and takes names of prototypes as names', async () => {
    const yaml = `model_list:
  - { model_name: "a\\e[2Jb", litellm_params: { model: "constructor/x" } }
  - { model_name: __proto__, litellm_params: { model: openai/x, __proto__: 1, api_key: os.environ/K } }
__proto__: { polluted: true }`;
    const { code, stdout } = await importing(yaml);
    expect(code).toBe(0);
    expect(stdout).not.toContain('\u001b');
    expect(stdout).toContain('(constructor)');
    expect({}).not.toHaveProperty('polluted');
  });

  test('that finds nothing says so', async () => {
    const { stdout } = await importing('model_list: []');
    expect(stdout).toContain('There is nothing to add.');
    expect((await runCommand(['import', 'litellm', 'missing.yaml'], { cwd })).stderr).toMatch(/cannot be read/);
  });
});

describe('a price per token', () => {
  test.each([
    [3e-6, '3'],
    ['3e-06', '3'],
    [0.00000015, '0.15'],
    ['1.5e-7', '0.15'],
    [0, '0'],
    ['0.000018', '18'],
    ['1e-12', '0.000001'],
    ['2', '2000000'],
  ])('%s is %s per million', (given, expected) => expect(perMillion(given)).toBe(expected));

  test('is exact for any decimal', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 10n ** 9n), fc.integer({ min: 0, max: 12 }), (digits, decimals) => {
        const padded = digits.toString().padStart(decimals + 1, '0');
        const text = decimals === 0 ? padded : `${padded.slice(0, -decimals)}.${padded.slice(-decimals)}`;
        const [whole = '', fraction = ''] = (perMillion(text) ?? '').split('.');
        expect(BigInt(whole + fraction.padEnd(12, '0'))).toBe(digits * 10n ** BigInt(18 - decimals));
      }),
    );
  });

  test.each([-1, '', 'free', '1e999', null, {}, Number.NaN])('%j is none', (given) =>
    expect(perMillion(given)).toBeNull(),
  );
});
