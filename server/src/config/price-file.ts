import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { PortcullisError } from '../base/errors.ts';
import { priceFileBytesMax } from '../base/limits.ts';

/** A file of prices as it is on disk. */
export interface PriceFileOnDisk {
  /** As the configuration names it. */
  readonly name: string;
  readonly text: string;
  readonly sha256: string;
  /** The day (UTC) on which it was last changed, like 2026-11-20. */
  readonly changedOn: string;
}

/**
 * Reads a file of prices, whose name is relative to the configuration file's folder.
 * @throws PortcullisError invalid_argument when it cannot be read, or is too large
 */
export function readPriceFile(configPath: string, name: string): PriceFileOnDisk {
  const path = resolve(dirname(configPath), name);
  const { size, mtime } = attempt(name, () => statSync(path));
  if (size > priceFileBytesMax) {
    throw new PortcullisError(
      'invalid_argument',
      `The file of prices ${name} is larger than ${priceFileBytesMax} bytes.`,
    );
  }
  const bytes = attempt(name, () => readFileSync(path));
  return {
    name,
    text: bytes.toString(),
    sha256: createHash('sha256').update(bytes).digest('hex'),
    changedOn: mtime.toISOString().slice(0, 10),
  };
}

function attempt<T>(name: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new PortcullisError('invalid_argument', `The file of prices ${name} cannot be read.`, { cause });
  }
}
