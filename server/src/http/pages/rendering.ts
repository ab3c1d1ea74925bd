import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** An answer that is made once and given to many. */
export interface Rendering {
  readonly type: string;
  readonly body: Buffer;
  /** Strong (RFC 9110, 8.8.3). */
  readonly etag: string;
}

/** @param type a media type */
export function render(type: string, text: string): Rendering {
  const body = Buffer.from(text);
  return { type, body, etag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"` };
}

/** Answers with it, or with 304 to whoever has it already. @param keep for `Cache-Control` */
export function sendRendering(
  request: FastifyRequest,
  reply: FastifyReply,
  { type, body, etag }: Rendering,
  keep: string,
): FastifyReply {
  reply.headers({ etag, 'cache-control': keep });
  if (has(request.headers['if-none-match'], etag)) return reply.code(304).send();
  return reply.type(type).send(body);
}

/** RFC 9110, 13.1.2: compared weakly, since proxies weaken tags when they compress. */
function has(field: string | undefined, etag: string): boolean {
  const tags = field?.split(',').map((tag) => tag.trim().replace(/^W\//, '')) ?? [];
  return tags.includes(etag) || tags.includes('*');
}
