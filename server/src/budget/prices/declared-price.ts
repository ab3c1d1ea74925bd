import { type NanoUsd, formatUsd } from '../../base/money.ts';
import { type Price, classNames, makePrice, tokenPrices } from './price.ts';
import { type Sheet, dayOf } from './sheets.ts';
import { complete, documentedTerms } from './vendor-rules.ts';

/** Nano-USD per million tokens by class, as the configuration names them. */
export interface DeclaredClasses {
  readonly input: NanoUsd;
  readonly output: NanoUsd;
  readonly reasoning?: NanoUsd | undefined;
  readonly cache_read?: NanoUsd | undefined;
  readonly cache_write_5m?: NanoUsd | undefined;
  readonly cache_write_1h?: NanoUsd | undefined;
}

/** A price from the configuration: free, one for good, or several by the time (epoch milliseconds) from which they hold. */
export type DeclaredPrice = 'free' | DeclaredClasses | readonly (DeclaredClasses & { readonly from: number })[];

export const freePrice: Price = makePrice('free', { base: tokenPrices(() => 0n), tiers: [] }, { searchUsd: 0n });

/** A declared price as the book has it. Classes that it leaves out follow from the vendor's rules. */
export function declaredSheets(vendor: string, declared: DeclaredPrice): readonly Sheet[] {
  if (declared === 'free') return [{ from: -Infinity, price: freePrice }];
  if ('input' in declared) return [{ from: -Infinity, price: classesPrice(vendor, 'declared', declared) }];
  return declared.map(({ from, ...classes }) => ({
    from,
    price: classesPrice(vendor, `declared from ${dayOf(from)}:`, classes),
  }));
}

/** The price that an operator lets stand in where nobody knows one. */
export function assumedPrice(vendor: string, classes: DeclaredClasses): Price {
  return classesPrice(vendor, 'assumed', classes);
}

function classesPrice(vendor: string, source: string, classes: DeclaredClasses): Price {
  const base = complete(vendor, {
    input: classes.input,
    output: classes.output,
    reasoning: classes.reasoning,
    cacheRead: classes.cache_read,
    cacheWrite5m: classes.cache_write_5m,
    cacheWrite1h: classes.cache_write_1h,
  });
  const text = classNames
    .filter((name) => name !== 'reasoning' || base.reasoning !== base.output)
    .map((name) => formatUsd(base[name]))
    .join(' ');
  const { searchUsd } = documentedTerms(vendor, '', { base, tiers: [] });
  return makePrice(`${source} ${text}`, { base, tiers: [] }, { searchUsd });
}
