import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Command } from 'commander';
import {
  BudgetMode,
  type BudgetSelectorSchema,
  BudgetUnit,
  BudgetUnitSchema,
  type BudgetWindow,
  BudgetWindowSchema,
  type CreateBudgetRequestSchema,
  type ProviderType,
  ProviderTypeSchema,
} from '../gen/portcullis/v1/budget_pb.ts';
import { parseAmount, parsePercents } from './budget-amounts.ts';
import { enumOption } from './enum-words.ts';
import type { GateClient } from './gate-client.ts';
import type { GateOptions } from './gate-command.ts';
import { agentIdOf, teamIdOf } from './references.ts';

/** What a command line says of a budget, or of a cap of a policy. */
export interface BudgetOptions extends GateOptions {
  readonly limit?: string;
  readonly unit: BudgetUnit;
  readonly window: BudgetWindow;
  readonly timeZone?: string;
  readonly dryRun?: true;
  readonly notify?: string;
  readonly agent?: string;
  readonly person?: string;
  readonly team?: string;
  readonly key?: string;
  readonly workflow?: string;
  readonly run?: string;
  readonly providerType?: ProviderType;
  readonly provider?: string;
  readonly model?: string;
}

/** Adds the options that say what a budget counts, and how much it allows. */
export function withBudgetOptions(command: Command): Command {
  return command
    .option(
      '--limit <amount>',
      'USD like 5 or 0.25, a number of tokens or requests, or a time like 30s; 0 denies (default: none)',
    )
    .addOption(enumOption('--unit <unit>', 'what it counts', BudgetUnitSchema).default(BudgetUnit.USD, 'usd'))
    .addOption(enumOption('--window <window>', 'over what it counts', BudgetWindowSchema).makeOptionMandatory())
    .option('--time-zone <name>', 'where its days and months begin, like Europe/Berlin (default: UTC)')
    .option('--dry-run', 'record what it would refuse, and refuse nothing')
    .option('--notify <percents>', 'tell when so much of the limit is spent; "" for never (default: 80,100)')
    .option('--agent <agent>', 'count the calls of one agent, by name or id')
    .option('--person <id>', 'count the calls of one person and their agents')
    .option('--team <team>', 'count the calls of the people of one team and their agents, by name or id')
    .option('--key <id>', 'count the calls with one key')
    .option('--workflow <name>', 'count the calls within runs of one workflow')
    .option('--run <id>', 'count the calls within one run')
    .option('--provider <name>', 'count the calls to one provider')
    .addOption(enumOption('--provider-type <type>', 'count the calls to providers paid so', ProviderTypeSchema))
    .option('--model <pattern>', 'count the calls for one public model name, * matches any');
}

/** The members of a request that say what a budget is. @throws CliError */
export async function budgetWords(
  gate: GateClient,
  name: string,
  options: BudgetOptions,
  project: { projectId?: string },
): Promise<Omit<MessageInitShape<typeof CreateBudgetRequestSchema>, '$typeName' | 'projectId'>> {
  return {
    name,
    selector: await selectorOf(gate, options, project),
    unit: options.unit,
    window: options.window,
    timeZone: options.timeZone ?? '',
    mode: options.dryRun ? BudgetMode.DRY_RUN : BudgetMode.ENFORCE,
    ...(options.limit === undefined ? {} : { limitAmount: parseAmount(options.limit, options.unit) }),
    ...notifyOf(options),
  };
}

/** The percents of `--notify`; nothing where it is not given. @throws CliError */
export function notifyOf({ notify }: { readonly notify?: string }): { notifyPercents?: { percents: number[] } } {
  return notify === undefined ? {} : { notifyPercents: { percents: parsePercents(notify) } };
}

async function selectorOf(
  gate: GateClient,
  options: BudgetOptions,
  project: { projectId?: string },
): Promise<MessageInitShape<typeof BudgetSelectorSchema>> {
  const { agent, person, team, key, workflow, run, provider, providerType, model } = options;
  return {
    ...(agent === undefined ? {} : { agentId: await agentIdOf(gate, agent, project) }),
    ...(person === undefined ? {} : { personId: person }),
    ...(team === undefined ? {} : { teamId: await teamIdOf(gate, team, project) }),
    ...(key === undefined ? {} : { keyId: key }),
    ...(workflow === undefined ? {} : { workflow }),
    ...(run === undefined ? {} : { runId: run }),
    ...(provider === undefined ? {} : { provider }),
    ...(providerType === undefined ? {} : { providerType }),
    ...(model === undefined ? {} : { model }),
  };
}
