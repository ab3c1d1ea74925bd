import { randomBytes } from 'node:crypto';
import { chmodSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

const credentials = z.object({ url: z.string(), admin_key: z.string(), agent_key: z.string() });

/** Where a local gate is, and the keys of its first start. */
export type Credentials = z.infer<typeof credentials>;

export function credentialsPath(dataDir: string): string {
  return join(dataDir, 'credentials.json');
}

/** The file's content, or null when there is none that can be read. */
export function readCredentials(dataDir: string): Credentials | null {
  try {
    return credentials.parse(JSON.parse(readFileSync(credentialsPath(dataDir), 'utf8')));
  } catch {
    return null;
  }
}

/** Writes the file, readable by its owner alone, at once or not at all. */
export function writeCredentials(dataDir: string, content: Credentials): void {
  const path = credentialsPath(dataDir);
  const draft = `${path}.${randomBytes(4).toString('hex')}`;
  writeFileSync(draft, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600, flag: 'wx' });
  chmodSync(draft, 0o600);
  renameSync(draft, path);
}
