import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const repository = resolve(import.meta.dirname, '../..');
const client = join(repository, 'client');

/** Runs a program of the repository's that must succeed. @throws Error with what it wrote */
export function must(command: string, args: readonly string[], cwd: string = repository): string {
  const PATH = `${join(repository, 'node_modules/.bin')}:${process.env['PATH'] ?? ''}`;
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, PATH },
  });
  if (status === 0) return stdout;
  throw new Error(`${command} ${args.join(' ')} failed: ${error?.message ?? `${stdout}${stderr}`}`);
}

/** Builds the client package and packs it, as `npm publish` would, in a folder. @returns the tarball */
export function packClient(folder: string): string {
  const built = join(folder, 'package');
  mkdirSync(built, { recursive: true });
  must('tsc', ['-p', join(client, 'tsconfig.json'), '--outDir', join(built, 'dist')]);
  for (const file of ['package.json', 'README.md', 'LICENSE']) cpSync(join(client, file), join(built, file));
  must('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], built);
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'));
  if (tarball === undefined) throw new Error(`npm pack left no tarball in ${folder}`);
  return join(folder, tarball);
}

/** Makes a project that has the packed client package, and nothing else, installed. @returns the tarball */
export function installClient(project: string): string {
  const packed = join(project, 'packed');
  mkdirSync(packed);
  const tarball = packClient(packed);
  // Its dependencies are the ones of this repository, so that no registry is asked.
  const dependencies = Object.fromEntries(
    ['@bufbuild/protobuf', '@connectrpc/connect'].map((name) => [
      name,
      `file:${join(repository, 'node_modules', name)}`,
    ]),
  );
  const manifest = {
    private: true,
    type: 'module',
    dependencies: { '@portcullis/client': `file:${tarball}`, ...dependencies },
    overrides: dependencies,
  };
  writeFileSync(join(project, 'package.json'), JSON.stringify(manifest));
  must('npm', ['install', '--offline', '--no-audit', '--no-fund', '--install-links', '--ignore-scripts'], project);
  return tarball;
}
