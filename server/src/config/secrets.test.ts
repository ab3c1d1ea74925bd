import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { deriveKeys, masterKeyIn } from './secrets.ts';

const folder = mkdtempSync(join(tmpdir(), 'portcullis-secrets-'));
afterAll(() => rmSync(folder, { recursive: true }));

it('makes the master key once, for its owner alone, and leaves no draft behind', () => {
  const path = join(folder, 'secrets.key');
  const key = masterKeyIn(path);
  expect(key.length).toBeGreaterThanOrEqual(32);
  expect(masterKeyIn(path)).toBe(key);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(folder)).toEqual(['secrets.key']);
});

it('refuses a file that was cut short: every key derived from it would be public', () => {
  const path = join(folder, 'cut');
  writeFileSync(path, '');
  expect(() => masterKeyIn(path)).toThrow('is damaged');
});

it('derives a key of its own for each purpose', () => {
  const { keyPepper, pageTokens } = deriveKeys('one master key of some length, 32 characters');
  expect(keyPepper.export().equals(pageTokens)).toBe(false);
});
