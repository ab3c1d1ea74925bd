import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseDocument } from 'yaml';
import { scrub } from '../base/log.ts';
import { type Config, loadConfig } from '../config/config.ts';
import { type OptionName, type OptionValues, options } from '../config/options.ts';

export interface OptionDescription {
  readonly name: string;
  readonly group: string;
  /** As one would write it; `[redacted]` for a secret that is set. */
  readonly value: string;
  readonly isDefault: boolean;
}

/** A configuration without its secrets: safe to paste into an issue. */
export interface ConfigDescription {
  readonly options: readonly OptionDescription[];
  /** The configuration file as it is written, references to secrets not replaced; null when there is none to read. */
  readonly file: unknown;
}

const redacted = '[redacted]';

export function describeConfig(
  environment: Readonly<Record<string, string | undefined>>,
  cwd: string,
): ConfigDescription {
  const { config } = loadConfig(environment, cwd);
  return {
    options: (Object.keys(options) as OptionName[]).map((name) => describeOption(name, config)),
    file: describeFile(resolve(cwd, config.options.CONFIG_FILE)),
  };
}

function describeOption(name: OptionName, config: Config): OptionDescription {
  const { group, secret, fallback, schema } = options[name];
  const value = config.options[name];
  const isDefault = asText(value) === asText(schema.parse(fallback));
  const text = secret && value !== null ? redacted : withoutUrlSecrets(asText(value));
  return { name, group, value: text, isDefault };
}

function asText(value: OptionValues[OptionName]): string {
  if (value === null) return '';
  if (Array.isArray(value)) return value.join(',');
  if (typeof value === 'object') return `${value.host.includes(':') ? `[${value.host}]` : value.host}:${value.port}`;
  return String(value);
}

function describeFile(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return null;
  }
  const document = parseDocument(text);
  // What is not YAML may hold a secret anywhere; `config check` says what is wrong with it.
  if (document.errors.length > 0) return null;
  return withoutSecrets(document.toJS({ maxAliasCount: 100 }), '');
}

// Names that are not in the schema too: a misspelt api_key is still a key.
const secretName = /key|token|secret|pass|auth|credential/i;
const reference = /^\$\{[^}]+\}$/;
// Names of the schema that only sound like secrets, as long as what they hold is what they are for.
const harmless = new Map<string, (value: unknown) => boolean>([
  ['client_auth', (value) => value === 'basic' || value === 'post'],
  ['credential', (value) => value === 'gate' || value === 'caller'],
  ['max_output_tokens', (value) => typeof value === 'number'],
]);

function withoutSecrets(value: unknown, name: string): unknown {
  if (Array.isArray(value)) return value.map((item) => withoutSecrets(item, name));
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withoutSecrets(item, key)]));
  }
  if (harmless.get(name)?.(value)) return value;
  if (secretName.test(name) && !(typeof value === 'string' && reference.test(value))) return redacted;
  return typeof value === 'string' ? scrub(withoutUrlSecrets(value)) : value;
}

/** A URL may carry a password before its host, and anything in its query. */
function withoutUrlSecrets(text: string): string {
  return text
    .replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/@]+@/i, `$1${redacted}@`)
    .replace(/^([a-z][a-z0-9+.-]*:\/\/[^?]*)\?.*$/is, `$1?${redacted}`);
}
