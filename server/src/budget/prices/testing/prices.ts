import { type DeclaredPrice, declaredSheets } from '../declared-price.ts';
import type { Price } from '../price.ts';
import { type Place, PriceBook } from '../price-book.ts';

const book = new PriceBook();

/** A provider of a kind, named as it, whose models are priced under their own names. */
export function at(kind: string): Place {
  return { kind, provider: kind, baseModel: null };
}

/** A public price. @throws Error when there is none */
export function publicPrice(vendor: string, model: string, atMs = Date.parse('2026-11-22')): Price {
  const price = book.price(at(vendor), model, atMs);
  if (!price) throw new Error(`${model} has no price`);
  return price;
}

/** The first price that is declared so. */
export function declaredPrice(kind: string, declared: DeclaredPrice): Price {
  const [sheet] = declaredSheets(kind, declared);
  if (!sheet) throw new Error('nothing is declared');
  return sheet.price;
}
