import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Command, InvalidArgumentError } from 'commander';
import {
  EngageKillSwitchResponseSchema,
  KillScope,
  KillScopeSchema,
  type KillSwitch,
  ListKillSwitchesResponseSchema,
  PolicyService,
  ReleaseKillSwitchResponseSchema,
} from '../gen/portcullis/v1/policy_pb.ts';
import { type CliContext, CliError } from './context.ts';
import { parseDuration } from './durations.ts';
import { enumWord } from './enum-words.ts';
import { type GateClient, withGate } from './gate-client.ts';
import { gateCommand, type GateOptions, listCommand, type ListOptions, present } from './gate-command.ts';
import { localTime, noteMore, printAnswer, printLine, printNote, printTable } from './output.ts';
import { findListed, readPages } from './paging.ts';
import { agentIdOf, agentNames, projectOf } from './references.ts';

/** `portcullis kill`: stop work now, and let it go on. */
export function killCommand(context: CliContext): Command {
  return new Command('kill')
    .description('stop work: new calls are refused and streams in flight end')
    .addCommand(onCommand(context))
    .addCommand(offCommand(context))
    .addCommand(listSwitchesCommand(context));
}

/** What a switch stops, as it is written: `agent:reviewer`, `model:claude-*`, `everything`. */
interface Target {
  readonly scope: KillScope;
  readonly value: string;
  readonly text: string;
}

interface OnOptions extends GateOptions {
  readonly scope: Target;
  readonly reason: string;
  readonly for?: number;
}

function onCommand(context: CliContext): Command {
  return gateCommand('on', 'stop a scope')
    .requiredOption(
      '--scope <scope>',
      'everything, project[:NAME], agent:NAME, key:ID, run:ID or model:PATTERN',
      parseTarget,
    )
    .requiredOption('--reason <text>', 'why; those who are stopped read it')
    .option('--for <time>', 'when it ends by itself, like 1h (default: not before it is released)', parseDuration)
    .action((options: OnOptions) =>
      withGate(context, async (gate) => {
        const answer = await gate.of(PolicyService).engageKillSwitch({
          scope: options.scope.scope,
          value: options.scope.value,
          reason: options.reason,
          ...(options.for === undefined ? {} : { expireTime: timestampFromMs(Date.now() + options.for) }),
          ...(await projectOf(gate, options)),
        });
        if (options.json) return printAnswer(context, EngageKillSwitchResponseSchema, answer);
        const engaged = present(answer.killSwitch);
        printLine(context, `Stopped ${options.scope.text} until ${localTime(engaged.expireTime, 'it is released')}.`);
        printLine(context, `Release it with: portcullis kill off ${engaged.id}`);
      }),
    );
}

function offCommand(context: CliContext): Command {
  return gateCommand('off', 'let a scope go on')
    .argument('<switch>', 'the id of the switch (kil_…), or its scope as `kill on` takes it', parseSwitch)
    .action((which: string | Target, options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const killSwitchId = typeof which === 'string' ? which : await engagedOn(gate, which, project);
        const answer = await gate.of(PolicyService).releaseKillSwitch({ killSwitchId, ...project });
        if (options.json) return printAnswer(context, ReleaseKillSwitchResponseSchema, answer);
        const released = typeof which === 'string' ? targetText(present(answer.killSwitch)) : which.text;
        printLine(context, `${released} may go on.`);
        const others = await gate.of(PolicyService).listKillSwitches({ pageSize: 1, ...project });
        if (others.killSwitches.length > 0) printNote(context, 'Other switches are engaged: portcullis kill list');
      }),
    );
}

async function engagedOn(gate: GateClient, target: Target, project: { projectId?: string }): Promise<string> {
  const value = await idIn(gate, target, project);
  const found = await findListed(
    (page) => gate.of(PolicyService).listKillSwitches({ ...page, ...project }),
    ({ killSwitches }) => killSwitches,
    (one) => one.scope === target.scope && (value === '' || one.value === value),
  );
  if (found === undefined) throw new CliError('No switch is engaged on that scope: `portcullis kill list`.');
  return found.id;
}

async function idIn(gate: GateClient, { scope, value }: Target, project: { projectId?: string }): Promise<string> {
  if (scope === KillScope.AGENT) return agentIdOf(gate, value, project);
  if (scope === KillScope.PROJECT && value !== '')
    return (await projectOf(gate, { project: value })).projectId ?? value;
  return value;
}

function listSwitchesCommand(context: CliContext): Command {
  return listCommand('list the switches that are engaged now').action((options: ListOptions) =>
    withGate(context, async (gate) => {
      const project = await projectOf(gate, options);
      const answer = await readPages(
        options.limit,
        (page) => gate.of(PolicyService).listKillSwitches({ ...page, ...project }),
        ({ killSwitches }) => killSwitches,
      );
      if (options.json) return printAnswer(context, ListKillSwitchesResponseSchema, answer);
      const names = await agentNames(gate, project);
      printTable(
        context,
        ['SCOPE', 'REASON', 'BY', 'SINCE', 'UNTIL', 'ID'].map((title) => ({ title })),
        answer.killSwitches.map((one) => [
          targetText(one, names),
          one.reason,
          one.engagedBy,
          localTime(one.engageTime),
          localTime(one.expireTime, 'released'),
          one.id,
        ]),
        'No switch is engaged.',
      );
      noteMore(context, answer.nextPageToken);
    }),
  );
}

function targetText({ scope, value }: KillSwitch, names: ReadonlyMap<string, string> = new Map()): string {
  const word = enumWord(KillScopeSchema, scope);
  return value === '' ? word : `${word}:${names.get(value) ?? value}`;
}

function parseTarget(text: string): Target {
  const [word, ...rest] = text.split(':');
  const scope = KillScopeSchema.values.find(
    ({ number, localName }) => number !== 0 && localName.toLowerCase() === word,
  );
  const value = rest.join(':');
  const wantsValue = scope?.number !== KillScope.EVERYTHING && scope?.number !== KillScope.PROJECT;
  if (scope === undefined || (wantsValue && value === '') || (scope.number === KillScope.EVERYTHING && value !== '')) {
    throw new InvalidArgumentError('Write everything, project[:NAME], agent:NAME, key:ID, run:ID or model:PATTERN.');
  }
  return { scope: scope.number as KillScope, value, text };
}

function parseSwitch(text: string): string | Target {
  return text.startsWith('kil_') ? text : parseTarget(text);
}
