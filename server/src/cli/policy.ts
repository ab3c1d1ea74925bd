import { Command, InvalidArgumentError } from 'commander';
import {
  type PolicyDocument,
  PolicyStage,
  PolicyStageSchema,
  type PolicyState,
  type PolicyVersion,
} from '../gen/portcullis/v1/policy_document_pb.ts';
import {
  GetPolicyResponseSchema,
  ListPolicyVersionsResponseSchema,
  PolicyService,
  PromotePolicyResponseSchema,
  RollbackPolicyResponseSchema,
  SetPolicyResponseSchema,
} from '../gen/portcullis/v1/policy_pb.ts';
import { type CliContext, CliError } from './context.ts';
import { enumOption, enumWord } from './enum-words.ts';
import { type GateClient, withGate } from './gate-client.ts';
import { gateCommand, type GateOptions, listCommand, type ListOptions, present } from './gate-command.ts';
import { localTime, noteMore, printAnswer, printJson, printLine, printNote, printTable } from './output.ts';
import { readPages } from './paging.ts';
import { changeLines, type DocumentChanges, documentChanges } from './policy-diff.ts';
import { readPolicyFile } from './policy-file.ts';
import { capsCommand, rulesCommand } from './policy-parts.ts';
import { simulateCommand } from './policy-simulate.ts';
import { documentYaml } from './policy-yaml.ts';
import { agentIdOf, agentNames, projectOf } from './references.ts';

/** `portcullis policy`: what agents may do. */
export function policyCommand(context: CliContext): Command {
  return new Command('policy')
    .description('say what agents may do: versions of rules and caps, tried before they bite')
    .addCommand(showCommand(context))
    .addCommand(setCommand(context))
    .addCommand(versionsCommand(context))
    .addCommand(diffCommand(context))
    .addCommand(promoteCommand(context))
    .addCommand(rollbackCommand(context))
    .addCommand(simulateCommand(context))
    .addCommand(rulesCommand(context))
    .addCommand(capsCommand(context));
}

type Project = { projectId?: string };

function showCommand(context: CliContext): Command {
  return gateCommand('show', 'print the policy in force, or another version, as a file that `policy set` takes')
    .argument('[version]', 'a version (default: the one in force)', parseVersion)
    .action((version: number | undefined, options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const answer = await gate
          .of(PolicyService)
          .getPolicy({ ...(version !== undefined && { version }), ...project });
        if (options.json) return printAnswer(context, GetPolicyResponseSchema, answer);
        if (answer.version === undefined) {
          return printNote(context, 'There is no policy in force: portcullis policy set FILE');
        }
        const { etag } = present(answer.state);
        for (const line of headOf(answer.version)) printLine(context, `# ${line}`);
        printLine(
          context,
          `# The etag makes a change of another version than this a conflict; leave it out to overwrite.`,
        );
        printLine(context, `etag: "${etag}"`);
        const names = await agentNames(gate, project);
        const yaml = documentYaml(readable(answer.version), names).trimEnd();
        for (const line of yaml.split('\n')) printLine(context, line);
      }),
    );
}

interface SetOptions extends GateOptions {
  readonly stage: PolicyStage;
  readonly note?: string;
}

function setCommand(context: CliContext): Command {
  return gateCommand('set', 'make a version of a policy from a YAML or JSON file')
    .argument('<file>')
    .addOption(
      enumOption(
        '--stage <stage>',
        'enforced: in force at once; shadow: judged beside it; draft',
        PolicyStageSchema,
      ).default(PolicyStage.ENFORCED, 'enforced'),
    )
    .option('--note <text>', 'why')
    .action((file: string, options: SetOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const read = await readPolicyFile(context.cwd, file, (agent) => agentIdOf(gate, agent, project));
        const before = await gate.of(PolicyService).getPolicy(project);
        const answer = await gate.of(PolicyService).setPolicy({
          document: read.document,
          stage: options.stage,
          etag: read.etag ?? present(before.state).etag,
          note: options.note ?? '',
          ...project,
        });
        if (options.json) return printAnswer(context, SetPolicyResponseSchema, answer);
        await printChange(context, gate, project, before.version?.document, present(answer.version), answer.state);
      }),
    );
}

function versionsCommand(context: CliContext): Command {
  return listCommand('list the versions of a policy, newest first')
    .name('versions')
    .action((options: ListOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const answer = await readPages(
          options.limit,
          (page) => gate.of(PolicyService).listPolicyVersions({ ...page, ...project }),
          ({ versions }) => versions,
        );
        if (options.json) return printAnswer(context, ListPolicyVersionsResponseSchema, answer);
        printTable(
          context,
          [
            { title: 'VERSION', align: 'right' },
            { title: 'STAGE', format: (stage) => (stage === 'enforced' ? 'green' : undefined) },
            { title: 'RULES', align: 'right' },
            { title: 'CAPS', align: 'right' },
            { title: 'BY' },
            { title: 'MADE' },
            { title: 'NOTE' },
          ],
          answer.versions.map((version) => [
            String(version.version),
            enumWord(PolicyStageSchema, version.stage),
            String(version.ruleCount),
            String(version.capCount),
            version.author,
            localTime(version.createTime),
            version.restoredVersion === undefined
              ? version.note
              : `rollback to ${version.restoredVersion}${version.note === '' ? '' : `: ${version.note}`}`,
          ]),
          'There is no policy: portcullis policy set FILE',
        );
        noteMore(context, answer.nextPageToken);
      }),
    );
}

function diffCommand(context: CliContext): Command {
  return gateCommand('diff', 'show what one version changes of another')
    .argument('<before>', 'a version', parseVersion)
    .argument('[after]', 'a version (default: the one in force)', parseVersion)
    .action((before: number, after: number | undefined, options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const documents = [await documentAt(gate, project, before), await documentAt(gate, project, after)] as const;
        const changes = documentChanges(...documents, await agentNames(gate, project));
        if (options.json) return printJson(context, changes);
        printChanges(context, changes);
      }),
    );
}

interface PromoteOptions extends GateOptions {
  readonly to: PolicyStage;
}

function promoteCommand(context: CliContext): Command {
  return gateCommand('promote', 'move a version to another stage')
    .argument('<version>', 'a version', parseVersion)
    .addOption(
      enumOption('--to <stage>', 'enforced, shadow, or draft, which ends a shadow', PolicyStageSchema).default(
        PolicyStage.ENFORCED,
        'enforced',
      ),
    )
    .action((version: number, options: PromoteOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const before = await gate.of(PolicyService).getPolicy(project);
        const { etag } = present(before.state);
        const answer = await gate.of(PolicyService).promotePolicy({ version, stage: options.to, etag, ...project });
        if (options.json) return printAnswer(context, PromotePolicyResponseSchema, answer);
        await printChange(context, gate, project, before.version?.document, present(answer.version), answer.state);
      }),
    );
}

interface RollbackOptions extends GateOptions {
  readonly note?: string;
}

function rollbackCommand(context: CliContext): Command {
  return gateCommand('rollback', 'put the document of an earlier version in force again, as a new version')
    .argument('[version]', 'a version (default: the one that was in force before)', parseVersion)
    .option('--note <text>', 'why')
    .action((version: number | undefined, options: RollbackOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const before = await gate.of(PolicyService).getPolicy(project);
        const { etag } = present(before.state);
        const answer = await gate
          .of(PolicyService)
          .rollbackPolicy({ ...(version !== undefined && { version }), etag, note: options.note ?? '', ...project });
        if (options.json) return printAnswer(context, RollbackPolicyResponseSchema, answer);
        await printChange(context, gate, project, before.version?.document, present(answer.version), answer.state);
      }),
    );
}

async function documentAt(gate: GateClient, project: Project, version: number | undefined): Promise<PolicyDocument> {
  const answer = await gate.of(PolicyService).getPolicy({ ...(version !== undefined && { version }), ...project });
  if (answer.version === undefined) throw new CliError('There is no policy in force: name two versions.');
  return readable(answer.version);
}

/** Says what a change did. */
async function printChange(
  context: CliContext,
  gate: GateClient,
  project: Project,
  before: PolicyDocument | undefined,
  version: PolicyVersion,
  state: PolicyState | undefined,
): Promise<void> {
  const stage = stageWords(version);
  printLine(context, `Version ${version.version} ${stage} (etag ${present(state).etag}).`);
  printChanges(context, documentChanges(before, present(version.document), await agentNames(gate, project)));
}

function stageWords({ version, stage }: PolicyVersion): string {
  if (stage === PolicyStage.ENFORCED) return 'is in force';
  if (stage === PolicyStage.SHADOW)
    return `judges in shadow; what it would have stopped so far: portcullis policy simulate ${version}`;
  return `is a draft: portcullis policy simulate ${version}`;
}

function printChanges(context: CliContext, changes: DocumentChanges): void {
  const lines = changeLines(changes);
  if (lines.length === 0) return printNote(context, 'Nothing differs from the version in force.');
  for (const line of lines) printLine(context, line);
}

/** @throws CliError */
function readable({ version, document }: PolicyVersion): PolicyDocument {
  if (document !== undefined) return document;
  throw new CliError(
    `The gate cannot read version ${version}: a newer release made it. Update the gate, or roll back.`,
  );
}

function headOf({ version, stage, author, createTime, note, restoredVersion }: PolicyVersion): readonly string[] {
  const what = stage === PolicyStage.ENFORCED ? 'in force' : enumWord(PolicyStageSchema, stage);
  return [
    `Version ${version}, ${what}, by ${author}, ${localTime(createTime)}`,
    ...(restoredVersion === undefined
      ? []
      : [
          restoredVersion === 0
            ? 'It brought back what was before version 1.'
            : `It brought back version ${restoredVersion}.`,
        ]),
    ...(note === '' ? [] : [note]),
  ];
}

/** Reads the number of a version. */
function parseVersion(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Write the number of a version: `portcullis policy versions` lists them.');
}
