import { basename } from 'node:path';

/** What a command is let in with. */
export interface Access {
  /** Of the gate, without a slash at the end. */
  readonly url: string;
  /** It goes into the environment alone: others can see arguments. */
  readonly key: string;
  /** The model that was asked for on the command line. */
  readonly model: string | null;
  /** The names that the key may ask for, wildcards left out. */
  readonly models: readonly string[];
}

/** How one tool is told where the gate is. */
export interface Tool {
  readonly name: string;
  /** Variables that must be so. */
  readonly sets: (access: Access) => Readonly<Record<string, string>>;
  /** Variables that stay as the caller has them, if the caller has them. */
  readonly prefers?: (access: Access) => Readonly<Record<string, string>>;
  /** Variables that would lead around the gate, besides those of `provider-variables.ts`. */
  readonly removes?: readonly string[];
  /** Arguments before the caller's own. */
  readonly args?: (access: Access) => readonly string[];
}

/** The variable of the key of a run; `portcullis` reads it too. */
export const keyVariable = 'PORTCULLIS_KEY';

/** What every command gets: what the SDKs of both families and most tools read. */
export const anyCommand: Tool = {
  name: 'any command',
  sets: ({ url, key }) => ({
    PORTCULLIS_URL: url,
    [keyVariable]: key,
    ANTHROPIC_BASE_URL: url,
    ANTHROPIC_API_KEY: key,
    ANTHROPIC_AUTH_TOKEN: key,
    OPENAI_BASE_URL: `${url}/v1`,
    // Older clients call it so.
    OPENAI_API_BASE: `${url}/v1`,
    OPENAI_API_KEY: key,
  }),
};

/** The tools that need more than that, by the name of their program. */
const tools: readonly Tool[] = [
  {
    name: 'claude',
    sets: ({ model }) => ({
      // Else `env` in its settings files may name another base URL, and it would send the key there.
      CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST: '1',
      ...(model === null ? {} : { ANTHROPIC_MODEL: model }),
      ...(model === null || isClaude(model) ? {} : everyTier(model)),
    }),
    prefers: ({ model, models }) => {
      // It lists what the gate has under its own family's names; of other names its picker takes one.
      const other = [...(model === null ? [] : [model]), ...models].find((name) => !isClaude(name));
      return {
        CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY: '1',
        // With a base URL that is not Anthropic's it would send every definition of every tool instead.
        ENABLE_TOOL_SEARCH: 'true',
        ...(other === undefined ? {} : { ANTHROPIC_CUSTOM_MODEL_OPTION: other }),
      };
    },
    // It asks before it uses an API key, and warns of two credentials: the token alone does neither.
    removes: ['ANTHROPIC_API_KEY'],
  },
  {
    name: 'codex',
    sets: () => ({}),
    args: ({ url, model }) => [
      '-c',
      'model_provider="portcullis"',
      '-c',
      `model_providers.portcullis=${codexProvider(url)}`,
      ...(model === null ? [] : ['-m', model]),
    ],
  },
  {
    name: 'opencode',
    sets: (access) => ({ OPENCODE_CONFIG_CONTENT: JSON.stringify(opencodeConfig(access)) }),
  },
];

/** The tool that a command is, by the name of its program; null for any other. */
export function toolOf(command: string): Tool | null {
  const program = basename(command).replace(/\.(?:exe|cmd)$/i, '');
  return tools.find(({ name }) => name === program) ?? null;
}

export const toolNames: readonly string[] = tools.map(({ name }) => name);

function isClaude(model: string): boolean {
  return /^(?:claude|anthropic)/.test(model);
}

/** Its side calls and sub-agents ask for the tiers: with one model named, all of them are that model. */
function everyTier(model: string): Record<string, string> {
  const tiers = ['OPUS', 'SONNET', 'HAIKU', 'FABLE'];
  return Object.fromEntries(tiers.map((tier) => [`ANTHROPIC_DEFAULT_${tier}_MODEL`, model]));
}

/** TOML; its basic strings are JSON's. */
function codexProvider(url: string): string {
  const baseUrl = JSON.stringify(`${url}/v1`);
  return `{ name = "Portcullis", base_url = ${baseUrl}, env_key = "${keyVariable}", wire_api = "responses" }`;
}

function opencodeConfig({ url, model, models }: Access): object {
  // It puts files and variables in the place of `{file:…}` and `{env:…}` wherever they stand.
  const names = new Set([...(model === null ? [] : [model]), ...models].filter((name) => !name.includes('{')));
  return {
    // What it is logged in to elsewhere stays out of this run.
    enabled_providers: ['portcullis'],
    provider: {
      portcullis: {
        npm: '@ai-sdk/openai-compatible',
        name: 'Portcullis',
        options: { baseURL: `${url}/v1`, apiKey: `{env:${keyVariable}}` },
        models: Object.fromEntries([...names].map((name) => [name, { name }])),
      },
    },
    ...(model === null ? {} : { model: `portcullis/${model}`, small_model: `portcullis/${model}` }),
  };
}
