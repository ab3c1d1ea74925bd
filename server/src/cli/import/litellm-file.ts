import { parseDocument } from 'yaml';
import { CliError } from '../context.ts';
import { visible } from '../terminal-text.ts';

/** A mapping of a file that somebody else wrote: nothing is known of its values. */
export type Bag = Readonly<Record<string, unknown>>;

/** LiteLLM's configuration, as far as its shape is known. */
export interface LiteLlmFile {
  readonly deployments: readonly Deployment[];
  /** The other sections, by name: litellm_settings, router_settings … */
  readonly sections: Readonly<Record<string, Bag>>;
}

/** One entry of `model_list`. */
export interface Deployment {
  /** Where it stands, like `model_list[3]`. */
  readonly at: string;
  readonly modelName: string;
  readonly params: Bag;
  readonly info: Bag;
  /** Members beside these. */
  readonly others: readonly string[];
}

const aliasesMax = 100;

/**
 * Reads the text of LiteLLM's `config.yaml`.
 * @throws CliError naming what it cannot be read for
 */
export function readLiteLlmFile(text: string): LiteLlmFile {
  const document = parseDocument(text, { uniqueKeys: true });
  const [error] = document.errors;
  if (error) throw new CliError(`The file is not YAML: ${visible(error.message.split('\n')[0] ?? '')}.`);
  let content: unknown;
  try {
    content = document.toJS({ maxAliasCount: aliasesMax });
  } catch (thrown) {
    throw new CliError(`The file is not YAML that can be read: ${visible(String(thrown))}.`);
  }
  const { model_list: list, ...sections } = bag(content, 'the file');
  if (!Array.isArray(list)) throw new CliError('This is no configuration of LiteLLM: it has no list "model_list".');
  return {
    deployments: list.map((entry, index) => readDeployment(entry, `model_list[${index}]`)),
    sections: Object.fromEntries(
      Object.entries(sections).map(([name, section]) => [name, section === null ? {} : asSection(section, name)]),
    ),
  };
}

function readDeployment(entry: unknown, at: string): Deployment {
  const { model_name: modelName, litellm_params: params, model_info: info, ...others } = bag(entry, at);
  if (typeof modelName !== 'string' || modelName === '') throw new CliError(`${at}.model_name must be a name.`);
  return {
    at,
    modelName,
    params: bag(params, `${at}.litellm_params`),
    info: info === undefined || info === null ? {} : bag(info, `${at}.model_info`),
    others: Object.keys(others),
  };
}

/** Sections are mappings; a list is a section whose entries have no names (`guardrails`, say). */
function asSection(section: unknown, name: string): Bag {
  return Array.isArray(section) ? Object.fromEntries(section.map((item, i) => [String(i), item])) : bag(section, name);
}

function bag(value: unknown, at: string): Bag {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Bag;
  throw new CliError(`${visible(at)} must be a mapping of names to values.`);
}
