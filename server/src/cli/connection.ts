import { accessSync, constants, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Credentials, credentialsPath, readCredentials } from '../config/credentials-file.ts';
import { withDotEnv } from '../config/environment.ts';
import { isLoopback } from '../config/production.ts';
import { effectiveDataDir } from '../pg/embedded/data-dir.ts';
import { CliError, type CliContext } from './context.ts';
import { exitCodes } from './exit-codes.ts';
import { loginConnection } from './login/saved-login.ts';

/** Which gate to talk to, and with which key. */
export interface Connection {
  /** Without a slash at the end. */
  readonly url: string;
  readonly key: string;
  /** The key as it is now, where it is one that is renewed. */
  readonly renew?: () => Promise<string>;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Finds the gate: PORTCULLIS_URL with PORTCULLIS_KEY or PORTCULLIS_KEY_FILE, else that of `portcullis login`, else what
 * `portcullis up` left in the data folder. The keys of either go to no other gate than the one that their file names.
 * @param givenUrl a URL from the command line, which stands for PORTCULLIS_URL
 * @throws CliError when there is none, or when the key would cross a network in the clear
 */
export function findConnection(context: CliContext, givenUrl?: string): Connection {
  // A folder may be a stranger's: its .env says neither where keys go nor which data folder names the gate of a given key.
  const url = givenUrl ?? givenServer(context);
  const key = keyFrom(context.environment, context.cwd);
  const environment =
    key === undefined ? withDotEnv(context.environment, join(context.cwd, '.env')) : context.environment;
  if (url !== undefined && key !== undefined) return { url: checkUrl(url), key };
  const login = key === undefined ? loginConnection(context) : null;
  if (login !== null && (url === undefined || checkUrl(url) === login.url)) return login;
  const local = localCredentials(environment, context.cwd);
  if (url !== undefined) {
    const wanted = checkUrl(url);
    if (local !== null && checkUrl(local.url) === wanted) return { url: wanted, key: local.admin_key };
    throw new CliError(
      `There is no key for ${wanted}: run \`portcullis login\`, or set PORTCULLIS_KEY or PORTCULLIS_KEY_FILE.`,
      exitCodes.denied,
    );
  }
  if (local === null) {
    throw new CliError(
      'No gate is known here: start one with `npm start`, log in with `portcullis login`, or set PORTCULLIS_URL and PORTCULLIS_KEY.',
      exitCodes.unreachable,
    );
  }
  return { url: checkUrl(local.url), key: key ?? local.admin_key };
}

/** The gate that the environment names. */
export function givenServer({ environment }: Pick<CliContext, 'environment'>): string | undefined {
  return environment['PORTCULLIS_URL'] || undefined;
}

function keyFrom(environment: Environment, cwd: string): string | undefined {
  const given = environment['PORTCULLIS_KEY'];
  const path = environment['PORTCULLIS_KEY_FILE'];
  if (given && path) throw new CliError('PORTCULLIS_KEY and PORTCULLIS_KEY_FILE are both set: keep one.');
  let key = given;
  if (path) {
    try {
      key = readFileSync(resolve(cwd, path), 'utf8').trim();
    } catch {
      throw new CliError('PORTCULLIS_KEY_FILE: the file cannot be read.');
    }
  }
  if (!key) return undefined;
  if (!/^[\x21-\x7e]+$/.test(key)) throw new CliError('PORTCULLIS_KEY has characters that no key has: copy it anew.');
  return key;
}

function localCredentials(environment: Environment, cwd: string): Credentials | null {
  let dataDir: string;
  try {
    dataDir = effectiveDataDir(resolve(cwd, environment['DATA_DIR'] || './data'));
  } catch (error) {
    throw new CliError(error instanceof Error ? error.message : String(error));
  }
  const path = credentialsPath(dataDir);
  try {
    accessSync(path, constants.R_OK);
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return null;
    throw new CliError(`${path} cannot be read: run this as the user who started the gate, or set PORTCULLIS_KEY.`);
  }
  const found = readCredentials(dataDir);
  if (found === null) throw new CliError(`${path} is not what \`portcullis up\` writes: start the gate again.`);
  return found;
}

/** @throws CliError for what is no address of a gate, or would carry a key in the clear */
export function checkUrl(text: string): string {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new CliError('The URL of the gate must begin with https:// (or http:// on this machine).', exitCodes.usage);
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw new CliError('The URL of the gate is a plain address: the key belongs in PORTCULLIS_KEY.', exitCodes.usage);
  }
  if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
    throw new CliError(
      `${url.host} is not this machine, and http would carry the key in the clear: use https.`,
      exitCodes.usage,
    );
  }
  return url.href.replace(/\/+$/, '');
}
