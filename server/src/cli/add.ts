import { join } from 'node:path';
import { Argument, Command, InvalidArgumentError } from 'commander';
import { parseUsd } from '../base/money.ts';
import { withDotEnv } from '../config/environment.ts';
import {
  checkConfigText,
  configFileFor,
  printDifference,
  readConfigFile,
  replaceConfigFile,
  sayWhatNext,
} from './config-file-edit.ts';
import { type CliContext, CliError } from './context.ts';
import { exitCodes } from './exit-codes.ts';
import { collectValues } from './gate-command.ts';
import { modelsOf } from './local-models.ts';
import { type ServerKind, probeModels } from './model-probe.ts';
import { printLine, printNote } from './output.ts';
import { addProvider, type ProviderAddition } from './provider-edit.ts';
import { isLocal, nameFor } from './provider-urls.ts';

interface Preset {
  readonly kind: string;
  readonly apiKeyEnv?: string;
  readonly baseUrl?: string;
  readonly models?: readonly string[];
  readonly server?: ServerKind;
}

const presets = {
  anthropic: { kind: 'anthropic', apiKeyEnv: 'ANTHROPIC_API_KEY', models: ['claude-*'] },
  openai: { kind: 'openai', apiKeyEnv: 'OPENAI_API_KEY', models: ['gpt-*'] },
  gemini: { kind: 'gemini', apiKeyEnv: 'GEMINI_API_KEY', models: ['gemini-*'] },
  azure: { kind: 'azure', apiKeyEnv: 'AZURE_OPENAI_API_KEY' },
  'openai-compatible': { kind: 'openai-compatible' },
  ollama: { kind: 'openai-compatible', baseUrl: 'http://127.0.0.1:11434/v1', server: 'ollama' },
  'lm-studio': { kind: 'openai-compatible', baseUrl: 'http://127.0.0.1:1234/v1', server: 'lm-studio' },
} as const satisfies Record<string, Preset>;

/** Of those that have no address of their own. */
const addressExamples: Readonly<Partial<Record<keyof typeof presets, string>>> = {
  azure: 'https://NAME.openai.azure.com',
  'openai-compatible': 'http://127.0.0.1:8000/v1',
};

interface AddOptions {
  readonly name?: string;
  readonly baseUrl?: URL;
  readonly apiKeyEnv?: string;
  readonly model?: string[];
  readonly price?: 'free' | { readonly input: string; readonly output: string };
  readonly dryRun?: true;
}

type Environment = CliContext['environment'];

/** `portcullis add`: writes a provider and its routes into the configuration file. */
export function addCommand(context: CliContext): Command {
  return new Command('add')
    .description('add a provider of models to the configuration file; local servers are asked what they have')
    .addArgument(new Argument('<provider>', 'what to add').choices(Object.keys(presets)))
    .option('--name <name>', 'what the provider is called here')
    .option('--base-url <url>', "where it is; for OpenAI's wire format up to and with /v1", parseBaseUrl)
    .option(
      '--api-key-env <name>',
      'the environment variable that holds its key; the file gets the name alone',
      parseName,
    )
    .option('--model <pattern>', 'a public model name that leads to it, * matches any; repeatable', collectValues)
    .option('--price <price>', 'free, or USD per million tokens in and out, like 0.27,1.10', parsePrice)
    .option('--dry-run', 'show what would change, and change nothing')
    .action(async (provider: keyof typeof presets, options: AddOptions) => {
      const environment = withDotEnv(context.environment, join(context.cwd, '.env'));
      const path = configFileFor(context, environment);
      const addition = await additionOf(provider, options, environment);
      const before = readConfigFile(path);
      const { text, kept } = addProvider(before, addition);
      const unset = checkConfigText(text, environment);
      if (kept.length > 0) printNote(context, `These have a route already, which stays: ${kept.join(', ')}`);
      if (text === before) return printLine(context, 'There is nothing to add.');
      printDifference(context, before, text);
      if (options.dryRun) return printNote(context, `${path} was left as it is (--dry-run).`);
      replaceConfigFile(path, text);
      sayWhatNext(context, path, unset);
    });
}

async function additionOf(
  provider: keyof typeof presets,
  options: AddOptions,
  environment: Environment,
): Promise<ProviderAddition> {
  const preset: Preset = presets[provider];
  const baseUrl = baseUrlOf(preset, options);
  const example = addressExamples[provider];
  if (baseUrl === undefined && example !== undefined)
    throw new CliError(`Say where it is: --base-url ${example}`, exitCodes.usage);
  const local = baseUrl !== undefined && isLocal(new URL(baseUrl));
  if (baseUrl?.startsWith('http:') && !local)
    throw new CliError('http would carry keys and prompts in the clear: use https.', exitCodes.usage);
  const apiKeyEnv = options.apiKeyEnv ?? preset.apiKeyEnv;
  const price = options.price ?? (local && preset.kind === 'openai-compatible' ? 'free' : undefined);
  const apiKey = environment[apiKeyEnv ?? ''];
  const models = options.model ?? preset.models ?? (local ? await modelsOf(baseUrl, apiKey) : []);
  if (models.length === 0)
    throw new CliError('Say which models lead to it: --model NAME (more than once for more).', exitCodes.usage);
  return {
    name:
      options.name ?? (baseUrl === undefined || preset.baseUrl !== undefined ? provider : nameFor(new URL(baseUrl))),
    entry: {
      kind: preset.kind,
      ...(apiKeyEnv === undefined ? {} : { api_key: `\${${apiKeyEnv}}` }),
      ...(baseUrl === undefined ? {} : { base_url: baseUrl }),
      ...(local ? { allow_private: true } : {}),
      ...(price === undefined ? {} : { price }),
    },
    models,
    ...(local && {
      probed: {
        models: await probeModels({ kind: preset.server ?? null, baseUrl, apiKey }, models),
        day: new Date().toISOString().slice(0, 10),
      },
    }),
  };
}

/** Azure's portal shows the address of its API, which the kind adds by itself. */
function baseUrlOf({ kind, baseUrl }: Preset, options: AddOptions): string | undefined {
  const given = options.baseUrl?.href.replace(/\/+$/, '');
  return (kind === 'azure' ? given?.replace(/\/openai(\/v1)?$/, '') : given) ?? baseUrl;
}

function parseBaseUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) throw new InvalidArgumentError('Write an http or https URL.');
  if (url.username !== '' || url.password !== '' || url.search !== '')
    throw new InvalidArgumentError('A key does not belong in the URL: use --api-key-env.');
  return url;
}

function parseName(text: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(text))
    throw new InvalidArgumentError('Write the name of an environment variable, never the key itself.');
  return text;
}

function parsePrice(text: string): AddOptions['price'] {
  if (text === 'free') return text;
  const [input, output, ...rest] = text.split(',');
  try {
    if (input !== undefined && output !== undefined && rest.length === 0) {
      parseUsd(input);
      parseUsd(output);
      return { input, output };
    }
  } catch {
    // Told below, in the option's own words.
  }
  throw new InvalidArgumentError('Write free, or two amounts in USD per million tokens, like 0.27,1.10.');
}
