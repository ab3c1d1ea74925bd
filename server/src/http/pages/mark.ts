import { html } from './html.ts';

/** The gate of our name, beside the name itself. */
export const mark = html`<svg class="mark" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
  <path class="arch" d="M3.5 21V11.5a8.5 8.5 0 0 1 17 0V21" />
  <path class="bars" d="M8 5v11M12 3.5V16M16 5v11M3.5 9.5h17M3.5 13.5h17" />
  <path class="points" d="M7 15.6h2L8 19zM11 15.6h2L12 19zM15 15.6h2L16 19z" />
</svg>`;
