import { type MessageInitShape, toJson } from '@bufbuild/protobuf';
import { Command } from 'commander';
import {
  type Budget,
  BudgetMode,
  BudgetNoticeSchema,
  BudgetService,
  type BudgetStatus,
  BudgetStatusSchema,
  CreateBudgetResponseSchema,
  DeleteBudgetResponseSchema,
  type GetBudgetRequestSchema,
  ListBudgetNoticesResponseSchema,
  ListBudgetsResponseSchema,
  ListLeasePostingsResponseSchema,
  UpdateBudgetResponseSchema,
} from '../gen/portcullis/v1/budget_pb.ts';
import { parseAmount } from './budget-amounts.ts';
import {
  budgetColumns,
  budgetFields,
  budgetRow,
  byFullness,
  noticeColumns,
  noticeRow,
  postingColumns,
  postingRow,
} from './budget-table.ts';
import { type BudgetOptions, budgetWords, notifyOf, withBudgetOptions } from './budget-options.ts';
import { type CliContext, CliError } from './context.ts';
import { exitCodes } from './exit-codes.ts';
import { type GateClient, withGate } from './gate-client.ts';
import { gateCommand, type GateOptions, listCommand, type ListOptions, parseCount, present } from './gate-command.ts';
import { noteMore, printAnswer, printFields, printJson, printLine, printNote, printTable } from './output.ts';
import { readPages } from './paging.ts';
import { projectOf } from './references.ts';

// So many budgets are looked at to find the fullest, and so many notices are shown with one budget.
const lookedAtMax = 20_000;
const noticesShownMax = 20;

/** `portcullis budgets`: limits on what calls may use. */
export function budgetsCommand(context: CliContext): Command {
  return new Command('budgets')
    .description('limit money, tokens, requests, calls in flight or answer times')
    .addCommand(createCommand(context))
    .addCommand(listBudgetsCommand(context))
    .addCommand(showCommand(context))
    .addCommand(noticesCommand(context))
    .addCommand(postingsCommand(context))
    .addCommand(updateCommand(context))
    .addCommand(deleteCommand(context));
}

function createCommand(context: CliContext): Command {
  return withBudgetOptions(gateCommand('create', 'make a budget; without a selector it counts the whole project'))
    .argument('<name>')
    .action((name: string, options: BudgetOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const answer = await gate.of(BudgetService).createBudget({
          ...(await budgetWords(gate, name, options, project)),
          ...project,
        });
        if (options.json) return printAnswer(context, CreateBudgetResponseSchema, answer);
        printStatus(context, await statusOf(gate, present(answer.budget).id, project));
      }),
    );
}

function listBudgetsCommand(context: CliContext): Command {
  return listCommand('list budgets with what their windows have used, the fullest first').action(
    (options: ListOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const answer = await readPages(
          lookedAtMax,
          (page) => gate.of(BudgetService).listBudgets({ ...page, ...project }),
          ({ budgets }) => budgets,
        );
        const budgets = answer.budgets.sort(byFullness).slice(0, options.limit);
        if (options.json) return printAnswer(context, ListBudgetsResponseSchema, { ...answer, budgets });
        printTable(
          context,
          budgetColumns,
          budgets.map(budgetRow),
          'There are no budgets: portcullis budgets create NAME --limit 5 --window day',
        );
        if (answer.nextPageToken !== '') printNote(context, `These are the fullest of the newest ${lookedAtMax}.`);
        else if (answer.budgets.length > budgets.length) printNote(context, 'There are more: raise --limit.');
      }),
  );
}

function showCommand(context: CliContext): Command {
  return gateCommand('show', 'show a budget with what it has used and its notices')
    .argument('<budget>', 'its name or id')
    .action((name: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const status = await statusOf(gate, name, project);
        const { notices, nextPageToken } = await gate
          .of(BudgetService)
          .listBudgetNotices({ budgetId: present(status.budget).id, pageSize: noticesShownMax, ...project });
        if (options.json) {
          return printJson(context, {
            status: toJson(BudgetStatusSchema, status, { alwaysEmitImplicit: true }),
            notices: notices.map((notice) => toJson(BudgetNoticeSchema, notice, { alwaysEmitImplicit: true })),
          });
        }
        printStatus(context, status);
        if (notices.length === 0) return;
        printLine(context, '');
        printTable(context, noticeColumns, notices.map(noticeRow), '');
        if (nextPageToken !== '') printNote(context, `There are more: portcullis budgets notices ${name}`);
      }),
    );
}

function noticesCommand(context: CliContext): Command {
  const description = 'list budgets that reached a percent of their limit, newest first';
  return historyCommand(context, 'notices', description, async (gate, scope, { limit, json }) => {
    const answer = await readPages(
      limit,
      (page) => gate.of(BudgetService).listBudgetNotices({ ...page, ...scope }),
      ({ notices }) => notices,
    );
    if (json) return printAnswer(context, ListBudgetNoticesResponseSchema, answer);
    printTable(context, noticeColumns, answer.notices.map(noticeRow), 'There are no notices.');
    noteMore(context, answer.nextPageToken);
  });
}

function postingsCommand(context: CliContext): Command {
  const description = 'list what was posted for processes that went silent with leases, newest first';
  return historyCommand(context, 'postings', description, async (gate, scope, { limit, json }) => {
    const answer = await readPages(
      limit,
      (page) => gate.of(BudgetService).listLeasePostings({ ...page, ...scope }),
      ({ postings }) => postings,
    );
    if (json) return printAnswer(context, ListLeasePostingsResponseSchema, answer);
    printTable(context, postingColumns, answer.postings.map(postingRow), 'There are no lease postings.');
    noteMore(context, answer.nextPageToken);
  });
}

/** A command that lists what happened to budgets: to all of a project, or to one. */
function historyCommand(
  context: CliContext,
  name: string,
  description: string,
  show: (gate: GateClient, scope: { budgetId?: string; projectId?: string }, options: ListOptions) => Promise<void>,
): Command {
  return gateCommand(name, description)
    .argument('[budget]', 'of this budget alone, by its name or id')
    .option('--limit <count>', 'how many at most', parseCount, 100)
    .action((named: string | undefined, options: ListOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const budget = named === undefined ? {} : { budgetId: await lastingIdOf(gate, named, project) };
        await show(gate, { ...budget, ...project }, options);
      }),
    );
}

/** An id stands for itself: the budget may be deleted, and what is told of it stays. */
async function lastingIdOf(gate: GateClient, nameOrId: string, project: { projectId?: string }): Promise<string> {
  if (nameOrId.startsWith('bud_')) return nameOrId;
  return present((await statusOf(gate, nameOrId, project)).budget).id;
}

interface UpdateOptions extends GateOptions {
  readonly name?: string;
  /** False: no limit any more. */
  readonly limit?: string | false;
  readonly dryRun?: true;
  readonly enforce?: true;
  readonly notify?: string;
}

function updateCommand(context: CliContext): Command {
  const limits = new Set<string>();
  const command = gateCommand('update', 'change name, limit, mode or notices of a budget; what was spent stays')
    .argument('<budget>', 'its name or id')
    .option('--name <name>', 'the new name')
    .option('--limit <amount>', 'the new limit, in the unit of the budget')
    .option('--no-limit', 'count only')
    .option('--dry-run', 'from now on refuse nothing, and record what would have been')
    .option('--enforce', 'from now on refuse what does not fit')
    .option('--notify <percents>', 'tell when so much of the limit is spent, like 50,80,100; "" for never')
    .action((name: string, options: UpdateOptions) =>
      withGate(context, async (gate) => {
        if (options.dryRun && options.enforce)
          throw new CliError('Give --dry-run or --enforce, not both.', exitCodes.usage);
        if (limits.size > 1) throw new CliError('Give --limit or --no-limit, not both.', exitCodes.usage);
        const project = await projectOf(gate, options);
        const changes = changesOf(present((await statusOf(gate, name, project)).budget), options);
        if (changes.updateMask.paths.length === 0)
          throw new CliError(
            'Say what to change: --name, --limit, --no-limit, --dry-run, --enforce or --notify.',
            exitCodes.usage,
          );
        const answer = await gate.of(BudgetService).updateBudget({ ...changes, ...project });
        if (options.json) return printAnswer(context, UpdateBudgetResponseSchema, answer);
        printStatus(context, await statusOf(gate, present(answer.budget).id, project));
      }),
    );
  // Of an option and its opposite commander keeps the one that came last.
  for (const name of ['limit', 'no-limit']) command.on(`option:${name}`, () => limits.add(name));
  return command;
}

function changesOf(budget: Budget, { name, limit, dryRun, enforce, notify }: UpdateOptions) {
  const mode = dryRun ? BudgetMode.DRY_RUN : enforce ? BudgetMode.ENFORCE : undefined;
  const paths = [
    ...(name === undefined ? [] : ['name']),
    ...(limit === undefined ? [] : ['limit_amount']),
    ...(mode === undefined ? [] : ['mode']),
    ...(notify === undefined ? [] : ['notify_percents']),
  ];
  return {
    budgetId: budget.id,
    updateMask: { paths },
    ...(name === undefined ? {} : { name }),
    ...(typeof limit === 'string' ? { limitAmount: parseAmount(limit, budget.unit) } : {}),
    ...(mode === undefined ? {} : { mode }),
    ...(notify === undefined ? {} : notifyOf({ notify })),
  };
}

function deleteCommand(context: CliContext): Command {
  return gateCommand('delete', 'end a budget: it counts no further call')
    .argument('<budget>', 'its name or id')
    .action((name: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const budget = present((await statusOf(gate, name, project)).budget);
        const answer = await gate.of(BudgetService).deleteBudget({ budgetId: budget.id, ...project });
        if (options.json) return printAnswer(context, DeleteBudgetResponseSchema, answer);
        printLine(context, `Budget ${budget.name} (${budget.id}) is deleted.`);
      }),
    );
}

/** @throws ConnectError when there is no such budget */
async function statusOf(gate: GateClient, nameOrId: string, project: { projectId?: string }): Promise<BudgetStatus> {
  const budget: MessageInitShape<typeof GetBudgetRequestSchema>['budget'] = nameOrId.startsWith('bud_')
    ? { case: 'budgetId', value: nameOrId }
    : { case: 'name', value: nameOrId };
  return present((await gate.of(BudgetService).getBudget({ budget, ...project })).status);
}

function printStatus(context: CliContext, status: BudgetStatus): void {
  printFields(context, budgetFields(status));
}
