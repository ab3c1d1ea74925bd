import { InvalidArgumentError } from 'commander';
import { KillScope, KillScopeSchema, type KillSwitch, PolicyService } from '../../gen/portcullis/v1/policy_pb.ts';
import { CliError } from '../context.ts';
import { enumWord } from '../enum-words.ts';
import type { GateClient } from '../gate-client.ts';
import { findListed } from '../paging.ts';
import { agentIdOf, projectOf } from '../references.ts';

/** What a switch stops, as it is written: `agent:reviewer`, `model:claude-*`, `everything`. */
export interface Target {
  readonly scope: KillScope;
  readonly value: string;
  readonly text: string;
}

export const targetForms =
  'everything, project[:NAME], agent:NAME, key:ID, run:ID, workflow:NAME, provider:NAME or model:PATTERN';

export function parseTarget(text: string): Target {
  const [word, ...rest] = text.split(':');
  const scope = KillScopeSchema.values.find(
    ({ number, localName }) => number !== 0 && localName.toLowerCase() === word,
  );
  const value = rest.join(':');
  const wantsValue = scope?.number !== KillScope.EVERYTHING && scope?.number !== KillScope.PROJECT;
  if (scope === undefined || (wantsValue && value === '') || (scope.number === KillScope.EVERYTHING && value !== '')) {
    throw new InvalidArgumentError(`Write ${targetForms}.`);
  }
  return { scope: scope.number as KillScope, value, text };
}

/** A switch by its id, or by what it stops. */
export function parseSwitch(text: string): string | Target {
  return text.startsWith('kil_') ? text : parseTarget(text);
}

export function targetText({ scope, value }: KillSwitch, names: ReadonlyMap<string, string> = new Map()): string {
  const word = enumWord(KillScopeSchema, scope);
  return value === '' ? word : `${word}:${names.get(value) ?? value}`;
}

/** The id of the switch that the command line names. @throws CliError when none is engaged on that scope */
export async function switchIdOf(
  gate: GateClient,
  which: string | Target,
  project: { projectId?: string },
): Promise<string> {
  if (typeof which === 'string') return which;
  const value = await idIn(gate, which, project);
  const found = await findListed(
    (page) => gate.of(PolicyService).listKillSwitches({ ...page, ...project }),
    ({ killSwitches }) => killSwitches,
    (one) => one.scope === which.scope && (value === '' || one.value === value),
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
