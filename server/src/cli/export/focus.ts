import { timestampMs } from '@bufbuild/protobuf/wkt';
import { type Attempt, AttemptOutcomeSchema, ProvenanceSchema } from '../../gen/portcullis/v1/analytics_pb.ts';
import type { ProjectDay } from '../../gen/portcullis/v1/reconciliation_pb.ts';
import { dayAfter } from '../../reconciliation/calendar-day.ts';
import { enumWord } from '../enum-words.ts';
import { type CsvCell, number, text, usd } from './csv-cell.ts';

/** A charge in the columns of FOCUS (FinOps Open Cost and Usage Specification 1.2); null is NULL, an empty cell. */
interface Charge {
  readonly nanoUsd: bigint;
  readonly category: 'Usage' | 'Adjustment';
  readonly isLateCorrection: boolean;
  readonly description: string;
  readonly provider: string;
  readonly startMs: number;
  readonly endMs: number;
  /** Null for what was not measured. */
  readonly tokens: bigint | null;
  readonly model: string;
  readonly agentId: string | undefined;
  /** Without the prefix that tags have which a provider defines (FOCUS 1.2, "Tags"). */
  readonly tags: Readonly<Record<string, string | undefined>>;
}

/** Whose charges they are. */
export interface FocusProject {
  readonly id: string;
  readonly name: string | undefined;
}

const columns: readonly (readonly [string, (charge: Charge, project: FocusProject) => CsvCell])[] = [
  ['BilledCost', ({ nanoUsd }) => usd(nanoUsd)],
  // A provider of the configuration is one credential, and so one account of its vendor.
  ['BillingAccountId', ({ provider }) => text(provider)],
  ['BillingAccountName', ({ provider }) => text(provider)],
  ['BillingCurrency', () => text('USD')],
  ['BillingPeriodEnd', ({ startMs }) => moment(monthStart(startMs, 1))],
  ['BillingPeriodStart', ({ startMs }) => moment(monthStart(startMs, 0))],
  ['ChargeCategory', ({ category }) => text(category)],
  ['ChargeClass', ({ isLateCorrection }) => (isLateCorrection ? text('Correction') : null)],
  ['ChargeDescription', ({ description }) => text(description)],
  ['ChargeFrequency', ({ category }) => text(category === 'Usage' ? 'Usage-Based' : 'One-Time')],
  ['ChargePeriodEnd', ({ endMs }) => moment(endMs)],
  ['ChargePeriodStart', ({ startMs }) => moment(startMs)],
  ['ConsumedQuantity', ({ tokens }) => number(tokens ?? undefined)],
  ['ConsumedUnit', tokenUnit],
  // Costs are computed at list prices; discounts that a vendor grants show as drift.
  ['ContractedCost', ({ nanoUsd }) => usd(nanoUsd)],
  ['EffectiveCost', ({ nanoUsd }) => usd(nanoUsd)],
  ['InvoiceIssuerName', ({ provider }) => text(provider)],
  ['ListCost', ({ nanoUsd }) => usd(nanoUsd)],
  ['PricingCategory', ({ category }) => (category === 'Usage' ? text('Standard') : null)],
  ['PricingQuantity', ({ tokens }) => number(tokens ?? undefined)],
  ['PricingUnit', tokenUnit],
  ['ProviderName', ({ provider }) => text(provider)],
  ['PublisherName', ({ provider }) => text(provider)],
  ['ResourceId', ({ agentId }) => text(agentId)],
  ['ResourceType', ({ agentId }) => (agentId === undefined ? null : text('Agent'))],
  ['ServiceCategory', () => text('AI and Machine Learning')],
  ['ServiceName', () => text('Model inference')],
  ['ServiceSubcategory', () => text('Generative AI')],
  // The vendor's name of the model, which is the same in all accounts (FOCUS 1.2, "SKU Price ID").
  ['SkuId', ({ model }) => text(model)],
  ['SkuPriceId', ({ model }) => text(model)],
  ['SubAccountId', (_charge, { id }) => text(id)],
  ['SubAccountName', (_charge, { name }) => text(name)],
  ['Tags', ({ tags }) => text(JSON.stringify(prefixed(tags)))],
];

export const focusHeader: readonly CsvCell[] = columns.map(([name]) => text(name));

function cellsOf(charge: Charge, project: FocusProject): CsvCell[] {
  return columns.map(([, cell]) => cell(charge, project));
}

/** A row of the ledger as a charge. @returns null where there was none: nothing reached a provider, or cost or used anything */
export function focusRow(attempt: Attempt, project: FocusProject): CsvCell[] | null {
  const { provider, costNanousd: nanoUsd, corrects, startTime, recordTime } = attempt;
  const tokens =
    attempt.inputTokens +
    attempt.outputTokens +
    attempt.cacheReadTokens +
    attempt.cacheWrite5mTokens +
    attempt.cacheWrite1hTokens;
  if (provider === undefined || startTime === undefined || (nanoUsd === 0n && tokens === 0n)) return null;
  const startMs = timestampMs(startTime);
  const recordedMs = recordTime === undefined ? startMs : timestampMs(recordTime);
  const charge: Charge = {
    nanoUsd,
    category: 'Usage',
    isLateCorrection: corrects !== undefined && recordedMs >= monthStart(startMs, 1),
    description:
      corrects === undefined
        ? `Model call, ${enumWord(AttemptOutcomeSchema, attempt.outcome)}`
        : `Correction of model call ${corrects}`,
    provider,
    startMs,
    // Exclusive, and in whole seconds.
    endMs: Math.max(Math.ceil((startMs + attempt.totalMs) / 1000) * 1000, Math.floor(startMs / 1000) * 1000 + 1000),
    tokens,
    model: attempt.modelServed ?? attempt.modelAsked ?? '(none)',
    agentId: attempt.agentId,
    tags: {
      agent: attempt.agentId,
      person: attempt.personId,
      run: attempt.runId,
      workflow: attempt.workflow,
      model: attempt.modelAsked,
      provenance: enumWord(ProvenanceSchema, attempt.provenance),
    },
  };
  return cellsOf(charge, project);
}

/** What was billed beyond the ledger, as a charge of its own. */
export function unexplainedRow(
  { provider, day, model, unexplainedNanousd }: ProjectDay,
  project: FocusProject,
): CsvCell[] {
  const charge: Charge = {
    nanoUsd: unexplainedNanousd,
    category: 'Adjustment',
    isLateCorrection: false,
    description: 'Billed by the provider beyond what passed the gate',
    provider,
    startMs: Date.parse(day),
    endMs: Date.parse(dayAfter(day)),
    tokens: null,
    model,
    agentId: undefined,
    tags: { model, provenance: 'unexplained' },
  };
  return cellsOf(charge, project);
}

function tokenUnit({ tokens }: Charge): CsvCell {
  return tokens === null ? null : text('Tokens');
}

function prefixed(tags: Charge['tags']): Charge['tags'] {
  return Object.fromEntries(Object.entries(tags).map(([key, value]) => [`portcullis/${key}`, value]));
}

/** `2026-11-22T00:00:00Z` (FOCUS, "Date/Time Format"). */
function moment(ms: number): CsvCell {
  return { text: `${new Date(ms).toISOString().slice(0, 19)}Z` };
}

function monthStart(ms: number, monthsLater: number): number {
  const date = new Date(ms);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + monthsLater);
}
