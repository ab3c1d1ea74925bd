import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type Command, Option } from 'commander';
import { pageSizeMax } from '../base/limits.ts';
import { summaryTimesMax } from '../base/telemetry-limits.ts';
import { AnalyticsService } from '../gen/portcullis/v1/analytics_pb.ts';
import {
  GetTelemetrySummaryResponseSchema,
  TelemetryGroup,
  TelemetryGroupSchema,
} from '../gen/portcullis/v1/telemetry_summary_pb.ts';
import type { CliContext } from './context.ts';
import { parseDuration } from './durations.ts';
import { enumOption, enumValue } from './enum-words.ts';
import { withGate } from './gate-client.ts';
import { gateCommand, type GateOptions, parseCount } from './gate-command.ts';
import { printAnswer } from './output.ts';
import { agentIdOf, agentNames, projectOf } from './references.ts';
import { type Course, noteTimes, printGroups, printWhole } from './telemetry-view.ts';

interface TelemetryOptions extends GateOptions {
  readonly since: number;
  readonly by?: TelemetryGroup;
  readonly workflow?: string;
  readonly promptVersion?: string;
  readonly model?: string;
  readonly agent?: string;
  readonly limit: number;
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** `portcullis telemetry`: what happened, what it cost, how long it took. */
export function telemetryCommand(context: CliContext): Command {
  return gateCommand('telemetry', 'what happened: outcomes, cost, answer times, runs and events')
    .addOption(
      new Option('--since <time>', 'how far back, like 7d or 1h').argParser(parseDuration).default(dayMs, '1d'),
    )
    .addOption(enumOption('--by <group>', 'by what to divide it', TelemetryGroupSchema))
    .option('--workflow <name>', 'within runs of one workflow')
    .option('--prompt-version <digest>', 'within runs of one prompt version')
    .option('--model <name>', "at one model, by the provider's name of it")
    .option('--agent <agent>', 'of one agent, by name or id; without percentiles')
    .option('--limit <count>', 'how many rows at most', parseCount, 50)
    .action((options: TelemetryOptions) => printTelemetry(context, options));
}

function printTelemetry(context: CliContext, options: TelemetryOptions): Promise<void> {
  return withGate(context, async (gate) => {
    const { since, by, workflow, promptVersion, model, agent } = options;
    const project = await projectOf(gate, options);
    const now = Date.now();
    const request = {
      startTime: timestampFromMs(now - since),
      endTime: timestampFromMs(now),
      limit: Math.min(options.limit, pageSizeMax),
      ...(workflow !== undefined && { workflow }),
      ...(promptVersion !== undefined && { promptVersion }),
      ...(model !== undefined && { model }),
      ...(agent !== undefined && { agentId: await agentIdOf(gate, agent, project) }),
      ...project,
    };
    const summary = (groupBy: TelemetryGroup) => gate.of(AnalyticsService).getTelemetrySummary({ ...request, groupBy });
    const answer = await summary(by ?? TelemetryGroup.UNSPECIFIED);
    const course = async () => {
      const part = partOf(since);
      if (part === null) return null;
      const group = enumValue(TelemetryGroupSchema, part);
      return { by: part, parts: by === group ? answer : await summary(group) };
    };
    if (options.json) return printAnswer(context, GetTelemetrySummaryResponseSchema, answer);
    printWhole(context, answer, await course());
    if (by !== undefined) {
      const names = by === TelemetryGroup.AGENT ? await agentNames(gate, project) : new Map<string, string>();
      context.stdout.write('\n');
      printGroups(context, answer, by, names);
    }
    noteTimes(context, answer);
  });
}

/** In parts of which length the course of a window is drawn; null for one of too many days. */
function partOf(since: number): Course | null {
  if (since <= 2 * hourMs) return 'minute';
  if (since <= 3 * dayMs) return 'hour';
  // Whole days reach further than it on either side.
  return since <= (summaryTimesMax - 2) * dayMs ? 'day' : null;
}
