import { describe, expect, test } from 'vitest';
import { billFiguresMax } from '../base/limits.ts';
import { readAnthropicPage } from './anthropic-report.ts';
import { BillBuilder } from './bill-builder.ts';
import { parseExactJson } from './exact-json.ts';
import { readOpenAiPage } from './openai-report.ts';
import { type PageContext, SeenBuckets } from './report-page.ts';

type Reader = typeof readAnthropicPage;

/** Reads texts as pages, each of its own. */
function reading(read: Reader, texts: readonly string[], more: Partial<PageContext> = {}) {
  const bill = new BillBuilder();
  const buckets = new SeenBuckets();
  const cursors = texts.map((text, index) => {
    const page = {};
    const context: PageContext = {
      at: `page-${index + 1}.json`,
      provider: 'vendor',
      account: null,
      costs: false,
      wanted: () => true,
      seen: (kind, bucket) => buckets.see(page, kind, bucket),
      ...more,
    };
    return read(parseExactJson(context.at, text), context, bill);
  });
  const { figures, wholeDays } = bill.bill();
  return {
    cursors,
    wholeDays: wholeDays.map(({ day }) => day),
    figures: figures.map(({ day, model, costUsd, tokensInput, tokensOutput }) => [
      day,
      model,
      costUsd,
      tokensInput,
      tokensOutput,
    ]),
  };
}

const anthropicDay = (day: string, ...results: object[]) => ({
  starting_at: `${day}T00:00:00Z`,
  ending_at: new Date(Date.parse(day) + 86_400_000).toISOString(),
  results,
});
const page = (...data: object[]) => JSON.stringify({ data, has_more: false, next_page: null });
const cost = (amount: string, more: object = {}) => ({
  amount,
  currency: 'USD',
  cost_type: 'tokens',
  description: 'Claude Haiku 4.5 Usage - Input Tokens',
  model: 'claude-haiku-4-5-20251001',
  service_tier: 'standard',
  token_type: 'uncached_input_tokens',
  workspace_id: null,
  context_window: '0-200k',
  ...more,
});
const usage = (more: object = {}) => ({
  uncached_input_tokens: 1_200,
  cache_creation: { ephemeral_1h_input_tokens: 30, ephemeral_5m_input_tokens: 400 },
  cache_read_input_tokens: 5_000,
  output_tokens: 77,
  server_tool_use: { web_search_requests: 2 },
  model: 'claude-haiku-4-5-20251001',
  workspace_id: null,
  ...more,
});

describe("Anthropic's reports", () => {
  test('of costs are in cents: their lines are summed by model, and what is no model goes by its kind', () => {
    const text = page(
      anthropicDay(
        '2026-11-18',
        cost('123.45'),
        cost('0.000000016', { token_type: 'output_tokens' }),
        cost('20', { model: null, cost_type: 'web_search', token_type: null }),
      ),
      anthropicDay('2026-11-19'),
    );
    expect(reading(readAnthropicPage, [text])).toEqual({
      cursors: [null],
      wholeDays: ['2026-11-18', '2026-11-19'],
      figures: [
        // 123.45000001600 cents
        ['2026-11-18', 'claude-haiku-4-5-20251001', 1_234_500_000n, null, null],
        ['2026-11-18', 'web_search', 200_000_000n, null, null],
      ],
    });
  });

  test('of usage are summed over hours, the whole prompt on one side, and cover no day by themselves', () => {
    const hour = (at: string) => ({
      starting_at: `2026-11-18T${at}:00:00Z`,
      ending_at: `2026-11-18T${at}:59:59Z`,
      results: [usage()],
    });
    expect(reading(readAnthropicPage, [page(hour('03'), hour('04'))])).toMatchObject({
      wholeDays: [],
      figures: [['2026-11-18', 'claude-haiku-4-5-20251001', null, 13_260n, 154n]],
    });
  });

  test('are narrowed to one workspace, of which the default one has no id', () => {
    const text = page(anthropicDay('2026-11-18', cost('100'), cost('7', { workspace_id: 'wrkspc_other' })));
    const of = (account: string) => reading(readAnthropicPage, [text], { account }).figures.map((figure) => figure[2]);
    expect(of('default')).toEqual([1_000_000_000n]);
    expect(of('wrkspc_other')).toEqual([70_000_000n]);
  });

  test('name the next page until there is none', () => {
    const first = JSON.stringify({ data: [], has_more: true, next_page: 'page_2' });
    expect(reading(readAnthropicPage, [first, page(anthropicDay('2026-11-18', cost('1')))]).cursors).toEqual([
      'page_2',
      null,
    ]);
    expect(() => reading(readAnthropicPage, [JSON.stringify({ data: [], has_more: true, next_page: null })])).toThrow(
      'page-1.json says that more pages follow, and does not name the next.',
    );
  });

  const at = 'page-1.json: data[0].results[0]';
  test.each<[string, string | object, string]>([
    [
      'ungrouped costs',
      cost('1', { model: null, cost_type: null, description: null }),
      `${at} names no model: ask for the report with group_by[]=description.`,
    ],
    ['ungrouped usage', usage({ model: null }), `${at} names no model: ask for the report with group_by[]=model.`],
    ['another currency', cost('1', { currency: 'EUR' }), `${at} is in EUR: only USD can be matched.`],
    [
      'a negative amount',
      cost('-4.2'),
      `${at}.amount: "-4.2" is negative: leave credits and refunds out, they are no use of a model.`,
    ],
    ['NaN for an amount', cost('NaN'), `${at}.amount: "NaN" is not an amount.`],
    [
      'an amount of a billion dollars',
      cost('100000000000'),
      'this is more than a day can cost or use; check the units.',
    ],
    [
      'an amount that is an object',
      cost('1', { amount: { value: 1 } }),
      `${at}.amount is not as the vendor documents it`,
    ],
    ['a negative count', usage({ output_tokens: -1 }), `${at}.output_tokens is not as the vendor documents it`],
    ['a count with decimals', usage({ output_tokens: 1.5 }), `${at}.output_tokens is not as the vendor documents it`],
    [
      'something else',
      { object: 'organization.costs.result' },
      `${at} is of neither the cost report nor the messages usage report.`,
    ],
  ])('with %s are refused, naming the place', (_what, result, message) => {
    expect(() => reading(readAnthropicPage, [page(anthropicDay('2026-11-18', result as object))])).toThrow(message);
  });

  test('of which a page was given twice are refused, since it would be counted twice', () => {
    const text = page(anthropicDay('2026-11-18', cost('1')));
    expect(() => reading(readAnthropicPage, [text, text])).toThrow(
      'page-2.json: data[0].results[0] tells the cost of 2026-11-18 a second time: was a page given twice?',
    );
  });

  test('with buckets that are no day are refused', () => {
    const bucket = (starting_at: string, ending_at: string) => page({ starting_at, ending_at, results: [cost('1')] });
    const week = bucket('2026-11-18T00:00:00Z', '2026-11-25T00:00:00Z');
    expect(() => reading(readAnthropicPage, [week])).toThrow('page-1.json: data[0] spans more than one day (UTC)');
    for (const text of [bucket('never', 'ever'), bucket('2026-11-19T00:00:00Z', '2026-11-18T00:00:00Z')])
      expect(() => reading(readAnthropicPage, [text])).toThrow(
        'page-1.json: data[0] has no span of time that a bill can be of.',
      );
  });
});

const openAiDay = (day: string, ...results: object[]) => ({
  object: 'bucket',
  start_time: Date.parse(day) / 1000,
  end_time: Date.parse(day) / 1000 + 86_400,
  results,
});
const amount = (value: string, line_item: string | null, more: object = {}) => ({
  object: 'organization.costs.result',
  amount: { value: `#${value}#`, currency: 'usd' },
  line_item,
  project_id: 'proj_1',
  ...more,
});
/** Numbers as the vendor writes them, not as JSON.stringify would. */
const openAiPage = (...data: object[]) => page(...data).replaceAll(/"#([^#]*)#"/g, '$1');

describe("OpenAI's reports", () => {
  test('of costs are numbers in USD, read exactly and summed by model', () => {
    const text = openAiPage(
      openAiDay(
        '2026-11-18',
        amount('0.1', 'gpt-4o-mini-2024-07-18, input'),
        amount('0.2', 'gpt-4o-mini-2024-07-18, output'),
        amount('1.5e-7', 'gpt-4o-mini-2024-07-18, cached input'),
        amount('0.03', 'web search tool calls'),
      ),
    );
    expect(reading(readOpenAiPage, [text])).toEqual({
      cursors: [null],
      wholeDays: ['2026-11-18'],
      figures: [
        ['2026-11-18', 'gpt-4o-mini-2024-07-18', 300_000_150n, null, null],
        ['2026-11-18', 'web search tool calls', 30_000_000n, null, null],
      ],
    });
  });

  test('of completions and embeddings stand side by side; cached input is within the input', () => {
    const completions = {
      object: 'organization.usage.completions.result',
      input_tokens: 1_000,
      input_cached_tokens: 800,
      output_tokens: 500,
      num_model_requests: 5,
      model: 'gpt-4o-mini-2024-07-18',
    };
    const embeddings = {
      object: 'organization.usage.embeddings.result',
      input_tokens: 16,
      num_model_requests: 2,
      model: 'text-embedding-3-small',
    };
    const texts = [openAiPage(openAiDay('2026-11-18', completions)), openAiPage(openAiDay('2026-11-18', embeddings))];
    expect(reading(readOpenAiPage, texts).figures).toEqual([
      ['2026-11-18', 'gpt-4o-mini-2024-07-18', null, 1_000n, 500n],
      ['2026-11-18', 'text-embedding-3-small', null, 16n, 0n],
    ]);
  });

  const at = 'page-1.json: data[0].results[0]';
  test.each<[string, object, string]>([
    [
      'costs without line items',
      amount('1', null),
      `${at} names no line item: ask for the costs with group_by[]=line_item.`,
    ],
    [
      'another currency',
      amount('1', 'm, input', { amount: { value: 1, currency: 'eur' } }),
      `${at} is in eur: only USD can be matched.`,
    ],
    ['a negative amount', amount('-0.5', 'm, input'), `${at}.amount.value: "-0.5" is negative`],
    ['an amount with a huge exponent', amount('1e400', 'm, input'), `${at}.amount.value: "1e400" is not an amount.`],
    ['no amount', amount('1', 'm, input', { amount: undefined }), `${at}.amount is not as the vendor documents it`],
    ['a name without end', amount('1', 'm'.repeat(300)), "a model's name has 1 to 200 characters"],
    [
      'something else',
      { object: 'organization.usage.images.result' },
      'which is neither costs nor usage of completions or embeddings',
    ],
  ])('with %s are refused, naming the place', (_what, result, message) => {
    expect(() => reading(readOpenAiPage, [openAiPage(openAiDay('2026-11-18', result))])).toThrow(message);
  });

  test('that do not tell projects cannot be narrowed to one', () => {
    const text = openAiPage(openAiDay('2026-11-18', amount('1', 'm, input', { project_id: null })));
    expect(() => reading(readOpenAiPage, [text], { account: 'proj_1' })).toThrow(`${at} names no project`);
    const other = openAiPage(openAiDay('2026-11-18', amount('1', 'm, input', { project_id: 'proj_2' })));
    expect(reading(readOpenAiPage, [other], { account: 'proj_1' })).toMatchObject({
      figures: [],
      wholeDays: ['2026-11-18'],
    });
  });

  test('with more figures than one import may have are refused before they fill the memory', () => {
    const lines = Array.from({ length: billFiguresMax + 1 }, (_, n) => amount('1', `model ${n}, input`));
    expect(() => reading(readOpenAiPage, [openAiPage(openAiDay('2026-11-18', ...lines))])).toThrow(
      'import a shorter time',
    );
  });
});

test.each([
  ['cut off', '{"data":[{"starting_at":"2026'],
  ['empty', ''],
  ['no JSON', '<html>busy</html>'],
  ['nested without end', '['.repeat(200_000)],
])('a document that is %s is refused by its name', (_what, text) => {
  expect(() => parseExactJson('june.json', text)).toThrow(/^june\.json: this is not a whole JSON document \(/);
});

test.each([
  ['null'],
  ['[]'],
  ['{"error":{"message":"busy"}}'],
  ['{"data":{},"has_more":false}'],
  ['{"data":[1],"has_more":false}'],
])('a document of another form is refused: %s', (text) => {
  for (const read of [readAnthropicPage, readOpenAiPage])
    expect(() => reading(read, [text])).toThrow(/^page-1\.json\S* is not as the vendor documents it/);
});
