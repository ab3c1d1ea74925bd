import { formatUsd } from '../../base/money.ts';
import { MatchStateSchema, type MatchSummary, type ReconciledDay } from '../../gen/portcullis/v1/reconciliation_pb.ts';
import type { CliContext } from '../context.ts';
import { enumWord } from '../enum-words.ts';
import { type Column, printLine, printNote, printTable } from '../output.ts';

const right = (title: string): Column => ({ title, align: 'right' });

const columns: readonly Column[] = [
  ...['DAY', 'PROVIDER', 'MODEL'].map((title) => ({ title })),
  { title: 'STATE', format: (state) => (state === 'drifted' ? 'red' : 'green') },
  ...['BILLED', 'BOOKED', 'DRIFT', 'PERCENT', 'UNEXPLAINED'].map(right),
  ...['PROJECT', 'NOTE'].map((title) => ({ title })),
];

/** Bill against ledger, a row for each model of a provider's day. */
export function printMatches(context: CliContext, rows: readonly ReconciledDay[], empty: string): void {
  printTable(context, columns, rows.map(matchRow), empty);
}

function matchRow(row: ReconciledDay): string[] {
  const { billedNanousd: billed, driftNanousd: drift } = row;
  return [
    row.day,
    row.provider,
    row.model,
    enumWord(MatchStateSchema, row.state),
    billed === undefined ? '' : formatUsd(billed),
    formatUsd(row.bookedNanousd),
    drift === undefined ? '' : signed(drift),
    percentOf(drift, billed),
    row.unexplainedNanousd === 0n ? '' : formatUsd(row.unexplainedNanousd),
    row.unexplainedNanousd === 0n ? '' : row.projectId,
    noteOf(row),
  ];
}

function signed(amount: bigint): string {
  return amount > 0n ? `+${formatUsd(amount)}` : formatUsd(amount);
}

/** The drift in hundredths of a percent of the bill, cut. */
function percentOf(drift: bigint | undefined, billed: bigint | undefined): string {
  if (drift === undefined || !billed) return '';
  const points = (drift * 10_000n) / billed;
  const size = points < 0n ? -points : points;
  const sign = drift > 0n ? '+' : drift < 0n ? '-' : '';
  return `${sign}${size / 100n}.${(size % 100n).toString().padStart(2, '0')}%`;
}

function noteOf({
  billedModels,
  bookedModels,
  billedTokens,
  bookedTokens,
  billedNanousd,
  bookedNanousd,
}: ReconciledDay): string {
  if (bookedModels.length === 0) return bookedNanousd > 0n ? 'a fee, booked under models' : 'no attempts';
  if (billedModels.length === 0) return 'not billed';
  if (billedNanousd === undefined) return `tokens: ${billedTokens ?? 0n} billed, ${bookedTokens} booked`;
  const [billed, booked] = [billedModels.join(' + '), bookedModels.join(' + ')];
  return billed === booked ? '' : `${billed} is ${booked}`;
}

/** What came of matching, for people: the drifts, and all sums. */
export function printSummary(context: CliContext, summary: MatchSummary): void {
  if (summary.drifts.length > 0) printMatches(context, summary.drifts, '');
  printLine(
    context,
    `${summary.days} days of providers: ${summary.reconciled} models reconciled, ${summary.drifted} drifted` +
      (summary.tokensAgree > 0 ? `, ${summary.tokensAgree} agree in tokens.` : '.'),
  );
  printLine(
    context,
    `Billed ${formatUsd(summary.billedNanousd)}, booked ${formatUsd(summary.bookedNanousd)}; unexplained ${formatUsd(summary.unexplainedNanousd)}, which is in no total of attempts.`,
  );
  if (summary.droppedDays > 0)
    printNote(
      context,
      `The ledger no longer has ${summary.droppedDays} of these days: they stay as they were last found to be.`,
    );
  if (summary.drifted > summary.drifts.length)
    printNote(
      context,
      `The largest ${summary.drifts.length} are shown: \`portcullis reconcile show --state drifted\` has all.`,
    );
}
