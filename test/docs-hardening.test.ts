import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const page = readFileSync(join(import.meta.dirname, '../docs/hardening.md'), 'utf8');
const named = /\| ((?:P\d-\d\d|Criterion \d|Behaviour \d+): .+?) +\|$/gm;

it('the page of the hardening list names the tests that there are, all of them and no others', () => {
  const inPage = new Set([...page.matchAll(named)].map(([, title]) => title));
  const sources = readdirSync(import.meta.dirname)
    .filter((file) => file.endsWith('.test.ts') && file !== 'docs-hardening.test.ts')
    .map((file) => readFileSync(join(import.meta.dirname, file), 'utf8'));
  const titles = sources.flatMap((text) => [...text.matchAll(/'((?:P\d-\d\d|Criterion \d|Behaviour \d+): [^']+)'/g)]);
  expect(inPage).toEqual(new Set(titles.map(([, title]) => title)));
  expect(inPage.size).toBeGreaterThan(30);
});
