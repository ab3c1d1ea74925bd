import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium';

/** Why there is no browser to try things in; null where there is one. Under REQUIRE_ALL there must be. */
export const chromiumMissing: string | null =
  existsSync(executablePath) || process.env['REQUIRE_ALL'] === '1' ? null : `${executablePath} is not installed`;

/** A real browser without a window. */
export function launchChromium(): Promise<Browser> {
  return chromium.launch({ executablePath, args: ['--no-sandbox'] });
}
