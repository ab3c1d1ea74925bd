import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What the mock answers a request with: a page, or whatever it does to the response itself. */
type Answer = object | ((response: ServerResponse) => void);

/** A vendor's admin API: it answers each path with its pages in turn, and remembers what it was asked. */
export interface VendorAdminApi {
  readonly url: string;
  readonly asked: { readonly path: string; readonly query: URLSearchParams; readonly headers: IncomingHttpHeaders }[];
  /** What a path answers, by the cursor that asks ("" is the first page). */
  answer(path: string, pages: Readonly<Record<string, Answer>>): void;
  /** Refuses the next requests with these statuses before anything is answered. */
  refuse(...refusals: { readonly status: number; readonly retryAfter?: string }[]): void;
  stop(): Promise<void>;
}

export async function startVendorAdminApi(): Promise<VendorAdminApi> {
  const pages = new Map<string, Readonly<Record<string, Answer>>>();
  const asked: VendorAdminApi['asked'] = [];
  let refusals: { readonly status: number; readonly retryAfter?: string }[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://mock');
    asked.push({ path: url.pathname, query: url.searchParams, headers: request.headers });
    const refusal = refusals.shift();
    if (refusal) {
      const { status, retryAfter } = refusal;
      response.writeHead(status, retryAfter === undefined ? {} : { 'retry-after': retryAfter }).end('{"error":"busy"}');
      return;
    }
    const answer = pages.get(url.pathname)?.[url.searchParams.get('page') ?? ''] ?? {
      data: [],
      has_more: false,
      next_page: null,
    };
    if (typeof answer === 'function') answer(response);
    else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    answer: (path, answers) => void pages.set(path, answers),
    refuse: (...more) => void (refusals = more),
    stop: () =>
      new Promise((closed) => {
        server.close(() => closed());
        server.closeAllConnections();
      }),
  };
}
