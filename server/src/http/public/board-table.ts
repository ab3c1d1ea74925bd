import { formatUsd } from '../../base/money.ts';
import type { PublicEntry } from '../../telemetry/leaderboard/public-board.ts';
import { foreign } from '../pages/foreign.ts';
import { type Html, html } from '../pages/html.ts';
import { durationText, percentsText, percentText } from './figures.ts';

interface Column {
  readonly name: string;
  /** What its sheet calls it; `more` is for wide pages and cards alone. */
  readonly kind?: string;
  readonly cell: (entry: PublicEntry) => Html | string;
}

const none = html`<span aria-hidden="true">–</span><span class="unseen">no data</span>`;

const columns: readonly Column[] = [
  { name: 'Score', kind: 'score', cell: ({ score }) => score?.toFixed(2) ?? 'not enough data' },
  { name: 'Success', kind: 'success', cell: ({ success }) => (success ? interval(success) : none) },
  { name: 'Runs', kind: 'runs', cell: runsCell },
  {
    name: 'Cost per success',
    kind: 'cost',
    cell: ({ costPerSuccessNanousd: cost }) => (cost === null ? none : formatUsd(cost)),
  },
  { name: 'Time, median', kind: 'time', cell: ({ durationP50Ms: ms }) => (ms === null ? none : durationText(ms)) },
  { name: 'Time, p95', kind: 'time more', cell: ({ durationP95Ms: ms }) => (ms === null ? none : durationText(ms)) },
  { name: 'Rating, of\u00a05', kind: 'rating more', cell: ({ rating }) => rating?.toFixed(1) ?? none },
  { name: 'Evaluation, of\u00a01', kind: 'evaluation more', cell: ({ evaluation }) => evaluation?.toFixed(2) ?? none },
];

/**
 * Versions beside each other. On a narrow page a sheet makes a card of each row; the roles, which that would take away,
 * are therefore written down.
 * @param labelledBy the id of its heading
 */
export function boardTable(labelledBy: string, entries: readonly PublicEntry[]): Html {
  return html`<table class="board" role="table" aria-labelledby="${labelledBy}">
    <thead role="rowgroup">
      <tr role="row">
        <th role="columnheader" scope="col" class="rank">Rank</th>
        <th role="columnheader" scope="col" class="label">Version</th>
        ${columns.map(({ name, kind }) => html`<th role="columnheader" scope="col" class="${kind ?? null}">${name}</th>`)}
      </tr>
    </thead>
    <tbody role="rowgroup">
      ${entries.map(row)}
    </tbody>
  </table>`;
}

function row(entry: PublicEntry): Html {
  const { rank, label } = entry;
  const kind = rank === null ? 'unranked' : rank === 1 ? 'first' : null;
  return html`<tr role="row" class="${kind}">
    <td role="cell" class="rank ${rank === null && 'none'}" data-label="Rank">${rank ?? none}</td>
    <th role="rowheader" scope="row" class="label">${foreign(label)}</th>
    ${columns.map((column) => dataCell(column, entry))}
  </tr> `;
}

function dataCell({ name, kind, cell }: Column, entry: PublicEntry): Html {
  const content = cell(entry);
  const classes = [kind, content === none && 'none'].filter(Boolean).join(' ');
  return html`<td role="cell" class="${classes}" data-label="${name}">${content}</td>`;
}

/** Those that tell of success, and beside them those that were cancelled. */
function runsCell({ runs, cancelled }: PublicEntry): Html | string {
  const told = runs.toLocaleString('en-US');
  if (cancelled === 0) return told;
  return html`${told} <span class="quiet">+ ${cancelled.toLocaleString('en-US')} cancelled</span>`;
}

// However narrow an interval is, it is seen beside the mark of its rate.
const spanMin = 4;

/** The rate in words, and drawn within its interval from 0 to 1. */
function interval({ rate, low, high }: NonNullable<PublicEntry['success']>): Html {
  const x = (part: number) => Number((part * 100).toFixed(2));
  const width = Math.max(spanMin, x(high - low));
  const from = Math.min(100 - width, Math.max(0, x((low + high) / 2) - width / 2));
  return html`${percentText(rate)}
    <span class="quiet"><span class="unseen">95 % interval </span>${percentsText(low, high)}</span>
    <svg class="interval" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" focusable="false">
      <rect class="span" x="${x(from / 100)}" width="${width}" height="8" />
      <path class="rate" d="M${Math.min(99, Math.max(1, x(rate)))} 0V8" vector-effect="non-scaling-stroke" />
    </svg>`;
}
