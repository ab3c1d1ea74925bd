import { create } from '@bufbuild/protobuf';
import { ledgerDaysDroppedMax } from '../base/limits.ts';
import { AnalyticsService, type GetLedgerRetentionResponse } from '../gen/portcullis/v1/analytics_pb.ts';
import {
  GetTelemetryRetentionResponseSchema,
  type TelemetryTableRetention,
  TelemetryTableRetentionSchema,
} from '../gen/portcullis/v1/retention_pb.ts';
import type { CliContext } from './context.ts';
import { withGate } from './gate-client.ts';
import { gateCommand, type GateOptions } from './gate-command.ts';
import { printAnswer, printNote, printTable } from './output.ts';
import { parseDays } from './usage-retention.ts';

interface RetentionOptions extends GateOptions {
  readonly keep?: number;
}

/** `portcullis retention`: which days of attempts, events and benchmarks go, before they do. */
export function retentionCommand(context: CliContext) {
  return gateCommand(
    'retention',
    'tell which days of attempts, events and benchmarks (of all projects) are over; nothing is dropped by this',
  )
    .option(
      '--keep <days>',
      'what if so many days were kept of each; 0 is all (default: what the gate keeps)',
      parseDays,
    )
    .action((options: RetentionOptions) =>
      withGate(context, async (gate) => {
        const asked = options.keep === undefined ? {} : { keptDays: options.keep };
        const analytics = gate.of(AnalyticsService);
        const ledger = await analytics.getLedgerRetention(asked);
        const telemetry = await analytics.getTelemetryRetention(asked);
        const tables = [ledgerTable(ledger), ...telemetry.tables];
        if (options.json)
          return printAnswer(
            context,
            GetTelemetryRetentionResponseSchema,
            create(GetTelemetryRetentionResponseSchema, { tables }),
          );
        printTable(
          context,
          [
            { title: 'OF' },
            { title: 'OVER' },
            { title: 'ROWS', align: 'right' },
            { title: 'BYTES', align: 'right' },
            { title: 'STAYS' },
          ],
          tables.flatMap(({ table, over }) =>
            over.map(({ date, rows, sizeBytes, stays }) => [table, date, String(rows), String(sizeBytes), stays]),
          ),
          'No day is over.',
        );
        for (const table of tables) printNote(context, sentenceOf(table));
      }),
    );
}

function ledgerTable(ledger: GetLedgerRetentionResponse): TelemetryTableRetention {
  const { keptDays, oldestKeptDate, keptSizeBytes } = ledger;
  const over = ledger.over.map(({ date, rows, sizeBytes, stays }) => ({ date, rows, sizeBytes, stays }));
  return create(TelemetryTableRetentionSchema, { table: 'attempts', keptDays, over, oldestKeptDate, keptSizeBytes });
}

function sentenceOf({ table, keptDays, over, oldestKeptDate, keptSizeBytes }: TelemetryTableRetention): string {
  const rule = keptDays === 0 ? 'all days are kept' : `${keptDays} days are kept`;
  const oldest = oldestKeptDate === '' ? '' : ` the oldest kept is ${oldestKeptDate};`;
  const going = over.filter(({ stays }) => stays === '');
  const bytesOf = (days: typeof over) => days.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0n);
  const [all, freed] = [bytesOf(over) + keptSizeBytes, bytesOf(going)];
  const pace = going.length > ledgerDaysDroppedMax ? `, ${ledgerDaysDroppedMax} days an hour` : '';
  return `${table}: ${rule};${oldest} ${all - freed} bytes stay, ${freed} go${pace}.`;
}
