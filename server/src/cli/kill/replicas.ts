import { setTimeout as sleep } from 'node:timers/promises';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { ConnectError } from '@connectrpc/connect';
import { type KillAcknowledgement, type KillSwitch, PolicyService } from '../../gen/portcullis/v1/policy_pb.ts';
import { CliError, type CliContext } from '../context.ts';
import { exitCodes } from '../exit-codes.ts';
import type { GateClient } from '../gate-client.ts';
import { present } from '../gate-command.ts';
import { printLine } from '../output.ts';
import { readPages } from '../paging.ts';

const answerMs = 2_000;
const pollMs = 50;
const replicasMax = 10_000;

/** How the replicas stand to a switch. */
export async function readReplicas(
  gate: GateClient,
  killSwitchId: string,
  project: { projectId?: string },
): Promise<KillAcknowledgement[]> {
  const { acknowledgements } = await readPages(
    replicasMax,
    (page) => gate.of(PolicyService).listKillAcknowledgements({ killSwitchId, ...page, ...project }),
    (answer) => answer.acknowledgements,
  );
  return acknowledgements;
}

/** Those that live and have not said that they obey. */
export function silentOnes(replicas: readonly KillAcknowledgement[]): KillAcknowledgement[] {
  return replicas.filter(({ applyTime }) => applyTime === undefined);
}

/**
 * Waits until each replica that lives has acknowledged the switch, two seconds at most, and tells of each as it does.
 * @returns how all stand in the end
 * @throws CliError when that cannot be read: the switch is engaged all the same
 */
export async function followReplicas(
  gate: GateClient,
  kill: KillSwitch,
  project: { projectId?: string },
  tell: (replica: KillAcknowledgement) => void,
): Promise<KillAcknowledgement[]> {
  const told = new Set<string>();
  const until = performance.now() + answerMs;
  try {
    for (;;) {
      const replicas = await readReplicas(gate, kill.id, project);
      for (const replica of replicas) {
        if (replica.applyTime === undefined || told.has(replica.instanceId)) continue;
        told.add(replica.instanceId);
        tell(replica);
      }
      if (silentOnes(replicas).length === 0 || performance.now() >= until) return replicas;
      await sleep(pollMs);
    }
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    throw new CliError(
      `The switch ${kill.id} is engaged, but which replicas obey it cannot be read: ${error.rawMessage}`,
      exitCodes.silent,
    );
  }
}

const columns = ['REPLICA', 'AFTER', 'CALLS', 'STREAMS', 'ENDED'] as const;
// An instance's id, and what a time, "from its start" or "no answer" takes; then counts.
const widths = [30, 14, 7, 7, 7] as const;

function printRow(context: CliContext, cells: readonly string[]): void {
  const shown = cells.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)));
  printLine(context, shown.join('  ').trimEnd());
}

/** The head of a table to which rows are added as they come. */
export function printReplicaHead(context: CliContext): void {
  printRow(context, columns);
}

/** One replica: how long after the switch was engaged it obeyed, and what it ended. */
export function printReplica(context: CliContext, kill: KillSwitch, replica: KillAcknowledgement): void {
  const { instanceId, applyTime, matchedCalls, matchedStreams, endedCalls } = replica;
  if (applyTime === undefined) return printRow(context, [instanceId, 'no answer']);
  const counts = [matchedCalls, matchedStreams, endedCalls].map(String);
  printRow(context, [instanceId, afterText(kill, replica), ...counts]);
}

function afterText(kill: KillSwitch, replica: KillAcknowledgement): string {
  const engagedAt = timestampMs(present(kill.engageTime));
  if (timestampMs(present(replica.startTime)) > engagedAt) return 'from its start';
  return `${Math.round(timestampMs(present(replica.applyTime)) - engagedAt)} ms`;
}

/** @throws CliError when a replica is silent: nobody knows that it obeys */
export function requireAnswers(replicas: readonly KillAcknowledgement[]): void {
  const silent = silentOnes(replicas);
  if (silent.length === 0) return;
  const names = silent.map(({ instanceId }) => instanceId).join(', ');
  throw new CliError(
    `${silent.length} of ${replicas.length} replicas have not answered: ${names}. One that cannot reach the database lets nothing through once its control state is older than CONTROL_AGE_MAX_MS. Look again: portcullis kill status`,
    exitCodes.silent,
  );
}
