import { invalid } from '../identity/input.ts';
import type { Slice } from './event-store.ts';

/** Where a watcher stands: it knows all before the slice, and of the slice the events up to `after`. */
export interface Place extends Slice {
  /** The id of an event; empty is none. */
  readonly after: string;
}

export const beginning: Place = { from: 0n, to: 0n, after: '' };

export function placeText({ from, to, after }: Place): string {
  return `${from}.${to}.${after}`;
}

/** @throws PortcullisError invalid_argument */
export function readPlace(text: string): Place {
  if (text === '') return beginning;
  const [, from, to, after] = /^(\d{1,18})\.(\d{1,18})\.((?:evt_[0-9a-z]{26})?)$/.exec(text) ?? [];
  if (from !== undefined && to !== undefined && after !== undefined)
    return { from: BigInt(from), to: BigInt(to), after };
  throw invalid('position', 'position is none that this method gave out: take it unchanged from a message.');
}
