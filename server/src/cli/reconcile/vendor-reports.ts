import type { BillBuilder } from '../../reconciliation/bill-builder.ts';
import { readAnthropicPage } from '../../reconciliation/anthropic-report.ts';
import { dayAfter } from '../../reconciliation/calendar-day.ts';
import { readOpenAiPage } from '../../reconciliation/openai-report.ts';
import type { PageContext } from '../../reconciliation/report-page.ts';

/** One report of a vendor's admin API. */
export interface Report {
  readonly path: string;
  /** Of costs; the others are of tokens. */
  readonly costs: boolean;
  readonly query: readonly (readonly [string, string])[];
}

/** A vendor whose bills we can read. */
export interface Vendor {
  readonly name: string;
  readonly baseUrl: string;
  readonly keyVariable: string;
  readonly headers: (key: string) => Readonly<Record<string, string>>;
  /** What to ask for these days, both included, of one account or of all. */
  readonly reports: (firstDay: string, lastDay: string, account: string | null) => readonly Report[];
  readonly readPage: (page: unknown, context: PageContext, bill: BillBuilder) => string | null;
}

// The most daily buckets that a page of either vendor has.
const bucketsPerPage = '31';

const anthropic: Vendor = {
  name: 'Anthropic',
  baseUrl: 'https://api.anthropic.com',
  keyVariable: 'ANTHROPIC_ADMIN_KEY',
  headers: (key) => ({ 'x-api-key': key, 'anthropic-version': '2023-06-01' }),
  reports: (firstDay, lastDay, account) => {
    const query = (group: string): Report['query'] => [
      ['starting_at', `${firstDay}T00:00:00Z`],
      ['ending_at', `${dayAfter(lastDay)}T00:00:00Z`],
      ['bucket_width', '1d'],
      ['limit', bucketsPerPage],
      ['group_by[]', group],
      ...(account === null ? [] : ([['group_by[]', 'workspace_id']] as const)),
    ];
    return [
      { path: '/v1/organizations/cost_report', costs: true, query: query('description') },
      { path: '/v1/organizations/usage_report/messages', costs: false, query: query('model') },
    ];
  },
  readPage: readAnthropicPage,
};

const openAi: Vendor = {
  name: 'OpenAI',
  baseUrl: 'https://api.openai.com',
  keyVariable: 'OPENAI_ADMIN_KEY',
  headers: (key) => ({ authorization: `Bearer ${key}` }),
  reports: (firstDay, lastDay, account) => {
    const seconds = (day: string) => String(Date.parse(day) / 1000);
    const query = (group: string): Report['query'] => [
      ['start_time', seconds(firstDay)],
      ['end_time', seconds(dayAfter(lastDay))],
      ['bucket_width', '1d'],
      ['limit', bucketsPerPage],
      ['group_by[]', group],
      ...(account === null
        ? []
        : ([
            ['group_by[]', 'project_id'],
            ['project_ids[]', account],
          ] as const)),
    ];
    return [
      { path: '/v1/organization/costs', costs: true, query: query('line_item') },
      { path: '/v1/organization/usage/completions', costs: false, query: query('model') },
      { path: '/v1/organization/usage/embeddings', costs: false, query: query('model') },
    ];
  },
  readPage: readOpenAiPage,
};

export const vendors = { anthropic, openai: openAi } as const;
