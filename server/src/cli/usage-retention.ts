import { InvalidArgumentError } from 'commander';
import { formatUsd } from '../base/money.ts';
import { AnalyticsService, GetLedgerRetentionResponseSchema } from '../gen/portcullis/v1/analytics_pb.ts';
import type { CliContext } from './context.ts';
import { withGate } from './gate-client.ts';
import { gateCommand, type GateOptions } from './gate-command.ts';
import { type Column, printAnswer, printNote, printTable } from './output.ts';

interface RetentionOptions extends GateOptions {
  readonly days?: number;
}

const right = (title: string): Column => ({ title, align: 'right' });

/** `portcullis usage retention`: which days of the ledger go, before they do. */
export function retentionCommand(context: CliContext) {
  return gateCommand(
    'retention',
    'tell which days of the ledger (of all projects) are over; nothing is dropped by this',
  )
    .option('--days <count>', 'what if so many days were kept; 0 is all (default: what the gate keeps)', parseDays)
    .action((options: RetentionOptions) =>
      withGate(context, async (gate) => {
        const answer = await gate
          .of(AnalyticsService)
          .getLedgerRetention(options.days === undefined ? {} : { keptDays: options.days });
        if (options.json) return printAnswer(context, GetLedgerRetentionResponseSchema, answer);
        printTable(
          context,
          [{ title: 'OVER' }, ...['ROWS', 'COST', 'BYTES'].map(right), { title: 'STAYS' }],
          answer.over.map(({ date, rows, costNanousd, sizeBytes, stays }) => [
            date,
            String(rows),
            formatUsd(costNanousd),
            String(sizeBytes),
            stays,
          ]),
          'No day is over.',
        );
        const rule = answer.keptDays === 0 ? 'All days are kept' : `${answer.keptDays} days are kept`;
        printNote(
          context,
          `${rule}; the oldest kept is ${answer.oldestKeptDate}. They take ${answer.keptSizeBytes} bytes.`,
        );
      }),
    );
}

export function parseDays(text: string): number {
  if (/^\d{1,5}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Write a number of days.');
}
