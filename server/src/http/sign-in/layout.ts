import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FastifyReply } from 'fastify';
import { Html, html } from './html.ts';

/** The one stylesheet of all pages. */
export const stylesheet = readFileSync(join(import.meta.dirname, 'style.css'), 'utf8');
export const stylesheetPath = '/sign-in/style.css';

const headers: Readonly<Record<string, string>> = {
  // Nothing but our stylesheet is loaded, and forms go nowhere else; there is no script.
  'content-security-policy':
    "default-src 'none';style-src 'self';form-action 'self';frame-ancestors 'none';base-uri 'none'",
  'x-frame-options': 'DENY',
  'cache-control': 'no-store',
  // Forms need it: without a referrer a browser sends no Origin either.
  'referrer-policy': 'same-origin',
};

export interface Page {
  readonly title: string;
  readonly main: Html;
  /** Who is signed in; they get a link to their account. */
  readonly name?: string;
  /** For the head. */
  readonly head?: Html;
}

/** Answers with a page: the shell of all of them, and the headers that keep it from being framed, kept or scripted. */
export function sendPage(reply: FastifyReply, status: number, page: Page): FastifyReply {
  return reply.code(status).headers(headers).type('text/html; charset=utf-8').send(shell(page).text);
}

/** Sends the browser on with GET. */
export function goTo(reply: FastifyReply, path: string): FastifyReply {
  return reply.code(303).headers(headers).header('location', path).send();
}

/** What went wrong, read out by screen readers as soon as the page is there. */
export function alertBox(sentence: string): Html {
  return html`<div class="alert" role="alert"><p>${sentence}</p></div>`;
}

function shell({ title, main, name, head }: Page): Html {
  return html`${new Html('<!doctype html>')}
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="robots" content="noindex" />
        ${head ?? null}
        <title>${title} · Portcullis</title>
        <link rel="stylesheet" href="${stylesheetPath}" />
      </head>
      <body>
        <a class="skip" href="#main">Skip to content</a>
        <header>
          <span class="brand">Portcullis</span>
          ${name === undefined ? null : html`<nav aria-label="Account"><a href="/account">${name}</a></nav>`}
        </header>
        <main id="main">${main}</main>
      </body>
    </html> `;
}
