import { readFileSync } from 'node:fs';
import { sample } from 'fast-check';
import { policyCostNsMax, policyRulesMax } from '../../server/src/base/limits.ts';
import { compileCondition, type Condition } from '../../server/src/policy/cel/condition.ts';
import { boundArgs, type Facts } from '../../server/src/policy/facts.ts';
import { indexRules, type RuleIndex } from '../../server/src/policy/rules.ts';
import { randomCondition } from '../../server/src/policy/testing/expressions.ts';
import { someFacts } from '../../server/src/policy/testing/facts.ts';
import { hostileArguments } from '../../test/support/hostile-arguments.ts';

/** Conditions by name. */
export type Conditions = Readonly<Record<string, string>>;

/** What calls have besides their arguments, as long as it may be. */
const longest = {
  principal: {
    ...someFacts().principal,
    name: 'a'.repeat(1_024),
    teams: Array.from({ length: 64 }, () => 'a'.repeat(128)),
  },
  resource: { ...someFacts().resource, name: 'a'.repeat(1_024) },
};

/** Calls by the name of their arguments. */
export const hostileCalls: Readonly<Record<string, Facts>> = Object.fromEntries(
  Object.entries(hostileArguments).map(([name, args]) => [
    name,
    { ...someFacts(), ...longest, args: boundArgs(args()).args },
  ]),
);

/** The conditions of the published list that can be saved. */
export function acceptedConditions(): Conditions {
  const path = new URL('../../test/vectors/hostile-conditions.json', import.meta.url);
  const all = JSON.parse(readFileSync(path, 'utf8')) as readonly { name: string; expression: string; expect: string }[];
  return Object.fromEntries(
    all.filter((each) => each.expect === 'accepted').map(({ name, expression }) => [name, expression]),
  );
}

export function compile(text: string): Condition {
  const compiled = compileCondition(text);
  if ('problem' in compiled) throw new Error(`${text}: ${compiled.problem.message}`);
  return compiled.condition;
}

/** The largest document that has only this condition, as often as the limits allow. */
export function repeated(text: string): readonly string[] {
  const times = Math.min(policyRulesMax, Math.floor(policyCostNsMax / compile(text).costNs));
  return Array.from({ length: times }, () => text);
}

/** Documents of random conditions, each filled up to the limits. The same at each run. */
export function randomDocuments(count: number): readonly (readonly string[])[] {
  const documents: string[][] = [];
  let [document, costNs]: [string[], number] = [[], 0];
  for (const text of sample(randomCondition(4), { numRuns: 200 * count, seed: 20_261_123 })) {
    const compiled = compileCondition(text);
    // Cheap ones fill a document's rules before they cost anything.
    if ('problem' in compiled || compiled.condition.costNs < policyCostNsMax / policyRulesMax) continue;
    if (costNs + compiled.condition.costNs > policyCostNsMax) {
      documents.push(document);
      [document, costNs] = [[], 0];
      if (documents.length === count) break;
    }
    document.push(text);
    costNs += compiled.condition.costNs;
  }
  return documents;
}

export function indexOf(texts: readonly string[]): RuleIndex<Facts> {
  return indexRules(
    texts.map((text, position) => ({
      name: `rule-${position}`,
      actions: ['models.invoke'],
      effect: { kind: 'deny' },
      mode: 'enforce',
      evaluate: compile(text).evaluate,
    })),
  );
}

/** What projects have: twenty rules of which none is clever. */
export const commonDocument: readonly string[] = [
  'principal.name == "intern-bot" && resource.name.startsWith("claude-opus")',
  'resource.name in ["gpt-5-pro", "o3-pro", "claude-opus-4"] && !("team_research" in principal.teams)',
  'resource.provider == "openai" && "team_eu" in principal.teams',
  'has(args.max_output_tokens) && args.max_output_tokens > 32000',
  'args.body_bytes > 4000000 || args.message_count > 500',
  'args.tools_elsewhere || args.tools.exists(tool, tool in ["bash", "computer"] || tool.startsWith("delete_"))',
  'args.tool_count > 40',
  'args.truncated && principal.kind == "agent"',
  'run.workflow == "nightly" && resource.name.startsWith("claude-opus")',
  'principal.kind == "agent" && !has(run.id)',
  'time.getDayOfWeek() in [0, 6] && principal.name.startsWith("batch-")',
  'time.getHours() >= 20 && resource.name.matches("-(opus|pro)")',
  'resource.name.matches("^(gpt-4o|gpt-5)(-mini)?$") && principal.name == "legacy"',
  'args.operation == "embed" && principal.kind == "agent" && resource.provider != "openai"',
  'has(args.client_session) && args.client_session == "blocked"',
  '!args.stream && principal.name == "chat"',
  'action == "runs.start" && resource.name == "deploy"',
  'principal.person != "" && principal.person == principal.id',
  '"models:invoke" in principal.scopes && resource.route == "experimental"',
  'time > timestamp("2027-01-01T00:00:00Z") && resource.name == "claude-sonnet-4"',
];

export const commonCall: Facts = someFacts({
  args: {
    operation: 'generate',
    dialect: 'anthropic',
    stream: true,
    max_output_tokens: 1_024,
    message_count: 7,
    tool_count: 3,
    tools: ['search', 'read_file', 'write_file'],
    tools_elsewhere: false,
    body_bytes: 12_345,
  },
});
