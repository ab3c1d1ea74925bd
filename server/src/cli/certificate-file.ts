import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { thumbprintOf } from '../identity/certificates/thumbprint.ts';
import { type CliContext, CliError } from './context.ts';

/** The thumbprint of the first certificate in a PEM file, or of a DER file. @throws CliError */
export function thumbprintOfFile({ cwd }: CliContext, file: string): string {
  try {
    return thumbprintOf(new X509Certificate(readFileSync(resolve(cwd, file))).raw);
  } catch {
    throw new CliError(`${file} cannot be read, or is no certificate: give a PEM file that begins with the leaf.`);
  }
}
