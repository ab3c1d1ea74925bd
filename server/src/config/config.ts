import { accessSync, constants, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Findings, readOptions, withDotEnv } from './environment.ts';
import { fileSchema } from './file-schema.ts';
import { type ConfigFile, parseConfigFile } from './file.ts';
import type { OptionValues } from './options.ts';
import { readPriceFile } from './price-file.ts';
import { isStrong, productionFileProblems, productionNotes, productionProblems, wideProxies } from './production.ts';

/** Everything that was configured, frozen. Modules never see it: `main.ts` hands each the few options that it declares. */
export interface Config {
  readonly options: OptionValues;
  readonly file: ConfigFile;
  readonly production: boolean;
  readonly embedded: boolean;
  /** Something in it does not hold and was left out, which production would refuse. */
  readonly degraded: boolean;
}

export interface ConfigResult extends Findings {
  readonly config: Config;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the environment, `./.env` (outside production) and the configuration file. Never throws: everything that is
 * wrong is listed in `problems`, and production additionally refuses what is unsafe.
 */
export function loadConfig(processEnvironment: Environment, cwd: string): ConfigResult {
  const findings: Findings = { problems: [], notes: [] };
  const environment = withDotEnv(processEnvironment, join(cwd, '.env'));
  const options = readOptions(environment, findings);
  const production = options.NODE_ENV === 'production';
  if (production) findings.problems.push(...productionProblems(options));
  findings.notes.push(...(production ? productionNotes(options) : developmentNotes(options)));
  if (options.AUTH_TOKEN !== null && !options.ALLOW_LEGACY_AUTH_TOKEN) {
    findings.notes.push('AUTH_TOKEN is ignored: set ALLOW_LEGACY_AUTH_TOKEN=true to let it work.');
  }
  findings.problems.push(
    ...issuerProblems(options),
    ...certificateProblems(options),
    ...certificateFileProblems(options, cwd),
  );
  const file = readFile(resolve(cwd, options.CONFIG_FILE), environment, findings) ?? fileSchema.parse({});
  if (production) findings.problems.push(...productionFileProblems(file));
  const config: Config = Object.freeze({
    options,
    file,
    production,
    embedded: options.DATABASE_URL === null,
    degraded: findings.problems.length > 0,
  });
  return { config, ...findings };
}

/** The configuration file alone, for a reload; null when it does not hold (the reasons are in `findings`). */
export function reloadConfigFile(
  config: Config,
  processEnvironment: Environment,
  cwd: string,
  findings: Findings,
): ConfigFile | null {
  const environment = withDotEnv(processEnvironment, join(cwd, '.env'));
  return readFile(resolve(cwd, config.options.CONFIG_FILE), environment, findings);
}

function readFile(path: string, environment: Environment, findings: Findings): ConfigFile | null {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const absent = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    if (absent && !environment['CONFIG_FILE']) return fileSchema.parse({});
    findings.problems.push('CONFIG_FILE: the file cannot be read.');
    return null;
  }
  const file = parseConfigFile(text, environment, findings);
  if (file?.prices === undefined) return file;
  try {
    readPriceFile(path, file.prices.file);
    return file;
  } catch (error) {
    findings.problems.push(`portcullis.yaml: prices.file: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  }
}

function issuerProblems(options: OptionValues): string[] {
  const { AUTH_ISSUER, AUTH_DOMAIN, JWKS_URI, AUTH_AUDIENCE } = options;
  const any = AUTH_ISSUER !== null || AUTH_DOMAIN !== null || JWKS_URI !== null || AUTH_AUDIENCE.length > 0;
  if (!any) return [];
  const missing: string[] = [];
  if (AUTH_ISSUER === null && AUTH_DOMAIN === null) missing.push('AUTH_ISSUER (or AUTH_DOMAIN)');
  if (JWKS_URI === null && AUTH_DOMAIN === null) missing.push('JWKS_URI (or AUTH_DOMAIN)');
  if (AUTH_AUDIENCE.length === 0) missing.push('AUTH_AUDIENCE');
  return missing.map((name) => `The token issuer is only partly configured: ${name} is missing.`);
}

/** What is missing of the options for client certificates; without all of them there is no way to tell whom to let in. */
export function certificateProblems(options: OptionValues): string[] {
  const { MTLS_ADDR, MTLS_CERT_FILE, MTLS_KEY_FILE, CLIENT_CERT_FROM_PROXIES, TRUSTED_PROXIES } = options;
  const listener = { MTLS_ADDR, MTLS_CERT_FILE, MTLS_KEY_FILE };
  const { MTLS_TRUST_BUNDLE_FILE, MTLS_TRUST_DOMAIN } = options;
  const trust = { MTLS_TRUST_BUNDLE_FILE, MTLS_TRUST_DOMAIN };
  const wantsListener = Object.values(listener).some((value) => value !== null);
  const wantsTrust = Object.values(trust).some((value) => value !== null);
  const needed = wantsListener || !CLIENT_CERT_FROM_PROXIES ? { ...listener, ...trust } : trust;
  if (!wantsListener && !wantsTrust && !CLIENT_CERT_FROM_PROXIES) return [];
  const missing: string[] = Object.entries(needed).flatMap(([name, value]) => (value === null ? [name] : []));
  if (CLIENT_CERT_FROM_PROXIES && TRUSTED_PROXIES.length === 0) missing.push('TRUSTED_PROXIES');
  return missing.map((name) => `Client certificates are only partly configured: ${name} is missing.`);
}

/** Files for client certificates that are named and cannot be read, and an address that another listener has. */
function certificateFileProblems(options: OptionValues, cwd: string): string[] {
  const names = ['MTLS_CERT_FILE', 'MTLS_KEY_FILE', 'MTLS_TRUST_BUNDLE_FILE'] as const;
  const unread = names.filter((name) => options[name] !== null && !isReadable(resolve(cwd, options[name])));
  const problems = unread.map((name) => `${name}: the file cannot be read.`);
  const { MTLS_ADDR: own } = options;
  for (const name of ['HTTP_ADDR', 'GRPC_ADDR'] as const) {
    const other = options[name];
    const isSame = own !== null && own.port !== 0 && own.port === other?.port && own.host === other.host;
    if (isSame) problems.push(`MTLS_ADDR is the address of ${name} too: give it one of its own.`);
  }
  return problems;
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

function developmentNotes(options: OptionValues): string[] {
  const notes: string[] = [];
  for (const name of ['SECRETS_KEY', 'ADMIN_API_KEY', 'API_KEY', 'METRICS_API_KEY'] as const) {
    const value = options[name];
    if (value !== null && !isStrong(value)) notes.push(`${name} is weak; production would refuse to start on it.`);
  }
  if (options.ENABLE_REFLECTION)
    notes.push(
      'gRPC reflection is on: who reaches GRPC_ADDR may read the schema; production would refuse to start on it.',
    );
  if (options.ENABLE_BASIC_AUTH_FALLBACK)
    notes.push('Basic Auth fallback is on; production would refuse to start on it.');
  notes.push(...wideProxies(options).map((problem) => `${problem} Production would refuse to start on it.`));
  return notes;
}
