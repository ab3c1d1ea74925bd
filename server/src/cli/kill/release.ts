import type { Command } from 'commander';
import {
  ConfirmKillSwitchReleaseResponseSchema,
  type KillSwitch,
  KillSwitchState,
  PolicyService,
  ReleaseKillSwitchResponseSchema,
} from '../../gen/portcullis/v1/policy_pb.ts';
import { CliError, type CliContext } from '../context.ts';
import { exitCodes } from '../exit-codes.ts';
import { type GateClient, withGate } from '../gate-client.ts';
import { gateCommand, type GateOptions, present } from '../gate-command.ts';
import { localTime, printAnswer, printLine, printNote } from '../output.ts';
import { projectOf } from '../references.ts';
import { parseSwitch, switchIdOf, type Target, targetText } from './targets.ts';

export function offCommand(context: CliContext): Command {
  return gateCommand('off', 'let a scope go on')
    .argument('<switch>', 'the id of the switch (kil_…), or its scope as `kill on` takes it', parseSwitch)
    .action((which: string | Target, options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const killSwitchId = await switchIdOf(gate, which, project);
        const answer = await gate.of(PolicyService).releaseKillSwitch({ killSwitchId, ...project });
        const kill = present(answer.killSwitch);
        if (options.json) printAnswer(context, ReleaseKillSwitchResponseSchema, answer);
        requireReleased(kill);
        if (!options.json) await tellReleased(context, gate, typeof which === 'string' ? kill : which.text, project);
      }),
    );
}

export function confirmCommand(context: CliContext): Command {
  return gateCommand('confirm', 'as the second person, let everything go on')
    .argument('<switch>', 'the id of the switch (kil_…)')
    .action((killSwitchId: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const answer = await gate.of(PolicyService).confirmKillSwitchRelease({ killSwitchId });
        if (options.json) return printAnswer(context, ConfirmKillSwitchReleaseResponseSchema, answer);
        return tellReleased(context, gate, present(answer.killSwitch), {});
      }),
    );
}

/** @throws CliError with exit code `asked` while the switch is engaged and waits for a second person */
function requireReleased({ id, state, releaseAsk }: KillSwitch): void {
  if (state !== KillSwitchState.RELEASE_ASKED) return;
  throw new CliError(
    `Still stopped: ${releaseAsk?.askedBy} asked, and another person must confirm before ${localTime(releaseAsk?.expireTime)}: portcullis kill confirm ${id}`,
    exitCodes.asked,
  );
}

async function tellReleased(
  context: CliContext,
  gate: GateClient,
  released: KillSwitch | string,
  project: { projectId?: string },
): Promise<void> {
  printLine(context, `${typeof released === 'string' ? released : targetText(released)} may go on.`);
  const others = await gate.of(PolicyService).listKillSwitches({ pageSize: 1, ...project });
  if (others.killSwitches.length > 0) printNote(context, 'Other switches are engaged: portcullis kill list');
}
