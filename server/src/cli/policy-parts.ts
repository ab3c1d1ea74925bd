import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { Command, Option } from 'commander';
import { BudgetModeSchema, BudgetWindowSchema } from '../gen/portcullis/v1/budget_pb.ts';
import {
  type PolicyDocument,
  type PolicyVersion,
  RuleEffect,
  RuleEffectSchema,
  RuleMode,
  RuleModeSchema,
} from '../gen/portcullis/v1/policy_document_pb.ts';
import {
  DeletePolicyCapResponseSchema,
  DeleteRuleResponseSchema,
  ListPolicyCapsResponseSchema,
  ListRulesResponseSchema,
  PolicyService,
  UpsertPolicyCapResponseSchema,
  UpsertRuleResponseSchema,
} from '../gen/portcullis/v1/policy_pb.ts';
import { actions } from '../policy/facts.ts';
import { amountText } from './budget-amounts.ts';
import { type BudgetOptions, budgetWords, withBudgetOptions } from './budget-options.ts';
import { type CliContext } from './context.ts';
import { parseDuration } from './durations.ts';
import { enumOption, enumWord } from './enum-words.ts';
import { withGate } from './gate-client.ts';
import { collectValues, gateCommand, type GateOptions, parseCount, present } from './gate-command.ts';
import { printAnswer, printLine, printTable } from './output.ts';
import { selectorWords } from './policy-yaml.ts';
import { agentNames, projectOf } from './references.ts';

/** `portcullis policy rules`: the rules in force, one by one. */
export function rulesCommand(context: CliContext): Command {
  return new Command('rules')
    .description('change the rules in force one by one: each change is a new version')
    .addCommand(listRulesCommand(context))
    .addCommand(setRuleCommand(context))
    .addCommand(deleteRuleCommand(context));
}

/** `portcullis policy caps`: the caps in force, one by one. */
export function capsCommand(context: CliContext): Command {
  return new Command('caps')
    .description('change the caps in force one by one: each change is a new version')
    .addCommand(listCapsCommand(context))
    .addCommand(setCapCommand(context))
    .addCommand(deleteCapCommand(context));
}

function listRulesCommand(context: CliContext): Command {
  return gateCommand('list', 'list the rules in force').action((options: GateOptions) =>
    withGate(context, async (gate) => {
      const answer = await gate.of(PolicyService).listRules(await projectOf(gate, options));
      if (options.json) return printAnswer(context, ListRulesResponseSchema, answer);
      printTable(
        context,
        ['NAME', 'EFFECT', 'MODE', 'ACTIONS', 'CONDITION'].map((title) => ({ title })),
        answer.rules.map((rule) => [
          rule.name,
          enumWord(RuleEffectSchema, rule.effect),
          enumWord(RuleModeSchema, rule.mode),
          rule.actions.join(' '),
          rule.condition.replaceAll(/\s+/g, ' '),
        ]),
        'There are no rules: portcullis policy rules set NAME --effect deny --condition CEL',
      );
    }),
  );
}

interface RuleOptions extends GateOptions {
  readonly effect: RuleEffect;
  readonly condition: string;
  readonly action?: readonly string[];
  readonly shadow?: true;
  readonly approver?: readonly string[];
  readonly quorum: number;
  readonly expiry?: number;
  readonly note?: string;
}

function setRuleCommand(context: CliContext): Command {
  return gateCommand('set', 'add a rule, or replace the one of that name')
    .argument('<name>')
    .addOption(enumOption('--effect <effect>', 'what becomes of a call', RuleEffectSchema).makeOptionMandatory())
    .option('--condition <cel>', 'when it matches (default: always)', '')
    .addOption(
      new Option('--action <action>', 'what it judges; may be given again (default: models.invoke)')
        .choices(actions)
        .argParser(collectValues),
    )
    .option('--shadow', 'record what it would do, and do nothing')
    .option('--approver <id>', 'a person or team that may approve; may be given again', collectValues)
    .option('--quorum <count>', 'how many must approve', parseCount, 1)
    .option('--expiry <time>', 'how long they have (default: 1h)', parseDuration)
    .option('--note <text>', 'why')
    .action((name: string, options: RuleOptions) =>
      withGate(context, async (gate) => {
        const { effect, condition, action = ['models.invoke'], quorum, expiry } = options;
        const answer = await gate.of(PolicyService).upsertRule({
          rule: {
            name,
            actions: [...action],
            condition,
            effect,
            mode: options.shadow ? RuleMode.SHADOW : RuleMode.ENFORCE,
            ...(effect === RuleEffect.REQUIRE_APPROVAL && {
              approval: {
                approvers: [...(options.approver ?? [])],
                quorum,
                ...(expiry !== undefined && { expiry: durationFromMs(expiry) }),
              },
            }),
          },
          note: options.note ?? '',
          ...(await projectOf(gate, options)),
        });
        if (options.json) return printAnswer(context, UpsertRuleResponseSchema, answer);
        printInForce(context, answer);
      }),
    );
}

function deleteRuleCommand(context: CliContext): Command {
  return gateCommand('delete', 'take a rule out')
    .argument('<name>')
    .option('--note <text>', 'why')
    .action((name: string, options: GateOptions & { readonly note?: string }) =>
      withGate(context, async (gate) => {
        const { note = '' } = options;
        const answer = await gate.of(PolicyService).deleteRule({ name, note, ...(await projectOf(gate, options)) });
        if (options.json) return printAnswer(context, DeleteRuleResponseSchema, answer);
        printInForce(context, answer);
      }),
    );
}

function listCapsCommand(context: CliContext): Command {
  return gateCommand('list', 'list the caps in force; `budgets list` shows what they have used').action(
    (options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const answer = await gate.of(PolicyService).listPolicyCaps(project);
        if (options.json) return printAnswer(context, ListPolicyCapsResponseSchema, answer);
        const names = await agentNames(gate, project);
        printTable(
          context,
          ['NAME', 'COUNTS', 'WINDOW', 'LIMIT', 'MODE'].map((title) => ({ title })),
          answer.caps.map((cap) => [
            cap.name,
            countsText(cap, names),
            enumWord(BudgetWindowSchema, cap.window),
            cap.limitAmount === undefined ? 'none' : amountText(cap.limitAmount, cap.unit),
            enumWord(BudgetModeSchema, cap.mode),
          ]),
          'There are no caps: portcullis policy caps set NAME --limit 5 --window day',
        );
      }),
  );
}

function countsText({ selector }: PolicyDocument['caps'][number], names: ReadonlyMap<string, string>): string {
  const words = Object.entries(selector ? selectorWords(selector, names) : {});
  return words.length === 0 ? 'all' : words.map(([name, value]) => `${name}:${value}`).join(' ');
}

function setCapCommand(context: CliContext): Command {
  return withBudgetOptions(gateCommand('set', 'add a cap, or replace the one of that name'))
    .argument('<name>')
    .option('--note <text>', 'why')
    .action((name: string, options: BudgetOptions & { readonly note?: string }) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const cap = await budgetWords(gate, name, options, project);
        const answer = await gate.of(PolicyService).upsertPolicyCap({ cap, note: options.note ?? '', ...project });
        if (options.json) return printAnswer(context, UpsertPolicyCapResponseSchema, answer);
        printInForce(context, answer);
      }),
    );
}

function deleteCapCommand(context: CliContext): Command {
  return gateCommand('delete', 'take a cap out: its budget ends')
    .argument('<name>')
    .option('--note <text>', 'why')
    .action((name: string, options: GateOptions & { readonly note?: string }) =>
      withGate(context, async (gate) => {
        const { note = '' } = options;
        const answer = await gate
          .of(PolicyService)
          .deletePolicyCap({ name, note, ...(await projectOf(gate, options)) });
        if (options.json) return printAnswer(context, DeletePolicyCapResponseSchema, answer);
        printInForce(context, answer);
      }),
    );
}

function printInForce(context: CliContext, answer: { readonly version?: PolicyVersion | undefined }): void {
  printLine(context, `Version ${present(answer.version).version} is in force.`);
}
