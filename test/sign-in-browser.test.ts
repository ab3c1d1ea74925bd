import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { chromiumMissing, launchChromium } from './support/chromium.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { PeopleProvider } from './support/people-provider.ts';

if (chromiumMissing) console.warn(`Signing in is not tried in a browser: ${chromiumMissing}.`);

let browser: Browser;
let provider: PeopleProvider;
let gate: TestGate;
let context: BrowserContext | undefined;

describe.skipIf(chromiumMissing !== null)('in Chromium', () => {
  beforeAll(async () => {
    browser = await launchChromium();
    provider = await PeopleProvider.start();
    gate = await startGate({ yaml: provider.section() });
    provider.register([gate.url]);
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

  async function open(path: string, options: Parameters<Browser['newContext']>[0] = {}): Promise<Page> {
    context = await browser.newContext(options);
    const page = await context.newPage();
    await page.goto(gate.url + path);
    return page;
  }

  async function signInByKey(path = '/sign-in'): Promise<Page> {
    const page = await open(path);
    await page.getByLabel('API key').fill(gate.adminKey);
    await page.getByRole('button', { name: 'Sign in with key' }).click();
    await page.waitForURL(`${gate.url}/account`);
    return page;
  }

  const sessionsNow = () => gate.api<{ sessions: object[] }>('ProjectService/ListSessions').then((all) => all.sessions);

  it('one signs in with a key, by keyboard alone, sees where one is signed in, and signs out', async () => {
    const page = await open('/account');
    expect(page.url()).toBe(`${gate.url}/sign-in?return_to=%2Faccount`);
    for (const focused of ['Skip to content', 'Portcullis', 'Sign in with Test SSO']) {
      await page.keyboard.press('Tab');
      expect(await page.evaluate('document.activeElement.innerText')).toBe(focused);
    }
    await page.keyboard.press('Tab');
    await page.keyboard.type(gate.adminKey);
    await page.keyboard.press('Enter');
    await page.waitForURL(`${gate.url}/account`);
    expect(await page.getByRole('heading', { name: 'Your account' }).isVisible()).toBe(true);
    expect(await page.getByText('This browser.').isVisible()).toBe(true);
    const [cookie] = (await context?.cookies()) ?? [];
    expect(cookie).toMatchObject({
      name: 'portcullis-session',
      httpOnly: true,
      secure: false,
      sameSite: 'Lax',
      path: '/',
    });
    expect(await page.evaluate('document.cookie')).toBe('');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.waitForURL(`${gate.url}/sign-in`);
    expect(await context?.cookies()).toEqual([]);
    await page.goto(`${gate.url}/account`);
    expect(page.url()).toContain('/sign-in?');
  });

  it('a wrong key is told in words that a screen reader reads out', async () => {
    const page = await open('/sign-in');
    await page.getByLabel('API key').fill('wrong');
    await page.getByRole('button', { name: 'Sign in with key' }).click();
    expect(await page.getByRole('alert').innerText()).toBe('This key does not hold, or is not for signing in.');
    expect(await page.getByLabel('API key').getAttribute('aria-invalid')).toBe('true');
    expect(await page.title()).toMatch(/^Error: /);
  });

  it('one signs in through the identity provider, which is another site, and comes back to where one was', async () => {
    provider.here = {
      sub: 'chromium',
      email: 'chromium@example.com',
      email_verified: true,
      name: `<script>alert(1)</script>"'><img src=x onerror=alert(2)>`,
      groups: ['engineers', '<b>bold</b>'],
    };
    const page = await open('/account?tab=1');
    const told: string[] = [];
    page.on('dialog', (dialog) => void dialog.dismiss().then(() => told.push('dialog')));
    page.on('console', (message) => told.push(message.text()));
    await page.getByRole('button', { name: 'Sign in with Test SSO' }).click();
    await page.waitForURL(`${gate.url}/account?tab=1`);
    // What people and groups are called is text, and stays text.
    expect(await page.getByRole('heading', { level: 2 }).first().innerText()).toContain('<script>alert(1)</script>');
    expect(await page.locator('main img, main script, main b').count()).toBe(0);
    expect(await page.getByText('<img src=x onerror=alert(1)>').isVisible()).toBe(true);
    expect(told).toEqual([]);
  });

  it.each<[string, Parameters<Browser['newContext']>[0]]>([
    ['a phone', { viewport: { width: 360, height: 740 }, colorScheme: 'dark' }],
    ['a desktop', { viewport: { width: 1280, height: 800 }, colorScheme: 'light' }],
  ])('nothing is cut off, too small or too pale on %s', async (_device, options) => {
    const page = await open('/sign-in', options);
    await page.getByLabel('API key').fill(gate.adminKey);
    for (const path of ['/sign-in', '/account']) {
      if (path === '/account') await page.getByRole('button', { name: 'Sign in with key' }).click();
      await page.waitForURL(gate.url + path);
      expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
      for (const button of await page.getByRole('button').all())
        expect((await button.boundingBox())?.height).toBeGreaterThanOrEqual(44);
      expect(await page.evaluate(leastContrast)).toBeGreaterThanOrEqual(4.5);
    }
  });

  describe('another page', () => {
    const servers: Server[] = [];
    afterAll(() => servers.forEach((server) => server.close()));

    /** A page of somebody else's; on 127.0.0.1 it is the same site as the gate, so that its cookie goes along. */
    async function pageElsewhere(host: 'localhost' | '127.0.0.1', markup: string): Promise<string> {
      const server = createServer((_request, response) => {
        response.setHeader('content-type', 'text/html');
        response.end(`<!doctype html><body>${markup}`);
      });
      server.listen(0, host);
      await once(server, 'listening');
      servers.push(server);
      return `http://${host}:${(server.address() as AddressInfo).port}/`;
    }

    const form = (path: string, fields = '') =>
      `<form method="post" action="${gate.url}${path}">${fields}</form><script>document.forms[0].submit()</script>`;

    it.each(['localhost', '127.0.0.1'] as const)(
      'on %s does nothing in a session, by form or by script',
      async (host) => {
        const page = await signInByKey();
        const before = await sessionsNow();
        for (const path of ['/sign-out', '/account/sessions/end', '/sign-in', '/sign-in/start']) {
          const answered = page.waitForResponse((response) => response.url() === gate.url + path);
          await page.goto(await pageElsewhere(host, form(path, '<input name="csrf" value="x">')));
          expect((await answered).status()).toBe(403);
        }
        await page.goto(await pageElsewhere(host, ''));
        for (const type of ['application/json', 'text/plain', 'application/x-www-form-urlencoded']) {
          const ask = `fetch('${gate.url}/portcullis.v1.ProjectService/CreateTeam', {
          method: 'POST', credentials: 'include', mode: '${type === 'application/json' ? 'cors' : 'no-cors'}',
          headers: { 'content-type': '${type}' }, body: '{"name":"attack"}',
        }).then((answer) => answer.type, () => 'failed')`;
          expect(['failed', 'opaque']).toContain(await page.evaluate(ask));
        }
        expect(await gate.api('ProjectService/ListTeams')).not.toMatchObject({ teams: [{ name: 'attack' }] });
        expect(await sessionsNow()).toHaveLength(before.length);
        await page.goto(`${gate.url}/account`);
        expect(page.url()).toBe(`${gate.url}/account`);
      },
    );

    it('cannot frame ours', async () => {
      const page = await signInByKey();
      await page.goto(await pageElsewhere('127.0.0.1', `<iframe src="${gate.url}/account"></iframe>`));
      await page.waitForLoadState('networkidle');
      const frame = page.frames().find((each) => each !== page.mainFrame());
      expect(await frame?.getByText('Your account').count()).toBe(0);
    });

    it('of ours calls the API with the token that it has', async () => {
      const page = await signInByKey();
      const csrf = await page.locator('input[name=csrf]').first().inputValue();
      const ask = (token: string) =>
        page.evaluate(`fetch('/portcullis.v1.SystemService/GetSelf', {
          method: 'POST', headers: { 'content-type': 'application/json', 'x-portcullis-csrf': '${token}' }, body: '{}',
        }).then((answer) => answer.status)`);
      // Our own pages let no script connect anywhere, ours included: the dashboard will say what its own may.
      await expect(ask(csrf)).rejects.toThrow('Failed to fetch');
      await page.route(`${gate.url}/account`, async (route) => {
        const response = await route.fetch();
        const { 'content-security-policy': _, ...headers } = response.headers();
        await route.fulfill({ response, headers });
      });
      await page.goto(`${gate.url}/account`);
      expect([await ask(csrf), await ask('x')]).toEqual([200, 403]);
    });
  });
});

/** The least contrast of any text on the page with what is behind it (WCAG 2.2, 1.4.3). */
const leastContrast = `(() => {
  const luminance = ([r, g, b]) => {
    const part = (v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = numbers(getComputedStyle(at).backgroundColor);
      if (color[3] !== 0) return color;
    }
    return [255, 255, 255];
  };
  let least = 21;
  for (const element of document.querySelectorAll('body *')) {
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== '')) continue;
    const [one, other] = [luminance(numbers(getComputedStyle(element).color)), luminance(behind(element))];
    least = Math.min(least, (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05));
  }
  return least;
})()`;
