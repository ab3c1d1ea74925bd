import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { CliError, type CliContext } from '../context.ts';
import { exitCodes } from '../exit-codes.ts';

/** Where the admin key of a vendor is: in a variable or a file, never on the command line. */
export interface KeyOptions {
  readonly keyEnv: string;
  readonly keyFile?: string;
}

/** @throws CliError when there is none, or none that a header can carry */
export function adminKey({ environment, cwd }: CliContext, { keyEnv, keyFile }: KeyOptions): string {
  let key = environment[keyEnv];
  if (keyFile !== undefined) {
    try {
      key = readFileSync(resolve(cwd, keyFile), 'utf8');
    } catch {
      throw new CliError(`--key-file: ${keyFile} cannot be read.`);
    }
  }
  key = key?.trim();
  if (!key)
    throw new CliError(`There is no admin key: set ${keyEnv}, or give --key-file or --key-env.`, exitCodes.denied);
  if (!/^[\x21-\x7e]{1,1000}$/.test(key))
    throw new CliError('The admin key has characters that no key has: copy it anew.');
  return key;
}
