import { basename } from 'node:path';
import { PortcullisError } from '../../base/errors.ts';
import { priceFileModelsMax } from '../../base/limits.ts';
import { duplicateName } from './duplicate-names.ts';
import { MalformedPrice } from './exact-number.ts';
import { type Entry, objectOf, readEntry, readLimits } from './litellm-entry.ts';
import type { ModelLimits } from './model-limits.ts';
import type { Price } from './price.ts';

/** A file of prices as it was read from disk. */
export interface PriceFileText {
  /** As the configuration names it: it stands in versions and in messages. */
  readonly name: string;
  readonly text: string;
  readonly sha256: string;
  /** The day (UTC) on which it was last changed, like 2026-11-20. */
  readonly changedOn: string;
}

/** A model of the file: its price, or why it has none here. */
export interface FileModel {
  /** Of the three vendors whose names are theirs alone; null for an entry that says no `litellm_provider`. */
  readonly vendor: string | null;
  readonly price: Price | null;
  readonly why: string | null;
  readonly limits: Pick<ModelLimits, 'contextTokens' | 'maxOutputTokens'>;
}

/** How this configuration calls the vendors; every other one of the format is called by its own prefix alone. */
const vendors: ReadonlyMap<string, string> = new Map([
  ['anthropic', 'anthropic'],
  ['openai', 'openai'],
  ['text-completion-openai', 'openai'],
  ['gemini', 'gemini'],
]);

/** LiteLLM's own explanation of the format stands among the models. */
const explanation = 'sample_spec';

/** The prices of a file in LiteLLM's format, by the names of the file. */
export class PriceFile {
  readonly version: string;
  readonly models: ReadonlyMap<string, FileModel>;

  /** @throws PortcullisError invalid_argument, naming the entry, for what is no such file or has an amount that is none */
  constructor(file: PriceFileText) {
    this.version = `file ${basename(file.name)} sha256:${file.sha256.slice(0, 12)} of ${file.changedOn}`;
    const entries = Object.entries(parse(file)).filter(([name]) => name !== explanation);
    if (entries.length > priceFileModelsMax) throw refusal(file, `has more than ${priceFileModelsMax} models`);
    this.models = new Map(entries.map(([name, entry]) => [name, readModel(file, this.version, name, entry)]));
  }

  /**
   * The model that a provider calls `model`: under `PROVIDER/model`, by the provider's name in the configuration; else as one
   * of the vendor's; else under an entry that names no vendor, which is the operator's own.
   */
  find(kind: string, provider: string, model: string): FileModel | null {
    const own = this.models.get(model);
    const plain = own && (own.vendor === null || own.vendor === kind) ? own : null;
    // A deployment's name at Azure is its owner's choice: that it is also a model's says nothing.
    if (kind === 'azure') return plain;
    const named = this.models.get(`${provider}/${model}`) ?? plain;
    if (named) return named;
    const prefixed = this.models.get(`${kind}/${model}`);
    return prefixed?.vendor === kind ? prefixed : null;
  }
}

function parse(file: PriceFileText): Entry {
  let json: unknown;
  try {
    json = JSON.parse(file.text);
  } catch (cause) {
    throw refusal(file, 'is not JSON', cause);
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw refusal(file, 'is not an object of models');
  const [entry, ...rest] = duplicateName(file.text) ?? [];
  const twice = rest.at(-1);
  if (twice !== undefined) throw refusal(file, `, entry "${entry}": it has "${twice}" twice`);
  if (entry !== undefined) throw refusal(file, `has two entries "${entry}"`);
  return json as Entry;
}

function readModel(file: PriceFileText, version: string, name: string, json: unknown): FileModel {
  const entry = objectOf(json);
  if (entry !== json) throw refusal(file, `has an entry "${name}" that is not an object`);
  const given = entry['litellm_provider'];
  const vendor = typeof given === 'string' ? (vendors.get(given) ?? given) : null;
  try {
    const read = readEntry(vendor ?? '', name.slice(name.indexOf('/') + 1), version, entry);
    const limits = readLimits(entry);
    if ('why' in read) return { vendor, limits, price: null, why: read.why };
    return { vendor, limits, price: read.price, why: null };
  } catch (error) {
    if (error instanceof MalformedPrice) throw refusal(file, `, entry "${name}": ${error.message}`, error);
    throw error;
  }
}

function refusal({ name }: PriceFileText, problem: string, cause?: unknown): PortcullisError {
  const text = problem.startsWith(',') ? `${name}${problem}` : `${name} ${problem}`;
  return new PortcullisError('invalid_argument', `The file of prices ${text}.`, { cause });
}
