import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import type { Findings } from './environment.ts';
import { fileSchema } from './file-schema.ts';

/** What the configuration file says, with every default in its place. */
export type ConfigFile = z.infer<typeof fileSchema>;

/**
 * Reads and checks the file's text. `${NAME}` and `${file:PATH}` are replaced in strings; a name that is not set is a
 * problem, since a secret has no default.
 * @returns null when there is a problem
 */
export function parseConfigFile(
  text: string,
  environment: Readonly<Record<string, string | undefined>>,
  findings: Findings,
): ConfigFile | null {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, version: '1.2' });
  if (document.errors.length > 0) {
    for (const error of document.errors)
      findings.problems.push(`portcullis.yaml: ${error.message.split('\n')[0] ?? 'is not YAML'}.`);
    return null;
  }
  const before = findings.problems.length;
  let raw: unknown;
  try {
    raw = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    // An alias that leads nowhere, or too many of them.
    findings.problems.push(`portcullis.yaml: ${error instanceof Error ? error.message : String(error)}.`);
    return null;
  }
  const data = replaceReferences(raw ?? {}, environment, findings, '');
  const parsed = fileSchema.safeParse(data);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      const node = document.getIn([...issue.path], true) as { range?: [number, number, number] } | undefined;
      const line = node?.range ? ` (line ${lines.linePos(node.range[0]).line})` : '';
      const at = issue.path.length > 0 ? `${issue.path.join('.')}${line}: ` : '';
      findings.problems.push(`portcullis.yaml: ${at}${issue.message}.`);
    }
  }
  return parsed.success && findings.problems.length === before ? parsed.data : null;
}

/** The SHA-256 of the file's text, by which the audit log tells versions of it apart; null when there is no file. */
export function configFileDigest(path: string): string | null {
  try {
    return createHash('sha256').update(readFileSync(path)).digest('hex');
  } catch {
    return null;
  }
}

function replaceReferences(
  value: unknown,
  environment: Readonly<Record<string, string | undefined>>,
  findings: Findings,
  path: string,
): unknown {
  if (typeof value === 'string') {
    return value.replace(/\$\{([^}]*)\}/g, (_, reference: string) => resolve(reference, environment, findings, path));
  }
  if (Array.isArray(value))
    return value.map((item, index) => replaceReferences(item, environment, findings, `${path}[${index}]`));
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [
        key,
        replaceReferences(item, environment, findings, path ? `${path}.${key}` : key),
      ]),
    );
  }
  return value;
}

function resolve(
  reference: string,
  environment: Readonly<Record<string, string | undefined>>,
  findings: Findings,
  path: string,
): string {
  if (reference.startsWith('file:')) {
    try {
      return readFileSync(reference.slice('file:'.length), 'utf8').trim();
    } catch {
      findings.problems.push(`portcullis.yaml: ${path}: the file of \${${reference}} cannot be read.`);
      return '';
    }
  }
  const value = /^[A-Za-z_][A-Za-z0-9_]*$/.test(reference) ? environment[reference] : undefined;
  if (value === undefined || value === '')
    findings.problems.push(`portcullis.yaml: ${path}: \${${reference}} is not set in the environment.`);
  return value ?? '';
}
