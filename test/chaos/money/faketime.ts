import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const libraries = '/usr/lib';

/** The library that sets a process's clock (Debian: faketime), or why there is none. */
export function findFaketime(): { readonly library: string } | { readonly missing: string } {
  if (process.platform !== 'linux') return { missing: 'the clock of PostgreSQL is set on Linux alone' };
  const places = [libraries, ...readdirSync(libraries).map((entry) => join(libraries, entry))];
  const library = places.map((place) => join(place, 'faketime', 'libfaketime.so.1')).find((path) => existsSync(path));
  return library === undefined
    ? { missing: 'libfaketime is not installed (Debian: apt-get install faketime)' }
    : { library };
}

/** What makes a process read its clock's offset from `file`, each time that it looks. */
export function faketimeEnvironment(library: string, file: string): Record<string, string> {
  return {
    LD_PRELOAD: library,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    NO_FAKE_STAT: '1',
  };
}
