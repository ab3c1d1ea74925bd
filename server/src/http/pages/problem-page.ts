import { html } from './html.ts';
import { alertBox, type Link, type Page } from './layout.ts';

/** The way back from pages that anybody sees. */
export const backToStart: Link = { href: '/', text: 'To the start page' };

/** What went wrong, and the way back. */
export function problemPage(sentence: string, requestId: string, back: Link): Page {
  return {
    title: 'Error',
    main: html`<div class="narrow">
      <h1>That did not work</h1>
      ${alertBox(sentence)}
      <p><a class="button" href="${back.href}">${back.text}</a></p>
      <p class="hint">Request ${requestId}</p>
    </div>`,
  };
}
