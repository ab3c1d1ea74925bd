import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { attemptsMax, provisionalPerAgentDayMax, runsRunningPerAgentMax } from '../server/src/base/limits.ts';
import * as bounds from '../server/src/base/telemetry-limits.ts';
import { startGate, type TestGate } from './support/gate.ts';

/** docs/runs.md says what works: its commands are run in their order, as they stand. */

const root = resolve(import.meta.dirname, '..');
const page = readFileSync(join(root, 'docs/runs.md'), 'utf8');
const blocks = [...page.matchAll(/^```sh\n(.*?)^```/gms)].map(([, block]) => block);
const folder = mkdtempSync(join(tmpdir(), 'portcullis-docs-'));
let gate: TestGate | undefined;

afterAll(async () => {
  await gate?.stop();
  rmSync(folder, { recursive: true, force: true });
});

test('docs/runs.md starts a run, tells of it, ends it and watches it', async ({ skip }) => {
  skip(spawnSync('bash', ['--version']).error !== undefined && process.env['REQUIRE_ALL'] !== '1', 'no bash');
  gate = await startGate();
  await gate.agent('builder');
  const portcullis = join(folder, 'portcullis');
  writeFileSync(portcullis, `#!/bin/sh\nexec ${process.execPath} ${join(root, 'server/src/main.ts')} "$@"\n`);
  chmodSync(portcullis, 0o755);
  const { status, stdout, stderr } = spawnSync('bash', ['-euo', 'pipefail', '-c', blocks.join('')], {
    env: {
      PATH: `${folder}${delimiter}${process.env['PATH']}`,
      PORTCULLIS_URL: gate.url,
      PORTCULLIS_KEY: gate.adminKey,
    },
  });
  expect(status, `${String(stdout)}${String(stderr)}`).toBe(0);
  for (const told of ['2 at most, of each call', 'no such file', 'issue-17', 'nothing found', /failed {2}gave up/])
    expect(String(stdout)).toMatch(told);
});

test('docs/runs.md names the bounds that there are', () => {
  const number = (count: number) => count.toLocaleString('en');
  for (const told of [
    `from 0 to ${attemptsMax - 1}`,
    `running runs of an agent +\\| ${number(runsRunningPerAgentMax)}`,
    `${bounds.runSummaryCharsMax} and ${number(bounds.runErrorCharsMax)} characters`,
    `${number(bounds.eventsPerRunMax)} and ${number(bounds.eventsPerBatchMax)}`,
    `${bounds.eventMessageBytesMax / 1024} KiB, and ${bounds.eventDataBytesMax / 1024} KiB of ${bounds.eventDataDepthMax} levels`,
    `${bounds.eventAgeMsMax / 86_400_000} days ago, a day before its run, ${bounds.eventSkewMs / 60_000} minutes ahead`,
    `${bounds.runWatchesPerCallerMax} and ${bounds.runWatchesMax}; above that 429`,
    `${number(provisionalPerAgentDayMax)} a day and agent`,
    `${number(bounds.eventsLookedAtMax)} events and ${bounds.eventPageBytesMax / 1024} KiB a page`,
  ])
    expect(page).toMatch(new RegExp(told));
});
