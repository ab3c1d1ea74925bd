import { isDeepStrictEqual } from 'node:util';
import { type Document, type Scalar, type YAMLMap, isMap, isNode, parse, parseDocument, stringify } from 'yaml';
import { CliError } from './context.ts';
import type { ProbedModel } from './model-probe.ts';

/** A provider to write into the configuration file, and the public model names that shall lead to it. */
export interface ProviderAddition {
  readonly name: string;
  /** The members of its entry, as they are written: references to secrets, never secrets. */
  readonly entry: Readonly<Record<string, unknown>>;
  readonly models: readonly string[];
  /** What the server says of some of the models, and on which day. */
  readonly probed?: { readonly models: ReadonlyMap<string, ProbedModel>; readonly day: string };
}

export interface Edit {
  readonly text: string;
  /** Models that have a route already: it is left as it is. */
  readonly kept: readonly string[];
}

export type Entries = Readonly<Record<string, unknown>>;

/**
 * Adds to the file's text. Adding what is there already adds only the routes that are missing.
 * @throws CliError when the text is not YAML, or has another provider of that name
 */
export function addProvider(before: string, { name, entry, models, probed }: ProviderAddition): Edit {
  const document = readDocument(before);
  const known = document.hasIn(['providers', name]);
  if (known && ['kind', 'base_url'].some((member) => document.getIn(['providers', name, member]) !== entry[member]))
    throw new CliError(`There is another provider "${name}" in the file: choose a --name, or edit the file.`);
  const target = (model: string) => {
    const about = probed?.models.get(model);
    return about === undefined ? { provider: name } : probedTarget(document, name, about, probed?.day ?? '');
  };
  return addEntries(before, {
    providers: known ? {} : { [name]: entry },
    models: Object.fromEntries(models.map((model) => [model, { targets: [target(model)] }])),
  });
}

/** A target that says of its capabilities where they are from: who reads the file may know better. */
function probedTarget(
  document: Document,
  provider: string,
  { capabilities, contextIsMost }: ProbedModel,
  day: string,
): YAMLMap {
  const key = document.createNode('capabilities') as Scalar;
  const most = contextIsMost ? '; context is the most of the model, the server may load it with less' : '';
  key.commentBefore = ` probed ${day}${most}`;
  const target = document.createNode({ provider }) as YAMLMap;
  target.items.push(document.createPair(key, capabilities));
  return target;
}

/** What the file's text says under `providers`, as it is written. @throws CliError when it is not YAML */
export function providersIn(text: string): Entries {
  const content: unknown = readDocument(text).toJS({ maxAliasCount: 100 });
  return (content as { providers: Entries }).providers;
}

/**
 * Adds entries to the file's text. Providers must have names that are free; a model that has a route already keeps it.
 * @throws CliError when the text is not YAML
 */
export function addEntries(before: string, { providers, models }: { providers: Entries; models: Entries }): Edit {
  const document = readDocument(before);
  const kept = Object.keys(models).filter((model) => document.hasIn(['models', model]));
  const missing = Object.fromEntries(Object.entries(models).filter(([model]) => !kept.includes(model)));
  return { text: withAdditions(before, document, { providers, models: missing }), kept };
}

function readDocument(text: string): Document {
  const document = parseDocument(text);
  const error = document.errors[0];
  if (error) throw new CliError(`The configuration file is not YAML: ${error.message.split('\n')[0] ?? ''}.`);
  ensureMap(document, 'providers');
  ensureMap(document, 'models');
  return document;
}

function ensureMap(document: Document, section: string): void {
  const node = document.getIn([section]);
  // `models:` with nothing below it is null in YAML.
  if (node === undefined || node === null) return document.setIn([section], document.createNode({}));
  if (!isMap(node)) throw new CliError(`The configuration file holds no names under "${section}".`);
  if (node.items.length === 0) node.flow = false;
}

/**
 * The text with the new lines in it and every other byte as it was; where that cannot be (a section in braces, say) the
 * whole file is written anew from the document, which keeps its comments.
 */
function withAdditions(before: string, document: Document, additions: Readonly<Record<string, Entries>>): string {
  let text = before;
  for (const [section, entries] of Object.entries(additions)) {
    if (Object.keys(entries).length === 0) continue;
    text = insertBelow(text, section, entries);
    for (const [key, value] of Object.entries(entries)) document.setIn([section, key], document.createNode(value));
  }
  return text === before || isDeepStrictEqual(contentOf(text), document.toJS())
    ? text
    : document.toString({ lineWidth: 0 });
}

function contentOf(text: string): unknown {
  try {
    return parse(text);
  } catch {
    return undefined;
  }
}

/** Writes entries below the last one of a section in block style, or a new section at the end. */
function insertBelow(text: string, section: string, entries: Entries): string {
  const map = parseDocument(text).getIn([section], true);
  const first = isMap(map) && !map.flow ? map.items[0]?.key : undefined;
  if (!isMap(map) || !map.range || !isNode(first) || !first.range)
    return `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}${stringify({ [section]: entries }, { lineWidth: 0 })}`;
  const column = first.range[0] - (text.lastIndexOf('\n', first.range[0] - 1) + 1);
  const lineEnd = text.indexOf('\n', map.range[1] - 1);
  const at = lineEnd < 0 ? text.length : lineEnd + 1;
  const lines = stringify(entries, { lineWidth: 0 }).replace(/^(?=.)/gm, ' '.repeat(column));
  return `${text.slice(0, at)}${lineEnd < 0 ? '\n' : ''}${lines}${text.slice(at)}`;
}
