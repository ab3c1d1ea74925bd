import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { Command, Option } from 'commander';
import {
  AgentService,
  CreateKeyResponseSchema,
  type Key,
  KeyStateSchema,
  ListKeysResponseSchema,
  RevokeKeyResponseSchema,
  RotateKeyResponseSchema,
} from '../gen/portcullis/v1/agent_pb.ts';
import { PrincipalKind, PrincipalKindSchema } from '../gen/portcullis/v1/system_pb.ts';
import { scopes } from '../identity/scopes.ts';
import { thumbprintOfFile } from './certificate-file.ts';
import type { CliContext } from './context.ts';
import { parseDuration } from './durations.ts';
import { enumWord } from './enum-words.ts';
import { type GateClient, withGate } from './gate-client.ts';
import {
  collectScopes,
  collectValues,
  gateCommand,
  type GateOptions,
  listCommand,
  type ListOptions,
  present,
} from './gate-command.ts';
import { secretOf } from './key-secret.ts';
import { localTime, noteMore, printAnswer, printNote, printTable, stateFormat } from './output.ts';
import { readPages } from './paging.ts';
import { agentIdOf, agentNames, keyIdIn, projectOf } from './references.ts';
import { signingCommand } from './signing-keys.ts';

/** `portcullis keys`: what agents, people and services call with. */
export function keysCommand(context: CliContext): Command {
  return new Command('keys')
    .description('make, list, rotate and revoke API keys')
    .addCommand(createCommand(context))
    .addCommand(listKeysCommand(context))
    .addCommand(rotateCommand(context))
    .addCommand(revokeCommand(context))
    .addCommand(signingCommand(context));
}

interface CreateOptions extends GateOptions {
  readonly agent?: string;
  readonly person?: string;
  readonly name?: string;
  readonly scope?: string[];
  readonly model?: string[];
  readonly cidr?: string[];
  readonly run?: string;
  readonly expires?: number | 'never';
  readonly requireSignature?: boolean;
  readonly bindCertificate?: string;
  readonly bindSpiffe?: string;
}

function createCommand(context: CliContext): Command {
  return gateCommand('create', 'make a key: of an agent, of a person, or else of a service; prints it once')
    .option('--agent <agent>', 'the agent whose key it is, by name or id')
    .option('--person <id>', 'the person whose key it is')
    .option('--name <text>', 'what it is for')
    .option('--scope <scope>', `what it may ask for; repeatable (${scopes.join(', ')})`, collectScopes)
    .option('--model <pattern>', 'a public model name that it may ask for, * matches any; repeatable', collectValues)
    .option('--cidr <range>', 'an address range from which it works; repeatable', collectValues)
    .option('--run <id>', 'the one run that its calls belong to; it ends with the run')
    .option('--expires <time>', 'when it ends by itself, like 90d or 1h, or never (default: 90d)', parseExpiry)
    .option('--require-signature', 'each of its requests must be signed (RFC 9421)')
    .option('--bind-certificate <file>', 'it works with this client certificate only: a PEM file')
    .addOption(
      new Option('--bind-spiffe <id>', 'it works with client certificates of this SPIFFE id only').conflicts(
        'bindCertificate',
      ),
    )
    .action((options: CreateOptions) =>
      withGate(context, async (gate) => {
        const answer = await createKey(context, gate, options);
        const secret = secretOf(answer);
        if (options.json) return printAnswer(context, CreateKeyResponseSchema, answer);
        announce(context, present(answer.key), secret);
      }),
    );
}

async function createKey(context: CliContext, gate: GateClient, options: CreateOptions) {
  const project = await projectOf(gate, options);
  const { agent, person, run, expires } = options;
  return gate.of(AgentService).createKey({
    name: options.name ?? agent ?? person ?? 'service',
    kind: kindOf(options),
    scopes: options.scope ?? [],
    models: options.model ?? [],
    cidrs: options.cidr ?? [],
    ...(agent === undefined ? {} : { agentId: await agentIdOf(gate, agent, project) }),
    ...(person === undefined ? {} : { personId: person }),
    ...(run === undefined ? {} : { runId: run }),
    ...(expires === undefined ? {} : { end: endOf(expires) }),
    requireSignature: options.requireSignature ?? false,
    ...bindingOf(context, options),
    ...project,
  });
}

function kindOf({ agent, person }: CreateOptions): PrincipalKind {
  if (agent !== undefined) return PrincipalKind.AGENT;
  return person === undefined ? PrincipalKind.SERVICE : PrincipalKind.OPERATOR;
}

function bindingOf(context: CliContext, { bindCertificate, bindSpiffe }: CreateOptions) {
  if (bindSpiffe !== undefined) return { binding: { case: 'boundSpiffeId' as const, value: bindSpiffe } };
  if (bindCertificate === undefined) return {};
  return { binding: { case: 'boundX5tS256' as const, value: thumbprintOfFile(context, bindCertificate) } };
}

function endOf(expires: number | 'never') {
  return expires === 'never'
    ? { case: 'neverExpires' as const, value: true }
    : { case: 'lifetime' as const, value: durationFromMs(expires) };
}

/** The key alone on standard output, so that `KEY=$(portcullis keys create …)` holds it; all else beside it. */
function announce(context: CliContext, key: Key, secret: string): void {
  const scopeList = key.scopes.length === 0 ? 'nothing: it has no scope' : key.scopes.join(', ');
  printNote(context, `Key ${key.id} (${key.name}) may ask for ${scopeList}.`);
  if (key.requireSignature) printNote(context, 'Each of its requests must be signed.');
  if (key.binding.value !== undefined) printNote(context, `It works with the certificate ${key.binding.value} only.`);
  printNote(context, `It ends ${localTime(key.expireTime, 'when it is revoked')}. It is shown this once:`);
  context.stdout.write(`${secret}\n`);
}

function listKeysCommand(context: CliContext): Command {
  return listCommand('list keys, newest first, ended ones included').action((options: ListOptions) =>
    withGate(context, async (gate) => {
      const project = await projectOf(gate, options);
      const answer = await readPages(
        options.limit,
        (page) => gate.of(AgentService).listKeys({ ...page, ...project }),
        ({ keys }) => keys,
      );
      if (options.json) return printAnswer(context, ListKeysResponseSchema, answer);
      const names = await agentNames(gate, project);
      const titles = ['ID', 'STATE', 'NAME', 'HOLDER', 'SCOPES', 'ENDS', 'LAST USED'];
      printTable(
        context,
        titles.map((title) => (title === 'STATE' ? { title, format: stateFormat } : { title })),
        answer.keys.map((key) => [
          key.id,
          enumWord(KeyStateSchema, key.state),
          key.name,
          holderOf(key, names),
          key.scopes.join(' '),
          localTime(key.revokeTime ?? key.expireTime, 'never'),
          localTime(key.lastUseTime, 'never'),
        ]),
        'There are no keys: portcullis keys create --agent NAME --scope models:invoke',
      );
      noteMore(context, answer.nextPageToken);
    }),
  );
}

function holderOf(key: Key, names: ReadonlyMap<string, string>): string {
  if (key.agentId !== undefined) return names.get(key.agentId) ?? key.agentId;
  return key.personId ?? enumWord(PrincipalKindSchema, key.kind);
}

function rotateCommand(context: CliContext): Command {
  return gateCommand('rotate', 'make a successor of a key, which works on for a while; prints the new one once')
    .argument('<key>', 'the id: the 12 characters after pcl_')
    .option('--overlap <time>', 'how long the old key works on, like 1h, or 0 (default: 1d)', parseOverlap)
    .action((keyId: string, options: GateOptions & { overlap?: number }) =>
      withGate(context, async (gate) => {
        const answer = await gate.of(AgentService).rotateKey({
          keyId: keyIdIn(keyId),
          ...(options.overlap === undefined ? {} : { overlap: durationFromMs(options.overlap) }),
          ...(await projectOf(gate, options)),
        });
        const secret = secretOf(answer);
        if (options.json) return printAnswer(context, RotateKeyResponseSchema, answer);
        const until = localTime(answer.predecessor?.revokeTime ?? answer.predecessor?.expireTime, 'now');
        printNote(context, `The old key ${keyIdIn(keyId)} works until ${until}.`);
        announce(context, present(answer.key), secret);
      }),
    );
}

function revokeCommand(context: CliContext): Command {
  return gateCommand('revoke', 'end a key now, its calls in flight included')
    .argument('<key>', 'the id: the 12 characters after pcl_')
    .action((keyId: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const answer = await gate.of(AgentService).revokeKey({ keyId: keyIdIn(keyId), ...project });
        if (options.json) return printAnswer(context, RevokeKeyResponseSchema, answer);
        printNote(context, `Key ${present(answer.key).id} is revoked.`);
      }),
    );
}

function parseExpiry(text: string): number | 'never' {
  return text === 'never' ? text : parseDuration(text);
}

function parseOverlap(text: string): number {
  return text === '0' ? 0 : parseDuration(text);
}
