import type { MessageInitShape } from '@bufbuild/protobuf';
import { Command } from 'commander';
import { maxAmount, parseUsd } from '../base/money.ts';
import {
  type Budget,
  BudgetMode,
  type BudgetSelectorSchema,
  BudgetService,
  BudgetUnit,
  BudgetUnitSchema,
  type BudgetWindow,
  BudgetWindowSchema,
  CreateBudgetResponseSchema,
  DeleteBudgetResponseSchema,
  ListBudgetsResponseSchema,
  type ProviderType,
  ProviderTypeSchema,
  UpdateBudgetResponseSchema,
} from '../gen/portcullis/v1/budget_pb.ts';
import { amountText, budgetColumns, budgetRow, selectorText } from './budget-table.ts';
import { type CliContext, CliError } from './context.ts';
import { enumOption, enumWord } from './enum-words.ts';
import { exitCodes } from './exit-codes.ts';
import { type GateClient, withGate } from './gate-client.ts';
import { gateCommand, type GateOptions, listCommand, type ListOptions, present } from './gate-command.ts';
import { noteMore, printAnswer, printFields, printLine, printTable } from './output.ts';
import { findListed, readPages } from './paging.ts';
import { agentIdOf, agentNames, projectOf } from './references.ts';

/** `portcullis budgets`: limits on what calls may use. */
export function budgetsCommand(context: CliContext): Command {
  return new Command('budgets')
    .description('limit money, tokens or requests')
    .addCommand(createCommand(context))
    .addCommand(listBudgetsCommand(context))
    .addCommand(updateCommand(context))
    .addCommand(deleteCommand(context));
}

interface CreateOptions extends GateOptions {
  readonly limit?: string;
  readonly unit: BudgetUnit;
  readonly window: BudgetWindow;
  readonly timeZone?: string;
  readonly dryRun?: true;
  readonly agent?: string;
  readonly person?: string;
  readonly key?: string;
  readonly workflow?: string;
  readonly run?: string;
  readonly providerType?: ProviderType;
  readonly provider?: string;
  readonly model?: string;
}

function createCommand(context: CliContext): Command {
  return gateCommand('create', 'make a budget; without a selector it counts the whole project')
    .argument('<name>')
    .option('--limit <amount>', 'USD like 5 or 0.25, or a whole number of tokens or requests; 0 denies (default: none)')
    .addOption(enumOption('--unit <unit>', 'what it counts', BudgetUnitSchema).default(BudgetUnit.USD, 'usd'))
    .addOption(enumOption('--window <window>', 'over what it counts', BudgetWindowSchema).makeOptionMandatory())
    .option('--time-zone <name>', 'where its days and months begin, like Europe/Berlin (default: UTC)')
    .option('--dry-run', 'record what it would refuse, and refuse nothing')
    .option('--agent <agent>', 'count the calls of one agent, by name or id')
    .option('--person <id>', 'count the calls of one person and their agents')
    .option('--key <id>', 'count the calls with one key')
    .option('--workflow <name>', 'count the calls within runs of one workflow')
    .option('--run <id>', 'count the calls within one run')
    .option('--provider <name>', 'count the calls to one provider')
    .addOption(enumOption('--provider-type <type>', 'count the calls to providers paid so', ProviderTypeSchema))
    .option('--model <pattern>', 'count the calls for one public model name, * matches any')
    .action((name: string, options: CreateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const answer = await gate.of(BudgetService).createBudget({
          name,
          selector: await selectorOf(gate, options, project),
          unit: options.unit,
          window: options.window,
          timeZone: options.timeZone ?? '',
          mode: options.dryRun ? BudgetMode.DRY_RUN : BudgetMode.ENFORCE,
          ...(options.limit === undefined ? {} : { limitAmount: parseAmount(options.limit, options.unit) }),
          ...project,
        });
        if (options.json) return printAnswer(context, CreateBudgetResponseSchema, answer);
        printBudget(context, present(answer.budget));
      }),
    );
}

async function selectorOf(
  gate: GateClient,
  options: CreateOptions,
  project: { projectId?: string },
): Promise<MessageInitShape<typeof BudgetSelectorSchema>> {
  const { agent, person, key, workflow, run, provider, providerType, model } = options;
  return {
    ...(agent === undefined ? {} : { agentId: await agentIdOf(gate, agent, project) }),
    ...(person === undefined ? {} : { personId: person }),
    ...(key === undefined ? {} : { keyId: key }),
    ...(workflow === undefined ? {} : { workflow }),
    ...(run === undefined ? {} : { runId: run }),
    ...(provider === undefined ? {} : { provider }),
    ...(providerType === undefined ? {} : { providerType }),
    ...(model === undefined ? {} : { model }),
  };
}

function listBudgetsCommand(context: CliContext): Command {
  return listCommand('list budgets with what their windows have used').action((options: ListOptions) =>
    withGate(context, async (gate) => {
      const project = await projectOf(gate, options);
      const answer = await readPages(
        options.limit,
        (page) => gate.of(BudgetService).listBudgets({ ...page, ...project }),
        ({ budgets }) => budgets,
      );
      if (options.json) return printAnswer(context, ListBudgetsResponseSchema, answer);
      const names = await agentNames(gate, project);
      printTable(
        context,
        budgetColumns,
        answer.budgets.map(({ budget, standing }) => budgetRow(present(budget), standing, names)),
        'There are no budgets: portcullis budgets create NAME --limit 5 --window day',
      );
      noteMore(context, answer.nextPageToken);
    }),
  );
}

interface UpdateOptions extends GateOptions {
  readonly name?: string;
  /** False: no limit any more. */
  readonly limit?: string | false;
  readonly dryRun?: true;
  readonly enforce?: true;
}

function updateCommand(context: CliContext): Command {
  return gateCommand('update', 'change name, limit or mode of a budget; what was spent stays')
    .argument('<budget>', 'its name or id')
    .option('--name <name>', 'the new name')
    .option('--limit <amount>', 'the new limit, in the unit of the budget')
    .option('--no-limit', 'count only')
    .option('--dry-run', 'from now on refuse nothing, and record what would have been')
    .option('--enforce', 'from now on refuse what does not fit')
    .action((name: string, options: UpdateOptions) =>
      withGate(context, async (gate) => {
        if (options.dryRun && options.enforce)
          throw new CliError('Give --dry-run or --enforce, not both.', exitCodes.usage);
        const project = await projectOf(gate, options);
        const changes = changesOf(await budgetOf(gate, name, project), options);
        if (changes.updateMask.paths.length === 0)
          throw new CliError(
            'Say what to change: --name, --limit, --no-limit, --dry-run or --enforce.',
            exitCodes.usage,
          );
        const answer = await gate.of(BudgetService).updateBudget({ ...changes, ...project });
        if (options.json) return printAnswer(context, UpdateBudgetResponseSchema, answer);
        printBudget(context, present(answer.budget));
      }),
    );
}

function changesOf(budget: Budget, { name, limit, dryRun, enforce }: UpdateOptions) {
  const mode = dryRun ? BudgetMode.DRY_RUN : enforce ? BudgetMode.ENFORCE : undefined;
  const paths = [
    ...(name === undefined ? [] : ['name']),
    ...(limit === undefined ? [] : ['limit_amount']),
    ...(mode === undefined ? [] : ['mode']),
  ];
  return {
    budgetId: budget.id,
    updateMask: { paths },
    ...(name === undefined ? {} : { name }),
    ...(typeof limit === 'string' ? { limitAmount: parseAmount(limit, budget.unit) } : {}),
    ...(mode === undefined ? {} : { mode }),
  };
}

function deleteCommand(context: CliContext): Command {
  return gateCommand('delete', 'end a budget: it counts no further call')
    .argument('<budget>', 'its name or id')
    .action((name: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const budget = await budgetOf(gate, name, project);
        const answer = await gate.of(BudgetService).deleteBudget({ budgetId: budget.id, ...project });
        if (options.json) return printAnswer(context, DeleteBudgetResponseSchema, answer);
        printLine(context, `Budget ${budget.name} (${budget.id}) is deleted.`);
      }),
    );
}

async function budgetOf(gate: GateClient, nameOrId: string, project: { projectId?: string }): Promise<Budget> {
  const found = await findListed(
    (page) => gate.of(BudgetService).listBudgets({ ...page, ...project }),
    ({ budgets }) => budgets,
    ({ budget }) => budget?.id === nameOrId || budget?.name === nameOrId,
  );
  if (found?.budget === undefined) throw new CliError(`There is no budget "${nameOrId}": \`portcullis budgets list\`.`);
  return found.budget;
}

function printBudget(context: CliContext, budget: Budget): void {
  printFields(context, [
    ['id', budget.id],
    ['name', budget.name],
    ['counts', selectorText(budget.selector)],
    ['limit', amountText(budget.limitAmount, budget.unit)],
    ['window', `${enumWord(BudgetWindowSchema, budget.window)} (${budget.timeZone})`],
    ['mode', budget.mode === BudgetMode.DRY_RUN ? 'dry run: refuses nothing' : 'enforced'],
  ]);
}

/** @throws CliError when the text is no amount of that unit */
function parseAmount(text: string, unit: BudgetUnit): bigint {
  try {
    if (unit === BudgetUnit.USD) return parseUsd(text);
    const amount = /^\d{1,19}$/.test(text) ? BigInt(text) : maxAmount + 1n;
    if (amount <= maxAmount) return amount;
  } catch {
    throw new CliError(`--limit: "${text}" is not an amount in USD: write it like 5 or 0.25.`, exitCodes.usage);
  }
  throw new CliError(
    `--limit: "${text}" is not a whole number of ${enumWord(BudgetUnitSchema, unit)}.`,
    exitCodes.usage,
  );
}
