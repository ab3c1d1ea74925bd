import { type Document, isMap, parseDocument } from 'yaml';
import { CliError } from './context.ts';

/** A provider to write into the configuration file, and the public model names that shall lead to it. */
export interface ProviderAddition {
  readonly name: string;
  /** The members of its entry, as they are written: references to secrets, never secrets. */
  readonly entry: Readonly<Record<string, unknown>>;
  readonly models: readonly string[];
}

export interface Edit {
  readonly text: string;
  /** Models that have a route already: it is left as it is. */
  readonly kept: readonly string[];
}

/**
 * Adds to the file's text; comments stay. Adding what is there already adds only the routes that are missing.
 * @throws CliError when the text is not YAML, or has another provider of that name
 */
export function addProvider(before: string, { name, entry, models }: ProviderAddition): Edit {
  const document = parseDocument(before);
  const error = document.errors[0];
  if (error) throw new CliError(`The configuration file is not YAML: ${error.message.split('\n')[0] ?? ''}.`);
  ensureMap(document, 'providers');
  ensureMap(document, 'models');

  const known = document.hasIn(['providers', name]);
  if (!known) document.setIn(['providers', name], document.createNode(entry));
  else if (['kind', 'base_url'].some((member) => document.getIn(['providers', name, member]) !== entry[member]))
    throw new CliError(`There is another provider "${name}" in the file: choose a --name, or edit the file.`);

  const missing = models.filter((model) => !document.hasIn(['models', model]));
  for (const model of missing) {
    document.setIn(['models', model], document.createNode({ targets: [{ provider: name }] }));
  }
  const changed = !known || missing.length > 0;
  return {
    text: changed ? document.toString({ lineWidth: 0 }) : before,
    kept: models.filter((model) => !missing.includes(model)),
  };
}

function ensureMap(document: Document, section: string): void {
  const node = document.getIn([section]);
  // `models:` with nothing below it is null in YAML.
  if (node === undefined || node === null) return document.setIn([section], document.createNode({}));
  if (!isMap(node)) throw new CliError(`The configuration file holds no list of names under "${section}".`);
  if (node.items.length === 0) node.flow = false;
}
