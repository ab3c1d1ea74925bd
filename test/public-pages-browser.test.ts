import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { foreign } from '../server/src/http/pages/foreign.ts';
import { html } from '../server/src/http/pages/html.ts';
import type { PublicBoard } from '../server/src/telemetry/leaderboard/public-board.ts';
import { chromiumMissing, launchChromium } from './support/chromium.ts';
import { faultsOf, type Look, looks } from './support/page-faults.ts';
import {
  bidi,
  emptyBoard,
  filledBoard,
  hostileBoard,
  longWord,
  manyBoard,
  markup,
  openPublicSite,
  type PublicSite,
  terminal,
  thinBoard,
} from './support/public-pages.ts';

if (chromiumMissing) console.warn(`The public pages are not tried in a browser: ${chromiumMissing}.`);

let browser: Browser;
let site: PublicSite;

const pages: readonly (readonly [name: string, path: string, board: PublicBoard])[] = [
  ['the landing page', '/', filledBoard],
  ['the landing page where nothing is published', '/', emptyBoard],
  ['a leaderboard', '/leaderboard', filledBoard],
  ['one workflow', '/leaderboard?workflow=Triage%20of%20issues', filledBoard],
  ['a leaderboard of many workflows', '/leaderboard', manyBoard],
  ['an empty leaderboard', '/leaderboard', emptyBoard],
  ['a leaderboard without enough data', '/leaderboard', thinBoard],
  ['a leaderboard of hostile texts', '/leaderboard', hostileBoard],
];

describe.skipIf(chromiumMissing !== null)('in Chromium', () => {
  beforeAll(async () => {
    browser = await launchChromium();
    site = await openPublicSite();
  });
  afterAll(async () => {
    await browser?.close();
    await site?.close();
  });

  async function open(path: string, board: PublicBoard, look?: Look): Promise<Page> {
    site.show(board);
    const page = await browser.newPage(look);
    await page.goto(site.url + path);
    return page;
  }

  const cases = pages.flatMap(([name, path, board]) =>
    looks.map(([how, look]) => [name, how, path, board, look] as const),
  );

  it.each(cases)(
    '%s has no violation of axe or of its policy, no error, and no scrolling sideways (%s)',
    async (_name, _how, path, board, look) => {
      site.show(board);
      expect(await faultsOf(browser, site.url + path, look)).toEqual([]);
    },
  );

  it('the landing page fits one screen of a laptop, and its sentence and commands one of a phone', async () => {
    for (const [, look] of looks) {
      const page = await open('/', filledBoard, look);
      const isPhone = look.viewport.width < 500;
      const last = isPhone ? page.getByText('portcullis run -- claude') : page.locator('.closing');
      const box = await last.boundingBox();
      expect((box?.y ?? Infinity) + (box?.height ?? 0)).toBeLessThanOrEqual(look.viewport.height);
      // One of the two drawings, and never both.
      expect(await page.getByRole('img').count()).toBe(1);
      await page.close();
    }
  });

  it('the landing page leads to the leaderboard where there is one, and to sign-in', async () => {
    const page = await open('/', filledBoard);
    await page.getByRole('link', { name: 'Leaderboard' }).click();
    await page.waitForURL(`${site.url}/leaderboard`);
    await page.getByRole('link', { name: 'Triage of issues' }).click();
    expect(await page.getByRole('heading', { level: 2 }).allInnerTexts()).toEqual([
      'Triage of issues',
      'How the score is made',
    ]);
    await page.getByRole('link', { name: 'Portcullis' }).click();
    await page.waitForURL(`${site.url}/`);
    expect(await page.getByRole('link', { name: 'Sign in' }).getAttribute('href')).toBe('/sign-in');
    site.show(emptyBoard);
    await page.reload();
    expect(await page.getByRole('link', { name: 'Leaderboard' }).count()).toBe(0);
    await page.close();
  });

  it('the theme follows the system', async () => {
    const grounds = new Set<string>();
    for (const [, look] of looks) {
      const page = await open('/leaderboard', filledBoard, look);
      grounds.add(await page.evaluate<string>('getComputedStyle(document.body).backgroundColor'));
      await page.close();
    }
    expect(grounds.size).toBe(2);
  });

  it.each(looks)('a screen reader is told a table, with what each cell is of (%s)', async (_how, look) => {
    const page = await open('/leaderboard', filledBoard, look);
    const table = page.getByRole('table', { name: 'Fix a failing test' });
    expect(await table.getByRole('columnheader').count()).toBe(10);
    const first = table.getByRole('row', { name: '2026-11 with tests first' });
    expect(await first.getByRole('rowheader').innerText()).toBe('2026-11 with tests first');
    expect(await first.getByRole('cell', { name: '89 % 95 % interval 84 to 92 %' }).count()).toBe(1);
    expect(await table.getByRole('row', { name: 'two reviewers' }).innerText()).toContain('not enough data');
    await page.close();
  });

  it('an interval is drawn where it is', async () => {
    const page = await open('/leaderboard', filledBoard);
    const success = page.getByRole('row', { name: 'short' }).locator('td.success');
    const [track, span] = [await success.locator('svg').boundingBox(), await success.locator('.span').boundingBox()];
    const from = ((span?.x ?? 0) - (track?.x ?? 0)) / (track?.width ?? 1);
    expect(from).toBeCloseTo(0.45, 2);
    expect(from + (span?.width ?? 0) / (track?.width ?? 1)).toBeCloseTo(0.69, 2);
    await page.close();
  });

  it('an interval is seen beside its mark, however narrow it is', async () => {
    const page = await open('/leaderboard', filledBoard);
    const success = page.getByRole('row', { name: 'v3' }).locator('td.success');
    const span = await success.locator('.span').boundingBox();
    expect(span?.width).toBeGreaterThanOrEqual(5);
    await page.close();
  });

  it.each([
    [1280, 10],
    [900, 7],
  ])('columns of all tables stand in line, and nothing leaves its cell (%d px wide)', async (width, columns) => {
    const page = await open('/leaderboard', filledBoard, { colorScheme: 'light', viewport: { width, height: 800 } });
    const edges = await page.evaluate<number[][]>(`[...document.querySelectorAll('table')].map((table) =>
      [...table.querySelectorAll('thead th')].map((cell) => cell.getBoundingClientRect())
        .filter((box) => box.width > 0).map((box) => Math.round(box.left)))`);
    expect(edges).toHaveLength(2);
    expect(edges[0]).toHaveLength(columns);
    expect(edges[1]).toEqual(edges[0]);
    const wide = await page.evaluate<string[]>(`[...document.querySelectorAll('table :is(th, td)')]
      .filter((cell) => cell.scrollWidth > cell.clientWidth).map((cell) => cell.textContent)`);
    expect(wide).toEqual([]);
    const lines = await page.evaluate<number[]>(`[...document.querySelectorAll('.unranked .score')].map((cell) => {
      const range = document.createRange();
      range.selectNodeContents(cell);
      return range.getClientRects().length;
    })`);
    expect(lines).toEqual([1, 1]);
    await page.close();
  });

  it('on a phone a card begins with rank, version and score beside each other', async () => {
    const page = await open('/leaderboard', filledBoard, {
      colorScheme: 'dark',
      viewport: { width: 360, height: 740 },
    });
    const row = page.getByRole('row', { name: '2026-11 with tests first' });
    const tops = await Promise.all(
      ['.rank', '.label', '.score'].map(async (one) => (await row.locator(one).boundingBox())?.y),
    );
    expect(new Set(tops.map((top) => Math.round(top ?? -1))).size).toBe(1);
    await page.close();
  });

  it('what titles and labels say stays text, and in its place', async () => {
    const page = await open('/leaderboard', hostileBoard);
    for (const text of [markup, longWord, '&amp;'])
      expect(await page.getByRole('heading', { level: 2, name: text, exact: true }).count()).toBe(1);
    expect(await page.locator('main script, main img, main [onerror]').count()).toBe(0);
    const texts = await page.evaluate<string[]>(
      `[...document.querySelectorAll('h2 bdi')].map((one) => one.textContent)`,
    );
    expect(texts).toContain(bidi);
    expect(texts).toContain(terminal);
    expect(await page.getByRole('heading', { level: 2, name: '(blank)', exact: true }).count()).toBe(1);
    await page.close();
  });

  it('overrides of direction turn nothing of ours around, not even in the same sentence', async () => {
    const page = await open('/leaderboard', filledBoard);
    // Ends what it was put into, and begins an override that nothing ends.
    const name = '\u2069\u2069\u202C\u202E\u2067\u202Ename\u202E';
    const sentence = html`<p>Here is “${foreign(name)}” and what we say of it.</p>`.text;
    await page.evaluate(`document.querySelector('main').innerHTML = ${JSON.stringify(sentence)}`);
    // Where the characters of our own words are drawn, from left to right.
    const lefts = await page.evaluate<number[]>(`[...document.querySelector('main p').childNodes]
      .filter((node) => node.nodeType === Node.TEXT_NODE)
      .flatMap((node) => [...node.data].map((_, at) => {
        const range = document.createRange();
        range.setStart(node, at);
        range.setEnd(node, at + 1);
        return range.getBoundingClientRect().left;
      }))`);
    expect(lefts.length).toBeGreaterThan(30);
    expect(lefts).toEqual(lefts.toSorted((a, b) => a - b));
    await page.close();
  });
});
