import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Argument, Command, InvalidArgumentError } from 'commander';
import { parseUsd } from '../base/money.ts';
import { withDotEnv } from '../config/environment.ts';
import { isPrivateHost } from '../net/egress.ts';
import { checkConfigText, printDifference, readConfigFile, replaceConfigFile } from './config-file-edit.ts';
import { type CliContext, CliError } from './context.ts';
import { exitCodes } from './exit-codes.ts';
import { collectValues } from './gate-command.ts';
import { modelsOf } from './local-models.ts';
import { printLine, printNote } from './output.ts';
import { addProvider, type ProviderAddition } from './provider-edit.ts';

interface Preset {
  readonly kind: string;
  readonly apiKeyEnv?: string;
  readonly baseUrl?: string;
  readonly models?: readonly string[];
}

const presets = {
  anthropic: { kind: 'anthropic', apiKeyEnv: 'ANTHROPIC_API_KEY', models: ['claude-*'] },
  openai: { kind: 'openai', apiKeyEnv: 'OPENAI_API_KEY', models: ['gpt-*'] },
  'openai-compatible': { kind: 'openai-compatible' },
  ollama: { kind: 'openai-compatible', baseUrl: 'http://127.0.0.1:11434/v1' },
  'lm-studio': { kind: 'openai-compatible', baseUrl: 'http://127.0.0.1:1234/v1' },
} as const satisfies Record<string, Preset>;

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

/** The file of the gate that is meant: with the data of this installation (bin/portcullis says so) it is beside them. */
function configFileFor({ cwd }: CliContext, environment: Environment): string {
  const here = join(cwd, 'portcullis.yaml');
  if (environment['CONFIG_FILE']) return resolve(cwd, environment['CONFIG_FILE']);
  const installation = resolve(import.meta.dirname, '../../..');
  const isOfInstallation = environment['DATA_DIR'] === join(installation, 'data');
  return isOfInstallation && !existsSync(here) ? join(installation, 'portcullis.yaml') : here;
}

function sayWhatNext(context: CliContext, path: string, unset: readonly string[]): void {
  if (unset.length === 0)
    return printNote(context, `Written to ${path}. A gate that runs on this file reloads it by itself.`);
  printNote(context, `Written to ${path}. Not set here: ${unset.join(', ')}.`);
  printNote(context, 'Put it into the environment of the gate, or into .env where it runs, and restart the gate.');
}

async function additionOf(
  provider: keyof typeof presets,
  options: AddOptions,
  environment: Environment,
): Promise<ProviderAddition> {
  const preset: Preset = presets[provider];
  const baseUrl = options.baseUrl?.href.replace(/\/+$/, '') ?? preset.baseUrl;
  if (baseUrl === undefined && provider === 'openai-compatible')
    throw new CliError('Say where it is: --base-url http://127.0.0.1:8000/v1', exitCodes.usage);
  const local = baseUrl !== undefined && isLocal(new URL(baseUrl));
  if (baseUrl?.startsWith('http:') && !local)
    throw new CliError('http would carry keys and prompts in the clear: use https.', exitCodes.usage);
  const apiKeyEnv = options.apiKeyEnv ?? preset.apiKeyEnv;
  const price = options.price ?? (local && preset.kind === 'openai-compatible' ? 'free' : undefined);
  const models = options.model ?? preset.models ?? (local ? await modelsOf(baseUrl, environment[apiKeyEnv ?? '']) : []);
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
  };
}

/** Off the public internet: a private address, or a bare name as containers and home networks have. */
function isLocal({ hostname }: URL): boolean {
  return isPrivateHost(hostname) || (!hostname.includes('.') && !hostname.includes(':'));
}

/** `https://api.deepseek.com/v1` is `deepseek`; an address is `local`. */
function nameFor({ hostname }: URL): string {
  if (isPrivateHost(hostname)) return 'local';
  const labels = hostname.split('.').filter((label) => label !== 'api' && label !== 'www');
  return labels[0] ?? 'provider';
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
