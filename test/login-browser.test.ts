import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { chromiumMissing, launchChromium } from './support/chromium.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { begin, poll } from './support/login-client.ts';
import { PeopleProvider } from './support/people-provider.ts';

if (chromiumMissing) console.warn(`Logging in is not tried in a browser: ${chromiumMissing}.`);

let browser: Browser;
let provider: PeopleProvider;
let gate: TestGate;
let context: BrowserContext | undefined;

describe.skipIf(chromiumMissing !== null)('in Chromium', () => {
  beforeAll(async () => {
    browser = await launchChromium();
    provider = await PeopleProvider.start();
    gate = await startGate({ yaml: provider.section(), env: { TRUSTED_PROXIES: '127.0.0.1' } });
    provider.register([gate.url]);
    provider.here = { sub: 'ada', email: 'ada@example.com', email_verified: true, name: 'Ada', groups: ['engineers'] };
  });
  afterEach(async () => {
    await context?.close();
    context = undefined;
  });
  afterAll(async () => {
    await browser?.close();
    await gate?.stop();
    await provider?.close();
  });

  /** Opens an address of ours as somebody who must sign in first. */
  async function open(url: string, options: Parameters<Browser['newContext']>[0] = {}): Promise<Page> {
    context = await browser.newContext(options);
    const page = await context.newPage();
    await page.goto(url);
    await page.getByRole('button', { name: 'Sign in with Test SSO' }).click();
    await page.waitForURL(url);
    return page;
  }

  it('one follows the link of the terminal, signs in, compares the code and confirms, by keyboard alone', async () => {
    const asked = await begin(gate);
    const page = await open(asked.verification_uri_complete);
    expect(await page.getByRole('heading', { level: 1 }).innerText()).toBe('Is this your terminal?');
    expect(await page.getByRole('heading', { level: 2 }).innerText()).toBe(asked.user_code);
    expect(await page.getByText('Continue only if your own terminal shows this very code.').isVisible()).toBe(true);
    expect(await page.getByText(/if somebody sent you here/i).isVisible()).toBe(true);
    await page.getByRole('button', { name: 'It is mine: log it in' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Logged in' }).waitFor();
    expect(page.url()).toBe(`${gate.url}/device`);
    const { status, json } = await poll(gate, asked.device_code);
    expect([status, json.token_type]).toEqual([200, 'Bearer']);
    await page.getByRole('link', { name: 'your account' }).click();
    const login = page.getByRole('region', { name: 'Where you are logged in with portcullis login' });
    expect(await login.getByText('a test').first().isVisible()).toBe(true);
    await login.getByRole('button', { name: 'End' }).click();
    await expect.poll(() => login.count()).toBe(0);
  });

  it('one types the code, is told when it is wrong, and denies what is not theirs', async () => {
    const asked = await begin(gate);
    const page = await open(`${gate.url}/device`);
    await page.getByLabel('Code').fill('bbbb-bbbb');
    await page.keyboard.press('Enter');
    expect(await page.getByRole('alert').innerText()).toContain('No login waits under this code');
    await page.getByLabel('Code').fill(asked.user_code.toLowerCase());
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Deny' }).click();
    await page.getByRole('heading', { name: 'Denied' }).waitFor();
    expect((await poll(gate, asked.device_code)).json.error).toBe('access_denied');
  });

  it('what asks may call itself anything: it stays text', async () => {
    const name = `"><script>alert(1)</script><img src=x onerror=alert(2)>'&lt;`;
    const asked = await begin(gate, { client_name: name });
    const told: string[] = [];
    const page = await open(asked.verification_uri_complete);
    page.on('dialog', (dialog) => void dialog.dismiss().then(() => told.push('dialog')));
    page.on('console', (message) => told.push(message.text()));
    expect(await page.getByText(name, { exact: true }).isVisible()).toBe(true);
    await page.getByRole('button', { name: 'It is mine: log it in' }).click();
    await page.getByRole('heading', { name: 'Logged in' }).waitFor();
    await poll(gate, asked.device_code);
    await page.goto(`${gate.url}/account`);
    expect(await page.getByText(name, { exact: true }).first().isVisible()).toBe(true);
    expect(await page.locator('main img, main script').count()).toBe(0);
    expect(told).toEqual([]);
  });

  it.each<[string, Parameters<Browser['newContext']>[0]]>([
    ['a phone', { viewport: { width: 360, height: 740 }, colorScheme: 'dark' }],
    ['a desktop', { viewport: { width: 1280, height: 800 }, colorScheme: 'light' }],
  ])('nothing is cut off or too small on %s', async (_device, options) => {
    const asked = await begin(gate, { client_name: 'x'.repeat(80) });
    const page = await open(asked.verification_uri_complete, options);
    for (const url of [asked.verification_uri_complete, asked.verification_uri]) {
      await page.goto(url);
      expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
      for (const button of await page.getByRole('button').all())
        expect((await button.boundingBox())?.height).toBeGreaterThanOrEqual(44);
    }
  });
});
