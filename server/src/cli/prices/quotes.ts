import { resolve } from 'node:path';
import { systemClock } from '../../base/clock.ts';
import { PortcullisError } from '../../base/errors.ts';
import type { Price } from '../../budget/prices/price.ts';
import { PriceBook } from '../../budget/prices/price-book.ts';
import { PriceFile } from '../../budget/prices/price-file.ts';
import type { Config } from '../../config/config.ts';
import { readPriceFile } from '../../config/price-file.ts';
import { type Routing, createRouting } from '../../gateway/models/route-config.ts';
import { targetPrices } from '../../gateway/models/target-prices.ts';
import { CliError } from '../context.ts';
import { exitCodes } from '../exit-codes.ts';

/** What one model costs at one provider. */
export interface PriceQuote {
  /** As callers name it. */
  readonly model: string;
  readonly provider: string;
  readonly modelServed: string;
  /** Null: nobody knows it. */
  readonly price: Price | null;
}

export interface Asked {
  readonly model: string | undefined;
  readonly provider: string | undefined;
  readonly atMs: number;
}

/** Vendors whose models are known without a configuration. */
const vendorKinds = ['anthropic', 'openai', 'gemini'];

/**
 * What models cost, as a gate with this configuration would count them: the routes of the configuration, or where they lead
 * nowhere a model by its provider's own name.
 * @throws CliError when there is no such model or provider
 */
export async function quotesOf(config: Config, cwd: string, asked: Asked): Promise<PriceQuote[]> {
  const book = openBook(config, cwd);
  const routing = createRouting({
    providers: config.file.providers,
    models: config.file.models,
    priceBook: book,
    clock: systemClock,
    // Nothing is called.
    deadlines: { connectMs: 1, firstByteMs: 1, idleMs: 1, totalMs: 1 },
  });
  try {
    const routed = routedQuotes(routing, asked);
    return routed.length > 0 ? routed : unroutedQuotes(config, book, asked);
  } finally {
    await routing.close();
  }
}

function openBook({ options, file }: Config, cwd: string): PriceBook {
  if (!file.prices) return new PriceBook();
  return new PriceBook(new PriceFile(readPriceFile(resolve(cwd, options.CONFIG_FILE), file.prices.file)));
}

function routedQuotes({ table }: Routing, { model, provider, atMs }: Asked): PriceQuote[] {
  const names = model === undefined ? table.names : [model];
  return names.flatMap((name) =>
    targetsOf(table, name)
      .filter((target) => provider === undefined || target.provider.name === provider)
      .map((target) => {
        const modelServed = target.model ?? name;
        return {
          model: name,
          provider: target.provider.name,
          modelServed,
          price: target.prices.priceOf(modelServed, atMs),
        };
      }),
  );
}

function targetsOf(table: Routing['table'], name: string): ReturnType<Routing['table']['resolve']>['targets'] {
  try {
    return table.resolve(name).targets;
  } catch (error) {
    if (error instanceof PortcullisError && error.code === 'not_found') return [];
    throw error;
  }
}

function unroutedQuotes({ file }: Config, book: PriceBook, { model, provider, atMs }: Asked): PriceQuote[] {
  if (model === undefined) {
    if (provider === undefined) return [];
    throw new CliError(`No route leads to a provider "${provider}".`);
  }
  if (provider !== undefined && !Object.hasOwn(file.providers, provider) && !vendorKinds.includes(provider)) {
    const known = [...Object.keys(file.providers), ...vendorKinds].join(', ');
    throw new CliError(`There is no provider "${provider}": there is ${known}.`, exitCodes.usage);
  }
  const quoteAt = (name: string): PriceQuote => {
    const prices = targetPrices(book, name, file.providers[name] ?? { kind: name }, {});
    return { model, provider: name, modelServed: model, price: prices.priceOf(model, atMs) };
  };
  if (provider !== undefined) return [quoteAt(provider)];
  const known = vendorKinds.map(quoteAt).filter(({ price }) => price !== null);
  if (known.length > 0) return known;
  throw new CliError(`Nobody here knows a model "${model}": name its provider by --provider, or make a route for it.`);
}
