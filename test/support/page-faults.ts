import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Browser, BrowserContextOptions, Cookie, Page } from 'playwright-core';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

interface Violation {
  readonly id: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[];
}

/** How somebody looks at a page. */
export interface Look {
  readonly colorScheme: 'light' | 'dark';
  readonly viewport: { readonly width: number; readonly height: number };
}

const devices = {
  phone: { width: 360, height: 740 },
  desktop: { width: 1280, height: 800 },
} as const;

/** Both themes, on a phone and on a desktop. */
export const looks: readonly (readonly [name: string, look: Look])[] = Object.entries(devices).flatMap(
  ([device, viewport]) =>
    (['light', 'dark'] as const).map(
      (colorScheme) => [`${device}, ${colorScheme}`, { colorScheme, viewport }] as const,
    ),
);

/**
 * Opens a page as it is, and once more for axe, for which alone the Content-Security-Policy is lifted.
 * @returns what is wrong with it: violations of axe's rules and of the policy, errors of the console, scrolling sideways, cells
 * whose text sticks out
 */
export async function faultsOf(
  browser: Browser,
  url: string,
  look: Look,
  cookies: readonly Cookie[] = [],
): Promise<string[]> {
  const seen = await inContext(browser, look, cookies, (page) => lookAt(page, url));
  const told = await inContext(browser, { ...look, bypassCSP: true }, cookies, (page) => violationsOf(page, url));
  return [...seen, ...told];
}

async function lookAt(page: Page, url: string): Promise<string[]> {
  const faults: string[] = [];
  page.on('console', (message) => faults.push(`console: ${message.text()}`));
  page.on('pageerror', (error) => faults.push(`error: ${error.message}`));
  page.on('dialog', (dialog) => void dialog.dismiss().then(() => faults.push('a dialog opened')));
  page.on('requestfailed', (request) => faults.push(`not loaded: ${request.url()}`));
  await page.addInitScript(`addEventListener('securitypolicyviolation', (event) => {
    console.error('policy: ' + event.violatedDirective + ' ' + event.blockedURI);
  });`);
  await page.goto(url, { waitUntil: 'networkidle' });
  const width = await page.evaluate<number>('document.documentElement.scrollWidth');
  const room = await page.evaluate<number>('innerWidth');
  if (width > room) faults.push(`it is ${width} px wide, in ${room}`);
  // A pixel may be rounding.
  const tooNarrow = await page.evaluate<string[]>(
    `[...document.querySelectorAll('td')].filter((cell) => cell.scrollWidth > cell.clientWidth + 1).map((cell) => cell.outerHTML)`,
  );
  faults.push(...tooNarrow.map((cell) => `sticks out: ${cell.slice(0, 200)}`));
  return faults;
}

async function violationsOf(page: Page, url: string): Promise<string[]> {
  await page.goto(url);
  await page.addScriptTag({ content: axe });
  const violations = await page.evaluate<Violation[]>('axe.run().then(({ violations }) => violations)');
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `axe: ${id}: ${html.slice(0, 200)}: ${failureSummary}`),
  );
}

async function inContext<T>(
  browser: Browser,
  options: BrowserContextOptions,
  cookies: readonly Cookie[],
  use: (page: Page) => Promise<T>,
): Promise<T> {
  const context = await browser.newContext(options);
  try {
    await context.addCookies(cookies);
    return await use(await context.newPage());
  } finally {
    await context.close();
  }
}
