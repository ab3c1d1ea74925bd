import { Command } from 'commander';
import {
  BillSourceSchema,
  ListBillImportsResponseSchema,
  ListReconciledDaysResponseSchema,
  MatchBillsResponseSchema,
  MatchState,
  MatchStateSchema,
  ReconciliationService,
} from '../gen/portcullis/v1/reconciliation_pb.ts';
import { CliError, type CliContext } from './context.ts';
import { enumOption, enumWord } from './enum-words.ts';
import { exitCodes } from './exit-codes.ts';
import { withGate } from './gate-client.ts';
import { parseCount, present } from './gate-command.ts';
import { localTime, noteMore, printAnswer, printTable } from './output.ts';
import { readPages } from './paging.ts';
import { closedDays, type DaySpan, parseDay } from './reconcile/days.ts';
import { importBillCommand } from './reconcile/import.ts';
import { printMatches, printSummary } from './reconcile/match-table.ts';
import { toleranceOf, type ToleranceOptions, withTolerance } from './reconcile/tolerance.ts';

const daysBack = 30;

/** `portcullis reconcile`: what providers billed against what the ledger holds. */
export function reconcileCommand(context: CliContext): Command {
  return new Command('reconcile')
    .description('match the bills of providers with the ledger')
    .addCommand(importBillCommand(context))
    .addCommand(showCommand(context))
    .addCommand(checkCommand(context))
    .addCommand(importsCommand(context));
}

interface SpanOptions extends DaySpan {
  readonly json?: true;
  readonly provider?: string;
}

function spanCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .option('--json', 'print the answer as one JSON document')
    .option('--provider <name>', 'of one provider')
    .option('--since <day>', 'the first day, like 2026-11-01 or 7d (default: 30 days)', parseDay)
    .option('--until <day>', 'the last day (default: the last that is over)', parseDay);
}

function showCommand(context: CliContext): Command {
  return spanCommand('show', 'list what days were last found to be, newest first')
    .addOption(enumOption('--state <state>', 'only of this state', MatchStateSchema))
    .option('--limit <count>', 'how many at most', parseCount, 100)
    .action(({ json, provider, limit, state, ...span }: SpanOptions & { limit: number; state?: MatchState }) =>
      withGate(context, async (gate) => {
        const filter = { ...closedDays(span, daysBack), ...(provider !== undefined && { provider }) };
        const answer = await readPages(
          limit,
          (page) =>
            gate
              .of(ReconciliationService)
              .listReconciledDays({ ...page, ...filter, state: state ?? MatchState.UNSPECIFIED }),
          ({ days }) => days,
        );
        if (json) return printAnswer(context, ListReconciledDaysResponseSchema, answer);
        printMatches(context, answer.days, 'No bill of these days is known: `portcullis reconcile import`.');
        noteMore(context, answer.nextPageToken);
      }),
    );
}

function checkCommand(context: CliContext): Command {
  return withTolerance(spanCommand('check', 'match days again with the ledger; exit code 1 if any drifts')).action(
    ({ json, provider, ...options }: SpanOptions & ToleranceOptions) =>
      withGate(context, async (gate) => {
        const answer = await gate.of(ReconciliationService).matchBills({
          ...closedDays(options, daysBack),
          ...(provider !== undefined && { provider }),
          tolerance: toleranceOf(options),
        });
        const summary = present(answer.summary);
        if (json) printAnswer(context, MatchBillsResponseSchema, answer);
        else printSummary(context, summary);
        if (summary.drifted > 0) throw new CliError('', exitCodes.failed);
      }),
  );
}

function importsCommand(context: CliContext): Command {
  return new Command('imports')
    .description('list what was imported, newest first')
    .option('--json', 'print the answer as one JSON document')
    .option('--limit <count>', 'how many at most', parseCount, 100)
    .action(({ json, limit }: { json?: true; limit: number }) =>
      withGate(context, async (gate) => {
        const answer = await readPages(
          limit,
          (page) => gate.of(ReconciliationService).listBillImports(page),
          ({ imports }) => imports,
        );
        if (json) return printAnswer(context, ListBillImportsResponseSchema, answer);
        printTable(
          context,
          [
            ...['TIME', 'ID', 'SOURCE', 'PROVIDERS', 'FROM', 'TO'].map((title) => ({ title })),
            { title: 'FIGURES', align: 'right' },
            { title: 'NEW', align: 'right' },
            { title: 'BY' },
          ],
          answer.imports.map((made) => [
            localTime(made.importTime),
            made.id,
            enumWord(BillSourceSchema, made.source),
            made.providers.join(', '),
            made.firstDay,
            made.lastDay,
            String(made.figures),
            String(made.changed),
            made.importedBy,
          ]),
          'Nothing was imported: `portcullis reconcile import`.',
        );
        noteMore(context, answer.nextPageToken);
      }),
    );
}
