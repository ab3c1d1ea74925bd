import { hash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { BodyDigest, SignedRequest } from './model.ts';

/** What of Node's requests a signature needs, be they HTTP/1.1 or HTTP/2. */
interface NodeRequest {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
}

/** A request as its listener got it, for {@link SignedRequest}. */
export function signedRequestOf(
  { method = '', url = '', headers, rawHeaders }: NodeRequest,
  clientAddress: string,
  bodyDigest: () => BodyDigest | null,
): SignedRequest {
  const authority = headers[':authority'];
  return {
    method,
    url,
    authority: typeof authority === 'string' ? authority : (headers.host ?? ''),
    rawHeaders,
    clientAddress,
    protocol: /^application\/grpc(?!-web)/i.test(headers['content-type'] ?? '') ? 'grpc' : 'http',
    bodyDigest,
  };
}

/** The digests of a body that is in memory, each made when it is asked for. */
export function digestOfBody(body: Buffer): BodyDigest {
  return {
    get sha256() {
      return hash('sha256', body, 'buffer');
    },
    get sha512() {
      return hash('sha512', body, 'buffer');
    },
  };
}

/** Of a request whose body nobody reads. */
export const emptyDigest = digestOfBody(Buffer.alloc(0));
