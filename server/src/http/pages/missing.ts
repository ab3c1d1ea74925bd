import type { FastifyReply, FastifyRequest } from 'fastify';
import type { PortcullisError } from '../../base/errors.ts';
import { noteRefusal } from '../refusal.ts';
import { html } from './html.ts';
import { type Link, sendPage } from './layout.ts';
import { backToStart } from './problem-page.ts';

/** Whether it is a browser that shows what it gets: programs do not name HTML. Below `/v1/` there are programs alone. */
export function asksForPage({ method, url, headers }: FastifyRequest): boolean {
  const looks = method === 'GET' || method === 'HEAD';
  return looks && !url.startsWith('/v1/') && /(^|,)\s*text\/html\s*(,|$)/i.test(headers.accept ?? '');
}

/** The page for what does not exist. @param back where it leads */
export function sendMissing(
  error: PortcullisError,
  request: FastifyRequest,
  reply: FastifyReply,
  back: Link = backToStart,
): FastifyReply {
  noteRefusal(request.access, error);
  return sendPage(reply, error.status, {
    title: 'Not found',
    main: html`<div class="narrow">
      <h1>Not found</h1>
      <p>${error.message}</p>
      <p><a class="button" href="${back.href}">${back.text}</a></p>
    </div>`,
  });
}
