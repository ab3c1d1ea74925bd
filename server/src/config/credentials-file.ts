import { randomBytes } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
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

/**
 * Keeps the address, with the keys that were issued now or else those that were known.
 * @returns what the file now says; null when no keys are known
 */
export function keepCredentials(
  dataDir: string,
  url: string,
  known: Credentials | null,
  issued: { readonly adminKey: string; readonly agentKey: string } | null,
): Credentials | null {
  const keys = issued ? { admin_key: issued.adminKey, agent_key: issued.agentKey } : known;
  if (!keys) return null;
  const content = { url, admin_key: keys.admin_key, agent_key: keys.agent_key };
  write(credentialsPath(dataDir), content);
  return content;
}

/** Readable by its owner alone, and written at once or not at all. */
function write(path: string, content: Credentials): void {
  const draft = `${path}.${randomBytes(4).toString('hex')}`;
  writeFileSync(draft, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600, flag: 'wx' });
  renameSync(draft, path);
}
