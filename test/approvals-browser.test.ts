import type { Browser, BrowserContext, Cookie, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ApprovalDesk, type Approver, newHitlSecret } from './support/approvals.ts';
import { chromiumMissing, launchChromium } from './support/chromium.ts';
import { faultsOf, looks } from './support/page-faults.ts';

if (chromiumMissing) console.warn(`The pages of approvals are not tried in a browser: ${chromiumMissing}.`);

let browser: Browser;
let desk: ApprovalDesk;
let ada: Approver;
let context: BrowserContext | undefined;

const long = {
  summary: `Publish “${'Unbreakable'.repeat(20)}” \u202e to the channel`,
  diff: `--- before\n+++ after\n-title: ${'old'.repeat(80)}\n+title: new\n unchanged`,
  argumentsJson: JSON.stringify({
    title: 'x'.repeat(300),
    tags: ['a\u202eb', 'c'],
    nested: { deep: { deeper: [1, 2, 3] } },
  }),
};

describe.skipIf(chromiumMissing !== null)('in Chromium', () => {
  beforeAll(async () => {
    browser = await launchChromium();
    desk = await ApprovalDesk.open({ HITL_SECRET: newHitlSecret() });
    ada = await desk.approver();
  }, 120_000);
  afterEach(async () => {
    await context?.close();
    context = undefined;
  });
  afterAll(async () => {
    await browser?.close();
    await desk?.close();
  });

  /** A browser that was never here. */
  async function visit(url: string): Promise<{ page: Page; told: string[]; asked: string[] }> {
    context = await browser.newContext();
    const page = await context.newPage();
    const told: string[] = [];
    const asked: string[] = [];
    page.on('console', (message) => told.push(message.text()));
    page.on('pageerror', (error) => told.push(error.message));
    page.on('request', (request) => {
      const { referer = '' } = request.headers();
      asked.push(`${new URL(request.url()).origin} ${referer}`);
    });
    await page.goto(url);
    return { page, told, asked };
  }

  function session(): Cookie[] {
    const value = ada.visitor.cookies.get(desk.gate.url)?.get('portcullis-session') ?? '';
    const more = {
      domain: '127.0.0.1',
      path: '/',
      expires: -1,
      httpOnly: true,
      secure: false,
      sameSite: 'Lax',
    } as const;
    return [{ name: 'portcullis-session', value, ...more }];
  }

  it('one opens a signed link, reads what is asked, and approves it, by keyboard alone and without an account', async () => {
    const { approval, link } = await desk.linked(ada, long);
    const { page, told, asked } = await visit(link.approvalUrl);
    expect(await page.getByRole('heading', { level: 1 }).innerText()).toBe('A gate of a run waits for you');
    expect(await page.getByRole('region', { name: 'Arguments' }).innerText()).toContain('"a\\u202eb"');
    expect(await page.getByText('+title: new').isVisible()).toBe(true);
    await page.getByRole('button', { name: 'Approve', exact: true }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Approved' }).waitFor();
    expect(await desk.state(approval.id)).toMatchObject({ state: 'APPROVAL_STATE_APPROVED' });
    // The token is in no address any more, and nobody was told of it.
    expect(page.url()).toBe(`${desk.gate.url}/v1/hitl/approve/${approval.id}`);
    expect(new Set(asked)).toEqual(new Set([`${desk.gate.url} `]));
    expect(told).toEqual([]);
    expect(await context?.cookies()).toEqual([]);
    // Back in the history is the page as it is now.
    await page.goBack();
    expect(await page.getByRole('alert').innerText()).toBe('This link was used already: it decides once.');
  });

  it('one rejects it with a reason, which the browser insists on', async () => {
    const { approval, link } = await desk.linked(ada);
    const { page } = await visit(link.approvalUrl);
    await page.getByRole('button', { name: 'Reject' }).click();
    expect(await page.evaluate('document.activeElement.id')).toBe('reason');
    await page.getByLabel('Why not').fill('Not like this');
    await page.getByRole('button', { name: 'Reject' }).click();
    await page.getByRole('heading', { name: 'Rejected' }).waitFor();
    expect(await desk.state(approval.id)).toMatchObject({ reason: 'Not like this' });
  });

  it('one edits what is asked for, as it is shown, and what one leaves is approved', async () => {
    const { approval, link } = await desk.linked(ada, { argumentsJson: '{"title":"a\\u202eb","count":3}' });
    const { page } = await visit(link.approvalUrl);
    await page.getByText('Approve it with other arguments').click();
    const text = page.getByRole('textbox', { name: 'Arguments' });
    expect(await text.inputValue()).toBe('{\n  "count": 3,\n  "title": "a\\u202eb"\n}');
    await text.fill((await text.inputValue()).replace('3', '4'));
    await page.getByRole('button', { name: 'Approve with these arguments' }).click();
    await page.getByRole('heading', { name: 'Approved with your arguments' }).waitFor();
    const now = await desk.state(approval.id);
    expect(JSON.parse(now.editedWhatJson ?? '')).toMatchObject({ arguments: { title: 'a\u202eb', count: 4 } });
  });

  it('a link to what is grave leads to sign in, and back to where it is decided', async () => {
    const { approval, link } = await desk.linked(ada, { risk: 'APPROVAL_RISK_HIGH' });
    const { page } = await visit(link.approvalUrl);
    expect(await page.getByRole('button').count()).toBe(0);
    desk.provider.here = {
      sub: 'approver-1',
      email: ada.email,
      email_verified: true,
      name: 'Ada',
      groups: ['approvers'],
    };
    await page.getByRole('link', { name: 'Sign in to decide' }).click();
    await page.getByRole('button', { name: 'Sign in with Test SSO' }).click();
    await page.waitForURL(`${desk.gate.url}/approvals/${approval.id}`);
    // The provider knew somebody still, perhaps: this takes more.
    await page.getByRole('link', { name: 'Sign in anew to decide' }).click();
    await page.getByRole('button', { name: 'Sign in with Test SSO' }).click();
    await page.waitForURL(`${desk.gate.url}/approvals/${approval.id}`);
    await page.getByRole('button', { name: 'Approve', exact: true }).click();
    await page.getByRole('heading', { name: 'Approved' }).waitFor();
    expect(await desk.state(approval.id)).toMatchObject({ state: 'APPROVAL_STATE_APPROVED' });
    await page.getByRole('link', { name: 'To what waits' }).click();
    await page.waitForURL(`${desk.gate.url}/approvals`);
  });

  it.each(looks)(
    'no page has a violation of axe or of its policy, an error, or scrolls sideways (%s)',
    async (_, look) => {
      const { approval, link } = await desk.linked(ada, long);
      const grave = await desk.linked(ada, { ...long, risk: 'APPROVAL_RISK_HIGH' });
      expect(await faultsOf(browser, link.approvalUrl, look)).toEqual([]);
      expect(await faultsOf(browser, grave.link.approvalUrl, look)).toEqual([]);
      for (const path of ['/approvals', `/approvals/${approval.id}`, `/approvals/${grave.approval.id}`])
        expect(await faultsOf(browser, desk.gate.url + path, look, session()), path).toEqual([]);
      expect(await faultsOf(browser, `${desk.gate.url}/sign-in?anew=1`, look, session())).toEqual([]);
      const shot = process.env['SCREENSHOTS'];
      if (shot === undefined) return;
      context = await browser.newContext(look);
      await context.addCookies(session());
      const page = await context.newPage();
      const urls = [link.approvalUrl, grave.link.approvalUrl, `${desk.gate.url}/approvals`];
      for (const [at, url] of urls.entries()) {
        await page.goto(url);
        for (const summary of await page.locator('summary').all()) await summary.click();
        await page.screenshot({ path: `${shot}/${_.replace(', ', '-')}-${at}.png`, fullPage: true });
      }
    },
    240_000,
  );
});
