import type { NanoUsd } from '../../base/money.ts';
import { type ClassKey, parseClassKey } from './litellm-keys.ts';
import { type Rates, type TokenPrices, classNames, highestOf } from './price.ts';
import { type KnownClasses, complete } from './vendor-rules.ts';

/** A price of an entry, in nano-USD per million tokens. */
interface Item extends ClassKey {
  readonly usd: NanoUsd;
}

type StatedClasses = { readonly [Name in keyof TokenPrices]?: NanoUsd | undefined };

/** The prices of one entry, by what they are of. */
export class LiteLlmSheet {
  readonly #items: readonly Item[];
  readonly #vendor: string;

  constructor(vendor: string, prices: ReadonlyMap<string, NanoUsd>) {
    this.#vendor = vendor;
    this.#items = [...prices].flatMap(([key, usd]) => {
      const parsed = parseClassKey(key);
      return parsed ? [{ ...parsed, usd }] : [];
    });
  }

  /** The terms with prices of their own. */
  get services(): ReadonlySet<string> {
    return new Set(this.#items.flatMap(({ service }) => service ?? []));
  }

  /** The list price; null without input or output. */
  list(): Rates | null {
    const base = this.#stated(null, 0);
    if (!isWhole(base)) return null;
    return this.#rates(base, (start) => this.#listAbove(base, start));
  }

  /** The rates of a service; null where it has no price of its own for input or output. */
  service(name: string): Rates | null {
    const list = this.#stated(null, 0);
    const own = this.#stated(name, 0);
    if (!isWhole(list) || !isWhole(own)) return null;
    const base = inProportion(own, list);
    return this.#rates(base, (start) => {
      const above = this.#stated(name, start);
      const listed = this.#listAbove(list, start);
      // A service may end at some length, and nobody says which of the two prices a longer prompt has.
      if (!isWhole(above)) return highestOf(complete(this.#vendor, listed), complete(this.#vendor, base));
      return complete(this.#vendor, inProportion(above, listed));
    });
  }

  #rates(base: KnownClasses, above: (start: number) => KnownClasses): Rates {
    const starts = new Set(this.#items.map(({ aboveInputTokens }) => aboveInputTokens));
    starts.delete(0);
    return {
      base: complete(this.#vendor, base),
      tiers: [...starts]
        .toSorted((a, b) => a - b)
        .map((start) => ({ aboveInputTokens: start, prices: complete(this.#vendor, above(start)) })),
    };
  }

  #listAbove(base: KnownClasses, start: number): KnownClasses {
    const { input = base.input, output = base.output, ...rest } = this.#stated(null, start);
    return inProportion({ ...rest, input, output }, base);
  }

  #stated(service: string | null, start: number): StatedClasses {
    const items = this.#items.filter((item) => item.service === service && item.aboveInputTokens === start);
    return Object.fromEntries(items.map(({ name, usd }) => [name, usd]));
  }
}

function isWhole(classes: StatedClasses): classes is KnownClasses {
  return classes.input !== undefined && classes.output !== undefined;
}

/** What a tier or a service leaves out costs as much more (or less) than in `base` as its input does, or its output. */
function inProportion(classes: KnownClasses, base: KnownClasses): KnownClasses {
  const filled: { -readonly [Name in keyof TokenPrices]?: NanoUsd } = {};
  for (const name of classNames) {
    const by = name === 'reasoning' ? 'output' : 'input';
    const usd = classes[name] ?? times(base[name], classes[by], base[by]);
    if (usd !== undefined) filled[name] = usd;
  }
  return { ...filled, input: classes.input, output: classes.output };
}

function times(usd: NanoUsd | undefined, numerator: NanoUsd, denominator: NanoUsd): NanoUsd | undefined {
  if (usd === undefined || denominator === 0n) return usd;
  return (usd * numerator + denominator - 1n) / denominator;
}
