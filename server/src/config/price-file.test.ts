import { mkdirSync, mkdtempSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { priceFileBytesMax } from '../base/limits.ts';
import { loadConfig } from './config.ts';
import { readPriceFile } from './price-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'portcullis-price-file-'));
afterAll(() => rmSync(folder, { recursive: true }));
const config = join(folder, 'portcullis.yaml');

describe('the file of prices', () => {
  it('is read from the folder of the configuration, with its digest and its day', () => {
    mkdirSync(join(folder, 'lists'));
    const path = join(folder, 'lists', 'models.json');
    writeFileSync(path, '{}');
    const at = new Date('2026-11-20T23:59:59Z');
    utimesSync(path, at, at);
    expect(readPriceFile(config, 'lists/models.json')).toEqual({
      name: 'lists/models.json',
      text: '{}',
      sha256: '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',
      changedOn: '2026-11-20',
    });
    expect(readPriceFile(config, path).text).toBe('{}');
  });

  it('is refused where it cannot be read, or is larger than any list of prices', () => {
    expect(() => readPriceFile(config, 'none.json')).toThrow('The file of prices none.json cannot be read.');
    expect(() => readPriceFile(config, '.')).toThrow('cannot be read');
    writeFileSync(join(folder, 'large.json'), '');
    truncateSync(join(folder, 'large.json'), priceFileBytesMax + 1);
    expect(() => readPriceFile(config, 'large.json')).toThrow('large.json is larger than 16777216 bytes.');
  });

  it('is a problem of the configuration where it is not there', () => {
    writeFileSync(config, 'prices: { file: none.json }');
    expect(loadConfig({ CONFIG_FILE: config }, folder).problems).toEqual([
      'portcullis.yaml: prices.file: The file of prices none.json cannot be read.',
    ]);
  });
});
