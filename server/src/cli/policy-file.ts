import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { isScalar, LineCounter, parseDocument, type Document } from 'yaml';
import { z } from 'zod';
import { conditionCharsMax, policyDocumentBytesMax } from '../base/limits.ts';
import {
  BudgetModeSchema,
  type BudgetSelectorSchema,
  BudgetUnitSchema,
  BudgetWindowSchema,
  ProviderTypeSchema,
} from '../gen/portcullis/v1/budget_pb.ts';
import {
  type PolicyCapSchema,
  type PolicyDocument,
  PolicyDocumentSchema,
  type PolicyRuleSchema,
  RuleEffectSchema,
  RuleModeSchema,
} from '../gen/portcullis/v1/policy_document_pb.ts';
import { compileCondition } from '../policy/cel/condition.ts';
import { actions } from '../policy/facts.ts';
import { parseAmount } from './budget-amounts.ts';
import { CliError } from './context.ts';
import { parseDuration } from './durations.ts';
import { enumValue, enumWords } from './enum-words.ts';
import { exitCodes } from './exit-codes.ts';

const text = z.string().min(1);
const amount = z.union([z.string(), z.number()]).transform(String);

const approvalSchema = z.strictObject({
  approvers: z.array(text).min(1),
  quorum: z.int().min(1).optional(),
  expiry: text.optional(),
});

const ruleSchema = z.strictObject({
  name: text,
  actions: z.array(z.enum(actions)).min(1).default(['models.invoke']),
  condition: z.string().max(conditionCharsMax).default(''),
  effect: z.enum(enumWords(RuleEffectSchema)),
  mode: z.enum(enumWords(RuleModeSchema)).default('enforce'),
  approval: approvalSchema.optional(),
});

const selectorSchema = z.strictObject({
  team: text.optional(),
  person: text.optional(),
  agent: text.optional(),
  key: text.optional(),
  workflow: text.optional(),
  run: text.optional(),
  provider_type: z.enum(enumWords(ProviderTypeSchema)).optional(),
  provider: text.optional(),
  model: text.optional(),
});

const capSchema = z.strictObject({
  name: text,
  selector: selectorSchema.default({}),
  unit: z.enum(enumWords(BudgetUnitSchema)).default('usd'),
  window: z.enum(enumWords(BudgetWindowSchema)),
  time_zone: text.optional(),
  limit: amount.optional(),
  mode: z.enum(enumWords(BudgetModeSchema)).default('enforce'),
  notify: z.array(z.int()).optional(),
});

const fileSchema = z.strictObject({
  etag: z.union([z.string(), z.number()]).transform(String).optional(),
  rules: z.array(ruleSchema).default([]),
  caps: z.array(capSchema).default([]),
  signed_scopes: z.array(text).default([]),
});

type PolicyFile = z.infer<typeof fileSchema>;

/** Finds an agent by its name or id. */
export type FindAgent = (agent: string) => Promise<string>;

/**
 * Reads a policy from a YAML or JSON file. All that can be known to be wrong here is told at once, with the places in the
 * file, before the gate is asked; conditions are checked with the gate's own code.
 * @returns the document, and the etag that the file names
 * @throws CliError
 */
export async function readPolicyFile(
  cwd: string,
  name: string,
  findAgent: FindAgent,
): Promise<{ readonly document: PolicyDocument; readonly etag: string | null }> {
  const source = readText(resolve(cwd, name), name);
  const lines = new LineCounter();
  const yaml = parseDocument(source, { lineCounter: lines, uniqueKeys: true, version: '1.2' });
  const [syntax] = yaml.errors;
  if (syntax) throw problems(name, [{ ...at(lines, syntax.pos[0]), message: syntax.message.split('\n')[0] ?? '' }]);
  const parsed = fileSchema.safeParse(yaml.toJS({ maxAliasCount: 100 }) ?? {});
  if (!parsed.success) {
    throw problems(
      name,
      parsed.error.issues.map(({ path, message }) => ({
        ...placeOf(yaml, lines, path),
        message: `${path.join('.') || 'the file'}: ${message}`,
      })),
    );
  }
  const wrong = conditionProblems(parsed.data, yaml, lines, source);
  if (wrong.length > 0) throw problems(name, wrong);
  return { document: await documentOf(parsed.data, findAgent), etag: parsed.data.etag ?? null };
}

interface Problem {
  readonly line: number;
  readonly col: number;
  readonly message: string;
}

function problems(name: string, found: readonly Problem[]): CliError {
  return new CliError(
    found.map(({ line, col, message }) => `${name}:${line}:${col}: ${message}`).join('\n'),
    exitCodes.usage,
  );
}

function readText(path: string, name: string): string {
  try {
    if (statSync(path).size > policyDocumentBytesMax)
      throw new CliError(
        `${name} is larger than ${policyDocumentBytesMax} bytes, which is the most that a policy has.`,
      );
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(`${name} cannot be read.`, exitCodes.usage);
  }
}

function at(lines: LineCounter, offset: number): Pick<Problem, 'line' | 'col'> {
  return lines.linePos(offset);
}

/** Where a member stands, or the nearest that is around it. */
function placeOf(
  yaml: Document.Parsed,
  lines: LineCounter,
  path: readonly PropertyKey[],
): Pick<Problem, 'line' | 'col'> {
  for (let length = path.length; length >= 0; length--) {
    const node = yaml.getIn(path.slice(0, length), true) as { range?: readonly number[] } | undefined;
    if (node?.range?.[0] !== undefined) return at(lines, node.range[0]);
  }
  return { line: 1, col: 1 };
}

function conditionProblems(
  { rules }: PolicyFile,
  yaml: Document.Parsed,
  lines: LineCounter,
  source: string,
): readonly Problem[] {
  return rules.flatMap(({ name, condition }, index) => {
    const compiled = compileCondition(condition.trim() === '' ? 'true' : condition);
    if (!('problem' in compiled)) return [];
    const { line, column, message } = compiled.problem;
    const path = ['rules', index, 'condition'];
    const inFile = inScalar(yaml.getIn(path, true), lines, source, { line, column });
    const inText = `line ${line}, column ${column} of the condition`;
    return [{ ...(inFile ?? placeOf(yaml, lines, path)), message: `rule "${name}", ${inText}: ${message}` }];
  });
}

/** Where a place of a text stands in the file: as it is written there for a plain or literal one; null for others. */
function inScalar(
  node: unknown,
  lines: LineCounter,
  source: string,
  { line, column }: { readonly line: number; readonly column: number },
): Pick<Problem, 'line' | 'col'> | null {
  if (!isScalar(node) || !node.range) return null;
  const start = at(lines, node.range[0]);
  if (node.type === 'BLOCK_LITERAL') {
    const first = source.split('\n')[start.line] ?? '';
    return { line: start.line + line, col: first.length - first.trimStart().length + column };
  }
  const isOneLine = !source.slice(node.range[0], node.range[1]).includes('\n');
  const quote = node.type === 'PLAIN' ? 0 : 1;
  return isOneLine && line === 1 ? { line: start.line, col: start.col + quote + column - 1 } : null;
}

async function documentOf({ rules, caps, signed_scopes: signedScopes }: PolicyFile, findAgent: FindAgent) {
  const capMessages: MessageInitShape<typeof PolicyCapSchema>[] = [];
  for (const cap of caps) capMessages.push(await capMessage(cap, findAgent));
  return create(PolicyDocumentSchema, { rules: rules.map(ruleMessage), caps: capMessages, signedScopes });
}

function ruleMessage({
  effect,
  mode,
  approval,
  ...rule
}: PolicyFile['rules'][number]): MessageInitShape<typeof PolicyRuleSchema> {
  return {
    ...rule,
    effect: enumValue(RuleEffectSchema, effect),
    mode: enumValue(RuleModeSchema, mode),
    ...(approval && {
      approval: {
        approvers: approval.approvers,
        quorum: approval.quorum ?? 0,
        ...(approval.expiry !== undefined && { expiry: durationFromMs(durationMs(approval.expiry)) }),
      },
    }),
  };
}

async function capMessage(
  { name, selector, unit: unitWord, window, time_zone: timeZone = '', limit, mode, notify }: PolicyFile['caps'][number],
  findAgent: FindAgent,
): Promise<MessageInitShape<typeof PolicyCapSchema>> {
  const unit = enumValue(BudgetUnitSchema, unitWord);
  return {
    name,
    selector: await selectorMessage(selector, findAgent),
    unit,
    window: enumValue(BudgetWindowSchema, window),
    timeZone,
    ...(limit !== undefined && { limitAmount: parseAmount(limit, unit) }),
    mode: enumValue(BudgetModeSchema, mode),
    ...(notify !== undefined && { notifyPercents: { percents: notify } }),
  };
}

async function selectorMessage(
  { team, person, agent, key, run, provider_type: type, ...same }: PolicyFile['caps'][number]['selector'],
  findAgent: FindAgent,
): Promise<MessageInitShape<typeof BudgetSelectorSchema>> {
  const { workflow, provider, model } = same;
  return {
    ...(team !== undefined && { teamId: team }),
    ...(person !== undefined && { personId: person }),
    ...(agent !== undefined && { agentId: await findAgent(agent) }),
    ...(key !== undefined && { keyId: key }),
    ...(workflow !== undefined && { workflow }),
    ...(run !== undefined && { runId: run }),
    ...(type !== undefined && { providerType: enumValue(ProviderTypeSchema, type) }),
    ...(provider !== undefined && { provider }),
    ...(model !== undefined && { model }),
  };
}

/** @throws CliError */
function durationMs(length: string): number {
  try {
    return parseDuration(length);
  } catch {
    throw new CliError(`expiry: "${length}" is not a length of time: write it like 30m or 1h.`, exitCodes.usage);
  }
}
