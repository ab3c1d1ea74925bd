import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Pool } from 'undici';

/** The least that a proxy in Node can be: bodies are piped through, nothing is looked at. `argv[2]` is the upstream. */
const upstream = new Pool(process.argv[2] ?? '', { connections: null, pipelining: 1 });
const hopByHop = new Set(['connection', 'keep-alive', 'transfer-encoding', 'host']);

function endToEnd(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const kept: IncomingHttpHeaders = {};
  for (const name in headers) if (!hopByHop.has(name)) kept[name] = headers[name];
  return kept;
}

const server = createServer((request, response) => {
  const { url: path = '/', method = 'GET' } = request;
  const body = method === 'GET' ? null : request;
  upstream
    .stream({ path, method, headers: endToEnd(request.headers), body }, ({ statusCode, headers }) =>
      response.writeHead(statusCode, endToEnd(headers)),
    )
    .catch(() => {
      if (!response.headersSent) response.writeHead(502);
      response.end();
    });
});
server.keepAliveTimeout = 120_000;
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ port: (server.address() as AddressInfo).port })}\n`);
});
