import { Command, InvalidArgumentError } from 'commander';
import { formatUsd, parseUsd } from '../base/money.ts';
import { type ProviderType, ProviderTypeSchema } from '../gen/portcullis/v1/budget_pb.ts';
import {
  JournalService,
  ListBenchmarksResponseSchema,
  RecordBenchmarkResponseSchema,
} from '../gen/portcullis/v1/journal_pb.ts';
import type { CliContext } from './context.ts';
import { enumOption, enumWord } from './enum-words.ts';
import { withGate } from './gate-client.ts';
import { gateCommand, type GateOptions, listCommand, type ListOptions, present } from './gate-command.ts';
import { beginningOf, longTextOf, longTextOptions, printLongText } from './long-text.ts';
import { type Column, localTime, noteMore, printAnswer, printFields, printTable } from './output.ts';
import { readPages } from './paging.ts';
import { projectOf } from './references.ts';

/** `portcullis benchmarks`: what was measured of models outside of the gate. */
export function benchmarksCommand(context: CliContext): Command {
  return new Command('benchmarks')
    .description('record and list benchmarks of models')
    .addCommand(recordCommand(context))
    .addCommand(listBenchmarksCommand(context));
}

interface RecordOptions extends GateOptions {
  readonly workflow: string;
  readonly providerType: ProviderType;
  readonly provider: string;
  readonly model: string;
  readonly inputTokens: bigint;
  readonly outputTokens: bigint;
  readonly cost: bigint;
  readonly latency: number;
  readonly quality?: number;
  readonly notes?: string;
  readonly notesFile?: string;
}

function recordCommand(context: CliContext): Command {
  return longTextOptions(gateCommand('record', 'record what a benchmark measured'), 'notes')
    .requiredOption('--workflow <name>', 'the kind of task')
    .addOption(
      enumOption('--provider-type <type>', 'how the provider is paid', ProviderTypeSchema).makeOptionMandatory(),
    )
    .option('--provider <name>', 'the provider, by whatever name', '')
    .requiredOption('--model <name>', 'the model, by whatever name')
    .option('--input-tokens <count>', 'prompt tokens', parseTokens, 0n)
    .option('--output-tokens <count>', 'tokens that came back', parseTokens, 0n)
    .option('--cost <usd>', 'what it cost, in USD', parseCost, 0n)
    .option('--latency <ms>', 'how long it took, in milliseconds', parseNumber, 0)
    .option('--quality <score>', 'how good it was, from 0 to 1', parseNumber)
    .action((options: RecordOptions) =>
      withGate(context, async (gate) => {
        const { workflow, providerType, provider, model, inputTokens, outputTokens, quality } = options;
        const notes = (await longTextOf(context, 'notes', options.notes, options.notesFile)) ?? '';
        const answer = await gate.of(JournalService).recordBenchmark({
          workflow,
          providerType,
          provider,
          model,
          inputTokens,
          outputTokens,
          notes,
          costNanousd: options.cost,
          latencyMs: options.latency,
          ...(quality !== undefined && { qualityScore: quality }),
          ...(await projectOf(gate, options)),
        });
        if (options.json) return printAnswer(context, RecordBenchmarkResponseSchema, answer);
        const made = present(answer.benchmark);
        printFields(context, [
          ['id', made.id],
          ['project', made.projectId],
          ['workflow', made.workflow],
          ['provider type', enumWord(ProviderTypeSchema, made.providerType)],
          ['provider', made.provider],
          ['model', made.model],
          ['input tokens', String(made.inputTokens)],
          ['output tokens', String(made.outputTokens)],
          ['cost', formatUsd(made.costNanousd)],
          ['latency', `${made.latencyMs} ms`],
          ['quality', made.qualityScore === undefined ? '' : String(made.qualityScore)],
          ['recorded', localTime(made.recordTime)],
          ['recorded by', made.recordedBy],
        ]);
        printLongText(context, made.notes);
      }),
    );
}

const right = (title: string): Column => ({ title, align: 'right' });

function listBenchmarksCommand(context: CliContext): Command {
  return listCommand('list benchmarks, newest first')
    .option('--workflow <name>', 'of one workflow')
    .action((options: ListOptions & { readonly workflow?: string }) =>
      withGate(context, async (gate) => {
        const { workflow } = options;
        const filter = { ...(workflow !== undefined && { workflow }), ...(await projectOf(gate, options)) };
        const answer = await readPages(
          options.limit,
          (page) => gate.of(JournalService).listBenchmarks({ ...page, ...filter }),
          ({ benchmarks }) => benchmarks,
        );
        if (options.json) return printAnswer(context, ListBenchmarksResponseSchema, answer);
        printTable(
          context,
          [
            ...['TIME', 'WORKFLOW', 'MODEL', 'PROVIDER', 'PAID BY'].map((title) => ({ title })),
            ...['INPUT', 'OUTPUT', 'COST', 'MS', 'QUALITY'].map(right),
            { title: 'NOTES' },
          ],
          answer.benchmarks.map((benchmark) => [
            localTime(benchmark.recordTime),
            benchmark.workflow,
            benchmark.model,
            benchmark.provider,
            enumWord(ProviderTypeSchema, benchmark.providerType),
            String(benchmark.inputTokens),
            String(benchmark.outputTokens),
            formatUsd(benchmark.costNanousd),
            String(Math.round(benchmark.latencyMs)),
            benchmark.qualityScore === undefined ? '' : String(benchmark.qualityScore),
            beginningOf(benchmark.notes),
          ]),
          'There are no benchmarks.',
        );
        noteMore(context, answer.nextPageToken);
      }),
    );
}

function parseTokens(text: string): bigint {
  if (/^\d{1,13}$/.test(text)) return BigInt(text);
  throw new InvalidArgumentError('Write a whole number of tokens.');
}

function parseNumber(text: string): number {
  if (/^\d{1,12}(\.\d{1,12})?$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Write a number.');
}

function parseCost(text: string): bigint {
  try {
    return parseUsd(text);
  } catch {
    throw new InvalidArgumentError('Write an amount of USD, like 0.25.');
  }
}
