import type { Command } from 'commander';
import {
  KillSwitchState,
  KillSwitchStateSchema,
  ListKillSwitchesResponseSchema,
  PolicyService,
} from '../../gen/portcullis/v1/policy_pb.ts';
import type { CliContext } from '../context.ts';
import { enumWord } from '../enum-words.ts';
import { withGate } from '../gate-client.ts';
import { gateCommand, type GateOptions, listCommand, type ListOptions, present } from '../gate-command.ts';
import { localTime, noteMore, printAnswer, printFields, printJson, printTable } from '../output.ts';
import { readPages } from '../paging.ts';
import { agentNames, projectOf } from '../references.ts';
import { documentOf } from './engage.ts';
import { printReplica, printReplicaHead, readReplicas, requireAnswers } from './replicas.ts';
import { parseSwitch, switchIdOf, type Target, targetText } from './targets.ts';

export function statusCommand(context: CliContext): Command {
  return gateCommand('status', 'how a switch stands, and which replicas obey it')
    .argument('<switch>', 'the id of the switch (kil_…), or its scope as `kill on` takes it', parseSwitch)
    .action((which: string | Target, options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const killSwitchId = await switchIdOf(gate, which, project);
        const answer = await gate.of(PolicyService).getKillSwitch({ killSwitchId, ...project });
        const kill = present(answer.killSwitch);
        const replicas = await readReplicas(gate, killSwitchId, project);
        if (options.json) printJson(context, documentOf(kill, replicas));
        else {
          const ask = kill.releaseAsk;
          printFields(context, [
            [kill.drill ? 'drill of' : 'stops', targetText(kill, await agentNames(gate, project))],
            ['state', enumWord(KillSwitchStateSchema, kill.state)],
            ['reason', kill.reason],
            ['engaged by', kill.engagedBy],
            ['since', localTime(kill.engageTime)],
            ['until', localTime(kill.releaseTime ?? kill.expireTime, 'released')],
            ['release', ask && `asked by ${ask.askedBy}, to be confirmed before ${localTime(ask.expireTime)}`],
          ]);
          printReplicaHead(context);
          for (const replica of replicas) printReplica(context, kill, replica);
        }
        if (kill.state !== KillSwitchState.RELEASED) requireAnswers(replicas);
      }),
    );
}

export function listSwitchesCommand(context: CliContext): Command {
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
          untilText(one.state, localTime(one.expireTime, 'released')),
          one.id,
        ]),
        'No switch is engaged.',
      );
      noteMore(context, answer.nextPageToken);
    }),
  );
}

function untilText(state: KillSwitchState, until: string): string {
  return state === KillSwitchState.RELEASE_ASKED ? `${until} (asked)` : until;
}
