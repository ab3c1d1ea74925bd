import { toJson } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { Command } from 'commander';
import {
  type KillAcknowledgement,
  KillAcknowledgementSchema,
  type KillSwitch,
  KillSwitchSchema,
  PolicyService,
} from '../../gen/portcullis/v1/policy_pb.ts';
import type { CliContext } from '../context.ts';
import { parseDuration } from '../durations.ts';
import { withGate } from '../gate-client.ts';
import { gateCommand, type GateOptions, present } from '../gate-command.ts';
import { localTime, printJson, printLine } from '../output.ts';
import { projectOf } from '../references.ts';
import { followReplicas, printReplica, printReplicaHead, requireAnswers, silentOnes } from './replicas.ts';
import { parseTarget, type Target, targetForms } from './targets.ts';

interface EngageOptions extends GateOptions {
  readonly scope: Target;
  readonly reason: string;
  readonly for?: number;
}

export function onCommand(context: CliContext): Command {
  return gateCommand('on', 'stop a scope, and show which replicas did')
    .requiredOption('--scope <scope>', targetForms, parseTarget)
    .requiredOption('--reason <text>', 'why; those who are stopped read it')
    .option('--for <time>', 'how long, like 1h (default: until it is released)', parseDuration)
    .action((options: EngageOptions) =>
      engage(context, options, false, (kill) => {
        printLine(context, `Stopped ${options.scope.text} until ${localTime(kill.expireTime, 'it is released')}.`);
        printLine(context, `Release it with: portcullis kill off ${kill.id}`);
      }),
    );
}

export function drillCommand(context: CliContext): Command {
  return gateCommand('drill', 'measure how soon a scope would be stopped, and stop nothing')
    .requiredOption('--scope <scope>', targetForms, parseTarget)
    .option('--reason <text>', 'why, for the audit log', 'A drill.')
    .option('--for <time>', 'how long replicas may answer (default: 60 s)', parseDuration)
    .action((options: EngageOptions) =>
      engage(context, options, true, (kill) => {
        printLine(context, `A drill of ${options.scope.text} (${kill.id}): nothing is stopped.`);
      }),
    );
}

/** Engages at once, then waits for the replicas. @throws CliError with exit code `silent` when one of them does not answer */
async function engage(
  context: CliContext,
  options: EngageOptions,
  drill: boolean,
  announce: (kill: KillSwitch) => void,
): Promise<void> {
  await withGate(context, async (gate) => {
    const project = await projectOf(gate, options);
    const answer = await gate.of(PolicyService).engageKillSwitch({
      scope: options.scope.scope,
      value: options.scope.value,
      reason: options.reason,
      drill,
      ...(options.for === undefined ? {} : { ttl: durationFromMs(options.for) }),
      ...project,
    });
    const kill = present(answer.killSwitch);
    if (!options.json) {
      announce(kill);
      printReplicaHead(context);
    }
    const tell = (replica: KillAcknowledgement) => {
      if (!options.json) printReplica(context, kill, replica);
    };
    const replicas = await followReplicas(gate, kill, project, tell);
    if (options.json) printJson(context, documentOf(kill, replicas));
    else for (const replica of silentOnes(replicas)) printReplica(context, kill, replica);
    requireAnswers(replicas);
  });
}

/** A switch and its replicas as one JSON document, in Connect's form. */
export function documentOf(kill: KillSwitch, replicas: readonly KillAcknowledgement[]): unknown {
  return {
    killSwitch: toJson(KillSwitchSchema, kill, { alwaysEmitImplicit: true }),
    acknowledgements: replicas.map((one) => toJson(KillAcknowledgementSchema, one, { alwaysEmitImplicit: true })),
  };
}
