import type { FastifyReply, FastifyRequest } from 'fastify';
import { iconUrl, stylesheetUrl } from './assets.ts';
import { Html, html } from './html.ts';
import { mark } from './mark.ts';
import { render, type Rendering, sendRendering } from './rendering.ts';

const headers: Readonly<Record<string, string>> = {
  // Nothing but our stylesheet and icon is loaded, and forms go nowhere else; there is no script.
  'content-security-policy':
    "default-src 'none';style-src 'self';img-src 'self';form-action 'self';frame-ancestors 'none';base-uri 'none'",
  'x-frame-options': 'DENY',
  'cache-control': 'no-store',
  // Forms need it: without a referrer a browser sends no Origin either.
  'referrer-policy': 'same-origin',
};

const type = 'text/html; charset=utf-8';

export interface Link {
  readonly href: string;
  readonly text: string;
  /** It leads to the page on which it is. */
  readonly isHere?: boolean;
}

export interface Page {
  readonly title: string;
  readonly main: Html;
  /** As wide as a table needs; otherwise as wide as one reads well. */
  readonly wide?: boolean;
  /** Where else one may go. */
  readonly links?: readonly Link[];
  /** Who is signed in; they get a link to their account. */
  readonly name?: string;
  /** For the head. */
  readonly head?: Html;
}

/** Answers with a page for one person: the shell of all, and the headers that keep it from being framed, kept or scripted. */
export function sendPage(reply: FastifyReply, status: number, page: Page): FastifyReply {
  return reply.code(status).headers(headers).type(type).send(shell(page).text);
}

/** A page that is the same for everybody, to be sent by {@link sendPublicPage}. */
export function renderPage(page: Page): Rendering {
  return render(type, shell(page).text);
}

/** Answers with a page that anybody may keep for a while. */
export function sendPublicPage(
  request: FastifyRequest,
  reply: FastifyReply,
  page: Rendering,
  maxAgeS: number,
): FastifyReply {
  return sendRendering(request, reply.headers(headers), page, `public, max-age=${maxAgeS}`);
}

/** Sends the browser on with GET. */
export function goTo(reply: FastifyReply, path: string): FastifyReply {
  return reply.code(303).headers(headers).header('location', path).send();
}

/** What went wrong, read out by screen readers as soon as the page is there. */
export function alertBox(sentence: string): Html {
  return html`<div class="alert" role="alert"><p>${sentence}</p></div>`;
}

function shell({ title, main, wide = false, links, name, head }: Page): Html {
  return html`${new Html('<!doctype html>')}
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="robots" content="noindex" />
        ${head ?? null}
        <title>${title} · Portcullis</title>
        <link rel="icon" href="${iconUrl}" type="image/svg+xml" />
        <link rel="stylesheet" href="${stylesheetUrl}" />
      </head>
      <body>
        <a class="skip" href="#main">Skip to content</a>
        <header class="top">
          <a class="brand" href="/">${mark}Portcullis</a>
          ${links === undefined ? null : html`<nav aria-label="Site">${links.map(linkTo)}</nav>`}
          ${name === undefined ? null : html`<nav aria-label="Account"><a href="/account">${name}</a></nav>`}
        </header>
        <main id="main" ${wide && new Html('class="wide"')}>${main}</main>
      </body>
    </html> `;
}

function linkTo({ href, text, isHere = false }: Link): Html {
  return html`<a href="${href}" ${isHere && new Html('aria-current="page"')}>${text}</a>`;
}
