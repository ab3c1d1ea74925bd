import { type ModelLimits, geminiTokens, imageTokensOf, openaiLimits, simOutputTokens } from './model-limits.ts';
import type { Price } from './price.ts';
import type { FileModel, PriceFile } from './price-file.ts';
import { type PublicModel, readPublicPrices } from './public-prices.ts';
import { sheetAt } from './sheets.ts';
import { undated } from './vendor-rules.ts';

/** Where a model is called. */
export interface Place {
  readonly kind: string;
  /** The provider's name in the configuration. */
  readonly provider: string;
  /** As which model its models are priced: a name of the file, or `VENDOR/MODEL`. Null: under their own. */
  readonly baseModel: string | null;
}

/** The libraries never change while a process runs. */
let publicPrices: ReturnType<typeof readPublicPrices> | null = null;

/**
 * The prices and limits that are known of models: by the operator's file, else by the vendors' public prices as the library
 * carries them. Names match exactly, or exactly without their date (`-20250929`, `-2025-08-07`, `@20250929`) or `-latest`: a
 * prefix never prices a newer model by an older one.
 */
export class PriceBook {
  readonly #public: ReturnType<typeof readPublicPrices>;
  readonly #file: PriceFile | null;

  constructor(file: PriceFile | null = null) {
    this.#public = publicPrices ??= readPublicPrices();
    this.#file = file;
  }

  /** The price of a model at a time (epoch milliseconds); null when it is unknown, which is never free. */
  price(place: Place, model: string, atMs: number): Price | null {
    const inFile = this.#inFile(place, model)?.price ?? null;
    return inFile ?? sheetAt(this.#inLibrary(place, model)?.sheets ?? [], atMs);
  }

  /** Where two sources disagree, an upper bound believes the larger. */
  limits(place: Place, model: string): ModelLimits {
    const { kind } = place;
    const [vendor, own] = publicName(place, model);
    const openai = vendor === 'openai' ? anyName(vendor, own, (name) => openaiLimits.get(name)) : undefined;
    const inFile = this.#inFile(place, model)?.limits;
    const largest = (...counts: (number | null | undefined)[]) =>
      Math.max(...counts.map((count) => count ?? 0)) || null;
    const inLibrary = this.#inLibrary(place, model)?.contextTokens ?? null;
    const contextTokens = largest(
      vendor === 'gemini' && inLibrary !== null ? geminiTokens(inLibrary) : inLibrary,
      openai?.contextTokens,
      inFile?.contextTokens,
    );
    const maxOutputTokens =
      largest(openai?.maxOutputTokens, inFile?.maxOutputTokens) ?? (kind === 'sim' ? simOutputTokens : contextTokens);
    return { contextTokens, maxOutputTokens, imageTokens: imageTokensOf(kind, model) };
  }

  #inFile({ kind, provider, baseModel }: Place, model: string): FileModel | undefined {
    if (baseModel !== null) return this.#file?.models.get(baseModel);
    return anyName(kind, model, (name) => this.#file?.find(kind, provider, name) ?? undefined);
  }

  #inLibrary(place: Place, model: string): PublicModel | undefined {
    const [vendor, own] = publicName(place, model);
    const models = this.#public.get(vendor);
    return anyName(vendor, own, (name) => models?.get(name));
  }
}

/** As which vendor's model the public prices know it. */
function publicName({ kind, baseModel }: Place, model: string): readonly [vendor: string, model: string] {
  if (baseModel === null) return [kind, model];
  const slash = baseModel.indexOf('/');
  return slash < 0 ? [kind, baseModel] : [baseModel.slice(0, slash), baseModel.slice(slash + 1)];
}

/** What `find` has under the model's name, else under its name without a date. */
function anyName<T>(vendor: string, model: string, find: (name: string) => T | undefined): T | undefined {
  return find(model) ?? find(undated(vendor, model));
}
