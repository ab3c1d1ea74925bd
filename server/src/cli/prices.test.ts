import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { type CliRun, runCommand } from '../../../test/support/cli.ts';

const root = mkdtempSync(join(tmpdir(), 'portcullis-prices-'));
afterAll(() => rmSync(root, { recursive: true }));

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(root, 'cwd-'));
});

const prices = (...args: string[]): Promise<CliRun> => runCommand(['prices', ...args], { cwd });
const write = (name: string, content: object) => writeFileSync(join(cwd, name), JSON.stringify(content));

const lab = { kind: 'openai-compatible', base_url: 'http://127.0.0.1:1/v1', allow_private: true };
const tokens = { input_cost_per_token: 1e-6, output_cost_per_token: 4e-6, mode: 'chat' };

interface Quoted {
  readonly model: string;
  readonly provider: string;
  readonly model_served: string;
  readonly price: {
    readonly version: string;
    readonly rates: readonly {
      readonly terms: string | null;
      readonly above_input_tokens: number;
      readonly usd_per_million_tokens: Record<string, string>;
    }[];
    readonly usd_per_search: string | null;
  } | null;
}

async function quoted(...args: string[]): Promise<Quoted[]> {
  const { code, stdout, stderr } = await prices(...args, '--json');
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return (JSON.parse(stdout) as { models: Quoted[] }).models;
}

describe('prices', () => {
  it('tells a public price by class, terms and length, without a configuration or a gate', async () => {
    const { code, stdout } = await prices('claude-opus-4-8');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^MODEL +PROVIDER +TERMS +INPUT +OUTPUT +CACHE READ +WRITE +LONG WRITE +FROM\n/);
    expect(stdout).toMatch(/claude-opus-4-8 +anthropic +\$5\.00 +\$25\.00 +\$0\.50 +\$6\.25 +\$10\.00 +genai-prices/);
    expect(stdout).toMatch(/\n +fast +\$10\.00 +\$50\.00 /);
    const [gpt] = await quoted('gpt-5.4');
    expect(gpt?.price?.rates.map(({ terms, above_input_tokens }) => [terms, above_input_tokens])).toEqual([
      [null, 0],
      [null, 271_999],
      ['priority', 0],
      ['priority', 271_999],
    ]);
    expect(gpt?.price).toMatchObject({ usd_per_search: '0.01' });
  });

  it('tells what each target of a route costs, by whose word, at any time', async () => {
    write('portcullis.yaml', {
      providers: {
        lab: { ...lab, unknown_price: { assume: { input: 7, output: 8 } } },
        claude: { kind: 'anthropic', api_key: 'x' },
      },
      models: {
        fast: {
          targets: [
            { provider: 'claude', model: 'claude-haiku-4-5' },
            { provider: 'lab', model: 'own' },
            { provider: 'lab', model: 'other' },
            {
              provider: 'lab',
              model: 'dated',
              price: [
                { from: '2026-01-01', input: 1, output: 1 },
                { from: '2026-12-01', input: 2, output: 2 },
              ],
            },
          ],
        },
      },
      prices: { file: 'models.json' },
    });
    write('models.json', { own: tokens, 'claude-haiku-4-5': { ...tokens, litellm_provider: 'anthropic' } });
    const at = async (time: string) =>
      (await quoted('fast', '--at', time)).map(({ model_served, price }) => [
        model_served,
        price?.rates[0]?.usd_per_million_tokens['input'],
        price?.version.split(' ')[0],
      ]);
    const before = [
      ['claude-haiku-4-5', '1.00', 'file'],
      ['own', '1.00', 'file'],
      ['other', '7.00', 'assumed'],
    ];
    expect(await at('2026-11-30T23:59:59Z')).toEqual([...before, ['dated', '1.00', 'declared']]);
    expect(await at('2026-12-01')).toEqual([...before, ['dated', '2.00', 'declared']]);
    expect(await at('2025-12-31')).toEqual([...before, ['dated', '7.00', 'assumed']]);
    expect(await quoted('fast', '--provider', 'claude')).toHaveLength(1);
    expect(await quoted('anything', '--provider', 'lab')).toMatchObject([{ provider: 'lab', model: 'anything' }]);
  });

  it('says that a price is unknown, and what follows', async () => {
    write('portcullis.yaml', { providers: { lab }, models: { own: { targets: [{ provider: 'lab' }] } } });
    const { code, stdout, stderr } = await prices();
    expect(code).toBe(0);
    expect(stdout).toMatch(/own +lab +unknown\n/);
    expect(stderr).toContain('Calls of unknown price are refused where a budget counts money');
  });

  it.each([
    [['of-nobody'], 1, 'Nobody here knows a model "of-nobody"'],
    [['gpt-5', '--provider', 'constructor'], 2, 'There is no provider "constructor"'],
    [['gpt-5', '--provider', 'nowhere'], 2, 'There is no provider "nowhere"'],
    [['gpt-5', '--at', 'tomorrow'], 2, 'Write a day like 2026-12-01'],
  ])('%j is told so', async (args, code, message) => {
    const run = await prices(...args);
    expect(run).toMatchObject({ code, stdout: '' });
    expect(run.stderr).toContain(message);
  });

  it('does not go on with a file of prices that does not hold', async () => {
    write('portcullis.yaml', { prices: { file: 'models.json' } });
    write('models.json', { bad: { ...tokens, input_cost_per_token: 'much' } });
    const run = await prices('gpt-5');
    expect(run).toMatchObject({ code: 1, stdout: '' });
    expect(run.stderr).toContain('models.json, entry "bad": input_cost_per_token must be a number');
  });
});

describe('prices check', () => {
  const models = { a: tokens, b: { ...tokens, mode: 'ocr' }, c: { ...tokens, mode: 'ocr' }, d: {} };

  it('counts what has a price, and why others have none', async () => {
    write('models.json', models);
    const { code, stdout } = await prices('check', 'models.json');
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /ENTRIES +SUCH AS +HAVE NO PRICE\n +2 +b +mode "ocr" is not billed by tokens of text\n +1 +d +it lacks/,
    );
    expect(stdout).toMatch(
      /1 of 4 entries have a price \(file models\.json sha256:[0-9a-f]{12} of \d{4}-\d{2}-\d{2}\)\./,
    );
  });

  it('knows no name that JavaScript does', async () => {
    const entry = (provider: string) => ({ ...tokens, litellm_provider: provider });
    write('models.json', { constructor: entry('openai'), toString: entry('constructor') });
    expect((await prices('check', 'models.json', '--all')).stdout).toMatch(/constructor +usable\ntoString +usable/);
    writeFileSync(join(cwd, 'models.json'), '{"a": {"mode": "chat", "mode": "ocr"}}');
    expect((await prices('check', 'models.json')).stderr).toContain('models.json, entry "a": it has "mode" twice');
  });

  it('lists every entry where that is asked for', async () => {
    write('models.json', models);
    expect((await prices('check', 'models.json', '--all')).stdout).toMatch(/a +usable\nb +mode "ocr"/);
    const { stdout } = await prices('check', 'models.json', '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      usable: 1,
      unusable: 3,
      models: [{ model: 'a', usable: true }, {}, {}, {}],
    });
  });

  it('fails for a file that a gate would refuse, and names the entry', async () => {
    write('models.json', { x: { ...tokens, output_cost_per_token: -1 } });
    const run = await prices('check', 'models.json');
    expect(run.code).toBe(1);
    expect(run.stderr).toContain('models.json, entry "x": output_cost_per_token must be a number from 0 to 0.01');
    expect((await prices('check', 'none.json')).stderr).toContain('The file of prices none.json cannot be read.');
  });
});
