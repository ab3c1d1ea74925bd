import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import {
  AgentService,
  ListSigningKeysResponseSchema,
  type RegisterSigningKeyResponse,
  RegisterSigningKeyResponseSchema,
  RevokeSigningKeyResponseSchema,
  SignatureAlgorithm,
  SignatureAlgorithmSchema,
} from '../gen/portcullis/v1/agent_pb.ts';
import { CliError, type CliContext } from './context.ts';
import { enumWord } from './enum-words.ts';
import { type GateClient, withGate } from './gate-client.ts';
import { gateCommand, type GateOptions, listCommand, type ListOptions, present } from './gate-command.ts';
import { localTime, noteMore, printAnswer, printNote, printTable } from './output.ts';
import { readPages } from './paging.ts';
import { keyIdIn, projectOf } from './references.ts';

/** `portcullis keys signing`: what signs the requests of an API key. */
export function signingCommand(context: CliContext): Command {
  return new Command('signing')
    .description('add, list and revoke the keys that sign the requests of an API key')
    .addCommand(addSigningKeyCommand(context))
    .addCommand(listSigningKeysCommand(context))
    .addCommand(revokeSigningKeyCommand(context));
}

interface AddOptions extends GateOptions {
  readonly new?: string;
  readonly publicKey?: string;
  readonly hmac?: string;
}

function addSigningKeyCommand(context: CliContext): Command {
  const sources = ['new', 'publicKey', 'hmac'];
  const source = (flags: string, description: string, name: string) =>
    new Option(flags, description).conflicts(sources.filter((other) => other !== name));
  return gateCommand('add', 'give an API key a key that signs its requests; prints its id')
    .argument('<key>', 'the API key, by the 12 characters after pcl_')
    .addOption(source('--new <file>', 'make an ed25519 key, and keep its private half in this file alone', 'new'))
    .addOption(source('--public-key <file>', 'register the ed25519 public key in this file (PEM)', 'publicKey'))
    .addOption(source('--hmac <file>', 'let the gate make an HMAC secret, and write it to this file', 'hmac'))
    .action((key: string, options: AddOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const answer = await register(gate, keyIdIn(key), readSource(context, options), project);
        if (options.json) return printAnswer(context, RegisterSigningKeyResponseSchema, { ...answer, secret: '' });
        const { id, keyId } = present(answer.signingKey);
        printNote(context, `Signing key ${id} signs for the API key ${keyId}. The command line signs with it where`);
        printNote(context, `PORTCULLIS_SIGNING_KEY_ID=${id} and PORTCULLIS_SIGNING_KEY_FILE names its file.`);
        context.stdout.write(`${id}\n`);
      }),
    );
}

/** What was made here for a key goes again when the gate refuses it. */
async function register(gate: GateClient, keyId: string, source: Source, project: { readonly projectId?: string }) {
  const { algorithm, publicKey, path } = source;
  try {
    const answer = await gate.of(AgentService).registerSigningKey({ keyId, algorithm, publicKey, ...project });
    if (algorithm === SignatureAlgorithm.HMAC_SHA256 && path !== null) keepSecret(path, answer);
    return answer;
  } catch (error) {
    if (path !== null) unlinkSync(path);
    throw error;
  }
}

/** @throws CliError when the answer with the secret got lost: the repeated one has none */
function keepSecret(path: string, { signingKey, secret }: RegisterSigningKeyResponse): void {
  if (secret !== '') return writeFileSync(path, `${secret}\n`);
  throw new CliError(`The secret of ${present(signingKey).id} got lost on its way: revoke that key and add another.`);
}

interface Source {
  readonly algorithm: SignatureAlgorithm;
  readonly publicKey: string;
  /** What was made for the secret half, and goes again when the gate refuses; null for a key that was there before. */
  readonly path: string | null;
}

/** @throws CliError when nothing says which key, or the file cannot be read, or exists already */
function readSource({ cwd }: CliContext, options: AddOptions): Source {
  if (options.publicKey !== undefined) {
    const path = resolve(cwd, options.publicKey);
    return { algorithm: SignatureAlgorithm.ED25519, publicKey: readPublicKeyFile(path), path: null };
  }
  if (options.hmac !== undefined) {
    const path = makeSecretFile(resolve(cwd, options.hmac), '');
    return { algorithm: SignatureAlgorithm.HMAC_SHA256, publicKey: '', path };
  }
  if (options.new === undefined) throw new CliError('Say which key: --new FILE, --public-key FILE or --hmac FILE.');
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' });
  const path = makeSecretFile(resolve(cwd, options.new), pem);
  return {
    algorithm: SignatureAlgorithm.ED25519,
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }),
    path,
  };
}

/** A private key never leaves this machine: of one in the file the public half is taken here. */
function readPublicKeyFile(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8').trim();
  } catch {
    throw new CliError(`${path} cannot be read.`);
  }
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) return text;
  try {
    return createPublicKey(createPrivateKey(text)).export({ type: 'spki', format: 'pem' });
  } catch {
    throw new CliError(`${path} holds a private key that cannot be read without a passphrase: give its public half.`);
  }
}

/** Readable by its owner alone; never in the place of another file. */
function makeSecretFile(path: string, content: string): string {
  try {
    writeFileSync(path, content, { mode: 0o600, flag: 'wx' });
  } catch {
    throw new CliError(`${path} cannot be made: it exists already, or its folder does not.`);
  }
  return path;
}

function listSigningKeysCommand(context: CliContext): Command {
  return listCommand('list the signing keys of an API key, newest first, revoked ones included')
    .argument('<key>', 'the API key, by the 12 characters after pcl_')
    .action((key: string, options: ListOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const keyId = keyIdIn(key);
        const answer = await readPages(
          options.limit,
          (page) => gate.of(AgentService).listSigningKeys({ ...page, keyId, ...project }),
          ({ signingKeys }) => signingKeys,
        );
        if (options.json) return printAnswer(context, ListSigningKeysResponseSchema, answer);
        printTable(
          context,
          ['ID', 'ALGORITHM', 'PUBLIC KEY', 'MADE', 'REVOKED'].map((title) => ({ title })),
          answer.signingKeys.map(({ id, algorithm, publicKey, createTime, revokeTime }) => [
            id,
            enumWord(SignatureAlgorithmSchema, algorithm),
            publicKey,
            localTime(createTime),
            localTime(revokeTime, 'no'),
          ]),
          `Nothing signs for this key: portcullis keys signing add ${keyId} --new FILE`,
        );
        noteMore(context, answer.nextPageToken);
      }),
    );
}

function revokeSigningKeyCommand(context: CliContext): Command {
  return gateCommand('revoke', 'end a signing key now: what it signs is refused')
    .argument('<signing key>', 'its id, which begins with sgk_')
    .action((signingKeyId: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const answer = await gate.of(AgentService).revokeSigningKey({ signingKeyId, ...project });
        if (options.json) return printAnswer(context, RevokeSigningKeyResponseSchema, answer);
        printNote(context, `Signing key ${present(answer.signingKey).id} is revoked.`);
      }),
    );
}
