import Anthropic from '@anthropic-ai/sdk';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Minted, newHitlSecret } from './support/approvals.ts';
import { chromiumMissing, launchChromium } from './support/chromium.ts';
import { bearer, fromNewAddress } from './support/doors.ts';
import type { TestGate } from './support/gate.ts';
import { approvalRule, approverKey, nextPendingWith, putRules } from './support/held-calls.ts';
import { startGateWithMock } from './support/models.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';

if (chromiumMissing) console.warn(`A held call is not approved in a browser: ${chromiumMissing}.`);

let browser: Browser;
let gate: TestGate;
let mock: MockUpstream;
let stop: (() => Promise<void>) | undefined;
let ann: string;
let agent: string;

describe.skipIf(chromiumMissing !== null)('a model call that a rule holds', () => {
  beforeAll(async () => {
    browser = await launchChromium();
    ({ gate, mock, stop } = await startGateWithMock({
      env: { APPROVAL_WAIT_MS: '120000', HITL_SECRET: newHitlSecret(), TRUSTED_PROXIES: '127.0.0.1' },
    }));
    ann = await approverKey(gate, 'ann');
    ({ secret: agent } = await gate.agent('asker'));
    await putRules(gate, [approvalRule('ask people', `resource.name.startsWith('claude-ask')`)]);
  }, 120_000);
  afterAll(async () => {
    await browser?.close();
    await stop?.();
  });

  /** Calls in a run, as the official SDK does, until somebody opened a link to it. */
  async function held(text: string) {
    const { run } = await gate.api<{ run: { id: string } }>('RunService/StartRun', { workflow: 'videos' }, agent);
    const anthropic = new Anthropic({
      baseURL: gate.url,
      apiKey: agent,
      maxRetries: 0,
      defaultHeaders: { 'x-portcullis-run': run.id },
    });
    const body = { model: 'claude-ask', max_tokens: 50, messages: [{ role: 'user' as const, content: text }] };
    const answer = anthropic.messages.create(body).then(
      (message) => message.content.map((block) => (block.type === 'text' ? block.text : '')).join(''),
      (error: unknown) => error,
    );
    const approval = await nextPendingWith(gate, ann, text);
    const minted = await fetch(`${gate.url}/v1/hitl/link/${run.id}/${approval.id}`, {
      method: 'POST',
      headers: { ...bearer(ann), ...fromNewAddress() },
    });
    const { approvalUrl } = (await minted.json()) as Minted;
    const page = await (await browser.newContext()).newPage();
    await page.goto(approvalUrl);
    return { page, answer };
  }

  const sent = async () => (await mock.requests()).map(({ body }) => body?.toString() ?? '');

  it('is answered in its client when a person opened the link, read what is asked, and approved it', async () => {
    await mock.reset();
    const { page, answer } = await held('Tell me about gates');
    expect(await page.getByRole('heading', { level: 1 }).innerText()).toBe('A model call waits for you');
    expect(await page.getByRole('region', { name: 'Arguments' }).innerText()).toContain('Tell me about gates');
    expect(await sent()).toEqual([]);
    await page.getByRole('button', { name: 'Approve', exact: true }).click();
    await page.getByRole('heading', { name: 'Approved' }).waitFor();
    expect(await answer).toEqual(expect.stringMatching(/./));
    expect(await sent()).toEqual([expect.stringContaining('Tell me about gates')]);
    await page.context().close();
  });

  it('runs with what the person made of it', async () => {
    await mock.reset();
    const { page, answer } = await held('Delete everything');
    await page.getByText('Approve it with other arguments').click();
    const text = page.getByRole('textbox', { name: 'Arguments' });
    await text.fill((await text.inputValue()).replace('Delete everything', 'Delete nothing'));
    await page.getByRole('button', { name: 'Approve with these arguments' }).click();
    await page.getByRole('heading', { name: 'Approved with your arguments' }).waitFor();
    expect(await answer).toEqual(expect.stringMatching(/./));
    expect(await sent()).toEqual([expect.stringContaining('Delete nothing')]);
    await page.context().close();
  });

  it('is refused in its client with the words of who rejected it', async () => {
    await mock.reset();
    const { page, answer } = await held('Publish it now');
    await page.getByLabel('Why not').fill('Not before Monday');
    await page.getByRole('button', { name: 'Reject' }).click();
    await page.getByRole('heading', { name: 'Rejected' }).waitFor();
    expect(await answer).toBeInstanceOf(Anthropic.PermissionDeniedError);
    expect(String(await answer)).toContain('Not before Monday');
    expect(await sent()).toEqual([]);
    await page.context().close();
  });
});
