/** Fails when a generated file is not what its source makes of it: reference pages, `.env.example`, code from `proto/`. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { referencePages } from '../server/src/cli/docs.ts';
import { conformancePage } from '../test/conformance/page.ts';
import { openApiPage } from './openapi/document.ts';

const stale: string[] = [];

for (const { path, text } of [...(await referencePages()), conformancePage(), openApiPage()]) {
  if (readOrEmpty(path) !== text) stale.push(path);
}

const scratch = mkdtempSync(join(tmpdir(), 'portcullis-gen-'));
try {
  for (const source of ['proto', 'buf.yaml', 'buf.gen.yaml'])
    cpSync(source, join(scratch, source), { recursive: true });
  const generated = spawnSync('buf', ['generate'], { cwd: scratch, encoding: 'utf8' });
  if (generated.status !== 0) stale.push(`buf generate failed: ${generated.stderr}`);
  for (const folder of ['server/src/gen', 'client/src/gen']) {
    for (const name of new Set([...filesIn(folder), ...filesIn(join(scratch, folder))])) {
      if (readOrEmpty(join(folder, name)) !== readOrEmpty(join(scratch, folder, name))) stale.push(join(folder, name));
    }
  }
} finally {
  rmSync(scratch, { recursive: true });
}

for (const path of stale) console.error(`${path} is stale: run \`npm run gen\`.`);
process.exitCode = stale.length > 0 ? 1 : 0;

function filesIn(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => relative(folder, join(parentPath, name)));
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
