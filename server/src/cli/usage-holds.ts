import { formatUsd } from '../base/money.ts';
import { AnalyticsService, type Hold, ListHoldsResponseSchema } from '../gen/portcullis/v1/analytics_pb.ts';
import { amountText } from './budget-amounts.ts';
import type { CliContext } from './context.ts';
import { withGate } from './gate-client.ts';
import { gateCommand, type ListOptions, parseCount } from './gate-command.ts';
import { localTime, noteMore, printAnswer, printTable } from './output.ts';
import { readPages } from './paging.ts';
import { agentNames, projectOf } from './references.ts';

/** `portcullis usage holds`: what calls in flight have reserved. */
export function holdsCommand(context: CliContext) {
  return gateCommand('holds', 'list what is reserved right now, newest first')
    .option('--limit <count>', 'how many rows at most', parseCount, 100)
    .action((options: ListOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const answer = await readPages(
          options.limit,
          (page) => gate.of(AnalyticsService).listHolds({ ...page, ...project }),
          ({ holds }) => holds,
        );
        if (options.json) return printAnswer(context, ListHoldsResponseSchema, answer);
        const names = await agentNames(gate, project);
        printTable(
          context,
          [
            ...['SINCE', 'AGENT', 'MODEL', 'PROVIDER'].map((title) => ({ title })),
            { title: 'AT MOST', align: 'right' },
            ...['BUDGETS', 'UNTIL', 'ATTEMPT'].map((title) => ({ title })),
          ],
          answer.holds.map((hold) => holdRow(hold, names)),
          'Nothing is reserved.',
        );
        noteMore(context, answer.nextPageToken);
      }),
    );
}

function holdRow(hold: Hold, names: ReadonlyMap<string, string>): string[] {
  const { agentId } = hold;
  return [
    localTime(hold.createTime),
    agentId === undefined ? '' : (names.get(agentId) ?? agentId),
    hold.modelAsked ?? '',
    hold.provider ?? '',
    formatUsd(hold.heldNanousd),
    hold.amounts.map(({ budgetName, unit, amount }) => `${budgetName}: ${amountText(amount, unit)}`).join(', '),
    localTime(hold.deadlineTime),
    hold.attemptId,
  ];
}
