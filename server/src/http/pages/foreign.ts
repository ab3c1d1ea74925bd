import { hasInk } from '../../base/ink.ts';
import { type Html, html } from './html.ts';

/** Text of others among ours: nothing in it acts on what stands beside it. What shows nothing at all is told as that. */
export function foreign(text: string): Html {
  return hasInk(text) ? html`<bdi>${text}</bdi>` : html`(blank)`;
}
