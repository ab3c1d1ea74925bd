/** `npm run check`: everything that must hold besides the tests. Runs all checks, and fails if one did. */
import { spawnSync } from 'node:child_process';

const checks: readonly (readonly [name: string, command: string, ...args: string[]])[] = [
  ['types', 'tsc'],
  ['lint and import directions', 'oxlint', '--deny-warnings'],
  ['format', 'oxfmt', '--check', '.'],
  ['unused code', 'knip'],
  ['contract', 'buf', 'lint'],
  // Against the contract as it was last released. A release renews it:
  // `buf build --exclude-source-info --as-file-descriptor-set -o proto/baseline.binpb`.
  ['contract keeps its promises', 'buf', 'breaking', '--against', 'proto/baseline.binpb'],
  ['generated files', 'node', 'scripts/drift.ts'],
  ['client package', 'node', 'scripts/client-package.ts'],
];

const failed = checks.filter(([name, command, ...args]) => {
  const began = performance.now();
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  const ok = status === 0 && !error;
  console.log(`${ok ? 'ok  ' : 'FAIL'}  ${name.padEnd(28)} ${((performance.now() - began) / 1000).toFixed(1)} s`);
  if (!ok) console.log(`${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}`);
  return !ok;
});
process.exitCode = failed.length > 0 ? 1 : 0;
