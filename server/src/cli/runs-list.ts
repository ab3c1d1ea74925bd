import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import { formatUsd } from '../base/money.ts';
import { ListRunsResponseSchema, RunService, type RunState, RunStateSchema } from '../gen/portcullis/v1/run_pb.ts';
import type { CliContext } from './context.ts';
import { parseDuration } from './durations.ts';
import { enumOption, enumWord } from './enum-words.ts';
import { withGate } from './gate-client.ts';
import { listCommand, type ListOptions, present } from './gate-command.ts';
import { localTime, noteMore, printAnswer, printTable, stateFormat } from './output.ts';
import { readPages } from './paging.ts';
import { agentIdOf, agentNames, projectOf } from './references.ts';

interface RunListOptions extends ListOptions {
  readonly agent?: string;
  readonly workflow?: string;
  readonly state?: RunState;
  readonly promptVersion?: string;
  readonly task?: string;
  readonly since?: number;
  readonly until?: number;
}

/** `portcullis runs list`. */
export function runListCommand(context: CliContext): Command {
  return listCommand('list runs, newest first')
    .option('--agent <agent>', 'of one agent, by name or id')
    .option('--workflow <workflow>', 'of one workflow')
    .addOption(enumOption('--state <state>', 'in this state', RunStateSchema))
    .option('--prompt-version <version>', "with this version of the workflow's prompt, by digest or label")
    .option('--task <task>', 'for this task')
    .option('--since <time>', 'started since then, like 7d or 1h', parseDuration)
    .option('--until <time>', 'started before then', parseDuration)
    .action((options: RunListOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const { agent, task, since, until, workflow, state, promptVersion } = options;
        const ago = (ms: number) => timestampFromMs(Date.now() - ms);
        const filter = {
          ...(agent !== undefined && { agentId: await agentIdOf(gate, agent, project) }),
          ...(workflow !== undefined && { workflow }),
          ...(state !== undefined && { state }),
          ...(promptVersion !== undefined && { promptVersion }),
          ...(task !== undefined && { taskId: task }),
          ...(since !== undefined && { startTime: ago(since) }),
          ...(until !== undefined && { endTime: ago(until) }),
        };
        const answer = await readPages(
          options.limit,
          (page) => gate.of(RunService).listRuns({ ...page, ...filter, ...project }),
          ({ runs }) => runs,
        );
        if (options.json) return printAnswer(context, ListRunsResponseSchema, answer);
        const names = await agentNames(gate, project);
        printTable(
          context,
          [
            { title: 'STARTED' },
            { title: 'RUN', whole: true },
            ...['WORKFLOW', 'AGENT'].map((title) => ({ title })),
            { title: 'STATE', format: stateFormat },
            ...['TASK', 'PROMPT', 'MODEL'].map((title) => ({ title })),
            ...['ATTEMPTS', 'COST', 'EVENTS'].map((title) => ({ title, align: 'right' as const })),
          ],
          answer.runs.map(({ run, totals, events, model }) => {
            const { id, workflow, agentId, state, taskId, promptVersion, startTime } = present(run);
            const { attempts, costNanousd } = present(totals);
            return [
              localTime(startTime),
              id,
              workflow,
              names.get(agentId) ?? agentId,
              enumWord(RunStateSchema, state),
              taskId ?? '',
              promptVersion?.slice(0, 12) ?? '',
              model,
              String(attempts),
              formatUsd(costNanousd),
              String(events),
            ];
          }),
          'No run is like that.',
        );
        noteMore(context, answer.nextPageToken);
      }),
    );
}
