/** Builds and packs the client package, and fails when its tarball is not what every resolver of modules and types understands. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { must, packClient } from '../test/support/client-package.ts';

const folder = mkdtempSync(join(tmpdir(), 'portcullis-client-'));
try {
  const tarball = packClient(folder);
  must('publint', ['run', tarball, '--strict']);
  // CommonJS reaches it by `import()`, and by `require` where Node can do that with modules.
  must('attw', [tarball, '--profile', 'esm-only']);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true });
}
