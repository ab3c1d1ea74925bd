import { z } from 'zod';
import type { BillBuilder } from './bill-builder.ts';
import { type Bucket, dayOfBucket, digits, once, type PageContext, pageSchema, refuse } from './report-page.ts';

const pages = pageSchema(
  z.object({ start_time: digits, end_time: digits, results: z.array(z.looseObject({ object: z.string() })) }),
);

// Amounts are numbers in USD (Administration, "Costs"); the numbers of these documents are read as texts.
const costSchema = z.object({
  amount: z.object({ value: z.string(), currency: z.string() }),
  line_item: z.string().nullish(),
  project_id: z.string().nullish(),
});

// "Completions", "Embeddings": the input includes what was cached.
const usageSchema = z.object({
  input_tokens: digits,
  output_tokens: digits.optional(),
  model: z.string().nullish(),
  project_id: z.string().nullish(),
});

const costsKind = 'organization.costs.result';
const usageKinds: ReadonlySet<string> = new Set([
  'organization.usage.completions.result',
  'organization.usage.embeddings.result',
]);

/**
 * Reads one page of OpenAI's organization costs, or of its usage of completions or embeddings, into `bill`.
 * @returns the cursor of the next page; null on the last
 * @throws PortcullisError invalid_argument naming the place
 */
export function readOpenAiPage(page: unknown, context: PageContext, bill: BillBuilder): string | null {
  const { at } = context;
  const { data, next } = pages(at, page);
  const costs = context.costs || data.some(({ results }) => results.some(({ object }) => object === costsKind));
  for (const [index, { start_time: start, end_time: end, results }] of data.entries()) {
    const place = `${at}: data[${index}]`;
    const bucket = { at: place, start: Number(start) * 1000, end: Number(end) * 1000 };
    const day = dayOfBucket(bucket);
    if (!context.wanted(day)) continue;
    if (costs) bill.addWholeDay({ provider: context.provider, day });
    for (const [line, result] of results.entries()) {
      const where = { ...bucket, at: `${place}.results[${line}]` };
      if (result.object === costsKind) readCost(result, where, day, context, bill);
      else if (usageKinds.has(result.object)) readUsage(result, where, day, context, bill);
      else
        throw refuse(where.at, `is "${result.object}", which is neither costs nor usage of completions or embeddings`);
    }
  }
  return next;
}

function readCost(result: unknown, bucket: Bucket, day: string, context: PageContext, bill: BillBuilder): void {
  const { at } = bucket;
  const { amount, line_item: item, project_id: project } = once(costSchema, at, result);
  if (amount.currency.toLowerCase() !== 'usd') throw refuse(at, `is in ${amount.currency}: only USD can be matched`);
  if (item === null || item === undefined) {
    throw refuse(at, 'names no line item: ask for the costs with group_by[]=line_item');
  }
  context.seen('costs', bucket);
  if (!isOf(at, context.account, project)) return;
  bill.addCost({ at: `${at}.amount.value`, provider: context.provider, day, model: modelOf(item) }, amount.value);
}

function readUsage(
  result: { readonly object: string },
  bucket: Bucket,
  day: string,
  context: PageContext,
  bill: BillBuilder,
): void {
  const { at } = bucket;
  const { model, project_id: project, ...usage } = once(usageSchema, at, result);
  if (model === null || model === undefined) {
    throw refuse(at, 'names no model: ask for the usage with group_by[]=model');
  }
  context.seen(result.object, bucket);
  if (!isOf(at, context.account, project)) return;
  bill.addTokens({ at, provider: context.provider, day, model }, usage.input_tokens, usage.output_tokens ?? '0');
}

/** A line item is a model and what of it ("gpt-4o-mini-2024-07-18, input"), or something that is no model. */
function modelOf(lineItem: string): string {
  return lineItem.split(',', 1)[0]?.trim() ?? '';
}

function isOf(at: string, account: string | null, project: string | null | undefined): boolean {
  if (account === null) return true;
  if (project === null || project === undefined) {
    throw refuse(at, 'names no project: ask with group_by[]=project_id, or leave --account out');
  }
  return project === account;
}
