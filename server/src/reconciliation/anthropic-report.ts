import { z } from 'zod';
import type { BillBuilder, BillLine } from './bill-builder.ts';
import { type Bucket, dayOfBucket, digits, once, type PageContext, pageSchema, refuse } from './report-page.ts';

const pages = pageSchema(
  z.object({ starting_at: z.string(), ending_at: z.string(), results: z.array(z.record(z.string(), z.unknown())) }),
);

// Amounts are decimal text in cents (Admin API, "Get Cost Report").
const costSchema = z.object({
  amount: z.string(),
  currency: z.string(),
  workspace_id: z.string().nullish(),
  model: z.string().nullish(),
  cost_type: z.string().nullish(),
  description: z.string().nullish(),
});

// "Get Messages Usage Report"
const usageSchema = z.object({
  uncached_input_tokens: digits,
  cache_read_input_tokens: digits,
  cache_creation: z
    .object({ ephemeral_1h_input_tokens: digits.optional(), ephemeral_5m_input_tokens: digits.optional() })
    .nullish(),
  output_tokens: digits,
  workspace_id: z.string().nullish(),
  model: z.string().nullish(),
});

const centsPerUsd = 100n;

/** What Anthropic calls the workspace that has no id. */
const defaultWorkspace = 'default';

/**
 * Reads one page of Anthropic's cost report or messages usage report into `bill`.
 * @returns the cursor of the next page; null on the last
 * @throws PortcullisError invalid_argument naming the place
 */
export function readAnthropicPage(page: unknown, context: PageContext, bill: BillBuilder): string | null {
  const { at } = context;
  const { data, next } = pages(at, page);
  const costs = context.costs || data.some(({ results }) => results.some((result) => 'amount' in result));
  for (const [index, { starting_at: start, ending_at: end, results }] of data.entries()) {
    const place = `${at}: data[${index}]`;
    const bucket = { at: place, start: Date.parse(start), end: Date.parse(end) };
    const day = dayOfBucket(bucket);
    if (!context.wanted(day)) continue;
    if (costs) bill.addWholeDay({ provider: context.provider, day });
    for (const [line, result] of results.entries()) {
      const where = { ...bucket, at: `${place}.results[${line}]` };
      if ('amount' in result) readCost(result, where, day, context, bill);
      else if ('uncached_input_tokens' in result) readUsage(result, where, day, context, bill);
      else throw refuse(where.at, 'is of neither the cost report nor the messages usage report');
    }
  }
  return next;
}

function readCost(result: unknown, bucket: Bucket, day: string, context: PageContext, bill: BillBuilder): void {
  const { at } = bucket;
  const { provider, account } = context;
  const cost = once(costSchema, at, result);
  if (cost.currency.toUpperCase() !== 'USD') throw refuse(at, `is in ${cost.currency}: only USD can be matched`);
  // Tokens are named by their model; searches, code and sessions by their kind.
  const model = cost.model ?? cost.cost_type ?? cost.description;
  if (model === null || model === undefined) {
    throw refuse(at, 'names no model: ask for the report with group_by[]=description');
  }
  context.seen('cost', bucket);
  if (!isOf(account, cost.workspace_id)) return;
  bill.addCost({ at: `${at}.amount`, provider, day, model }, cost.amount, centsPerUsd);
}

function readUsage(result: unknown, bucket: Bucket, day: string, context: PageContext, bill: BillBuilder): void {
  const { at } = bucket;
  const usage = once(usageSchema, at, result);
  const { model, cache_creation: created } = usage;
  if (model === null || model === undefined) {
    throw refuse(at, 'names no model: ask for the report with group_by[]=model');
  }
  context.seen('usage', bucket);
  if (!isOf(context.account, usage.workspace_id)) return;
  const line: BillLine = { at, provider: context.provider, day, model };
  bill.addTokens(line, usage.uncached_input_tokens, usage.output_tokens);
  const cached = [
    usage.cache_read_input_tokens,
    created?.ephemeral_1h_input_tokens ?? '0',
    created?.ephemeral_5m_input_tokens ?? '0',
  ];
  for (const count of cached) bill.addTokens(line, count, '0');
}

function isOf(account: string | null, workspace: string | null | undefined): boolean {
  return account === null || account === (workspace ?? defaultWorkspace);
}
