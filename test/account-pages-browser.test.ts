import type { Browser, Cookie } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chromiumMissing, launchChromium } from './support/chromium.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { begin } from './support/login-client.ts';
import { faultsOf, looks } from './support/page-faults.ts';
import { PeopleProvider } from './support/people-provider.ts';

if (chromiumMissing) console.warn(`The pages of accounts are not tried in a browser: ${chromiumMissing}.`);

let browser: Browser;
let provider: PeopleProvider;
let gate: TestGate;
let session: Cookie[];

describe.skipIf(chromiumMissing !== null)('in Chromium', () => {
  beforeAll(async () => {
    browser = await launchChromium();
    provider = await PeopleProvider.start();
    gate = await startGate({ yaml: provider.section() });
    provider.register([gate.url]);
    provider.here = {
      sub: 'ada',
      email: 'ada@example.com',
      email_verified: true,
      name: `Ada ${'Lovelace'.repeat(12)}`,
      groups: ['engineers'],
    };
    session = await signIn();
  });
  afterAll(async () => {
    await browser?.close();
    await gate?.stop();
    await provider?.close();
  });

  async function signIn(): Promise<Cookie[]> {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`${gate.url}/account`);
    await page.getByRole('button', { name: 'Sign in with Test SSO' }).click();
    await page.waitForURL(`${gate.url}/account`);
    const cookies = await context.cookies();
    await context.close();
    return cookies;
  }

  it.each(looks)(
    'no page has a violation of axe or of its policy, an error, or scrolls sideways (%s)',
    async (_, look) => {
      const asked = await begin(gate, { client_name: 'x'.repeat(80) });
      expect(await faultsOf(browser, `${gate.url}/sign-in`, look)).toEqual([]);
      for (const url of [`${gate.url}/account`, asked.verification_uri, asked.verification_uri_complete])
        expect(await faultsOf(browser, url, look, session), url).toEqual([]);
      // Of what is missing a browser itself says that it is.
      expect(await faultsOf(browser, `${gate.url}/${'nowhere'.repeat(100)}`, look)).toEqual([
        expect.stringMatching(/^console: Failed to load resource: .* 404/),
      ]);
    },
    180_000,
  );
});
