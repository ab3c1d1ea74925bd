import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { type OptionName, type OptionValues, optionAliases, options, unreadNames } from './options.ts';

/** What was found wrong or worth saying, one sentence each. Problems make the configuration invalid; notes do not. */
export interface Findings {
  readonly problems: string[];
  readonly notes: string[];
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Adds what `./.env` says to what the environment says; the environment wins. Not read in production. */
export function withDotEnv(environment: Environment, path: string): Environment {
  if (isProductionName(environment)) return environment;
  let file: string;
  try {
    file = readFileSync(path, 'utf8');
  } catch {
    return environment;
  }
  return { ...parseEnv(file), ...environment };
}

function isProductionName(environment: Environment): boolean {
  return ['NODE_ENV', 'METTLE_ENVIRONMENT', 'ENVIRONMENT'].some((name) => isProductionWord(environment[name] ?? ''));
}

// Who writes it otherwise means it all the same, and must not get a development gate for it.
function isProductionWord(value: string): boolean {
  return /^prod(uction)?$/i.test(value);
}

/**
 * Reads every option from the environment: aliases, NAME_FILE for secrets, defaults. Options that do not hold are
 * reported by name and keep their default, so that one run finds every problem.
 */
export function readOptions(environment: Environment, findings: Findings): OptionValues {
  const given = withAliases(environment, findings);
  const values: Partial<Record<OptionName, unknown>> = {};
  for (const name of Object.keys(options) as OptionName[]) {
    values[name] = readOption(name, given, findings);
  }
  noteUnknownNames(environment, findings);
  return Object.freeze(values) as OptionValues;
}

function withAliases(environment: Environment, findings: Findings): Environment {
  const given: Record<string, string | undefined> = { ...environment };
  if (isProductionWord(environment['NODE_ENV'] ?? '')) given['NODE_ENV'] = 'production';
  for (const [alias, { name, map }] of Object.entries(optionAliases)) {
    const value = environment[alias];
    if (value === undefined || value === '') continue;
    // METTLE_ENVIRONMENT and ENVIRONMENT only ever switch production on.
    if (name === 'NODE_ENV' && !isProductionWord(value)) continue;
    if (given[name] !== undefined && name !== 'NODE_ENV') {
      findings.notes.push(`${alias} is ignored, because ${name} is set.`);
      continue;
    }
    given[name] = name === 'NODE_ENV' ? 'production' : map ? map(value) : value;
  }
  return given;
}

function readOption(name: OptionName, given: Environment, findings: Findings): unknown {
  const { schema, fallback, secret } = options[name];
  const text = secret ? secretText(name, given, findings) : given[name];
  const input = text === undefined || text === '' ? fallback : text;
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  const reason = parsed.error.issues.map((issue) => issue.message).join('; ');
  findings.problems.push(secret ? `${name}: ${reason}.` : `${name}="${input ?? ''}": ${reason}.`);
  return schema.parse(fallback);
}

function secretText(name: string, given: Environment, findings: Findings): string | undefined {
  const path = given[`${name}_FILE`];
  if (path === undefined || path === '') return given[name];
  if (given[name]) findings.problems.push(`${name} and ${name}_FILE are both set: keep one.`);
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    findings.problems.push(`${name}_FILE: the file cannot be read.`);
    return undefined;
  }
}

const ours =
  /^(HTTP|GRPC|MTLS|DATABASE|AUTH|RATE_LIMIT|MODEL|CALLS|ALLOWED|TRUSTED|SECRETS|METRICS|BASIC|ENABLE|ALLOW|CONTROL|DRAIN|CLIENT_CERT|PORTCULLIS)_/;
const ourClientNames = new Set(['PORTCULLIS_URL', 'PORTCULLIS_KEY', 'PORTCULLIS_KEY_FILE']);

function noteUnknownNames(environment: Environment, findings: Findings): void {
  for (const name of Object.keys(environment)) {
    const unread = unreadNames[name];
    if (unread !== undefined) findings.notes.push(`${name} is set, but ${unread}.`);
    const base = name.replace(/_FILE$/, '');
    if (unread !== undefined || name in options || base in options || name in optionAliases || ourClientNames.has(name))
      continue;
    const near = nearest(name);
    if (near !== null && (ours.test(name) || editDistance(name, near) <= 2))
      findings.notes.push(`${name} is not an option. Did you mean ${near}?`);
  }
}

function nearest(name: string): string | null {
  const ranked = Object.keys(options)
    .map((candidate) => ({ candidate, distance: editDistance(name, candidate) }))
    .toSorted((a, b) => a.distance - b.distance);
  const best = ranked[0];
  return best && best.distance <= Math.max(2, Math.floor(best.candidate.length / 4)) ? best.candidate : null;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitution, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
