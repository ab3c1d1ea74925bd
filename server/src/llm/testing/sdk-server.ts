import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import type { Dialect } from '../dialect.ts';
import { simulate } from '../sim/simulate.ts';

/** What the server answers: a stream's text, a whole body, or what the simulated model says to the request. */
export type Reply =
  | 'simulate'
  | { readonly stream: string }
  | { readonly status: number; readonly body: string; readonly headers?: Readonly<Record<string, string>> };

/** A server for the official SDKs, which asks `reply` for each request. */
export async function startSdkServer(reply: (dialect: Dialect, body: unknown) => Reply) {
  const server = createServer((request, response) => {
    const dialect = dialectOf(request.url ?? '');
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body: unknown = JSON.parse(Buffer.concat(chunks).toString());
      const answer = reply(dialect, body);
      if (answer === 'simulate') {
        const simulation = simulate({ dialect, body, requestId: 'req_1' });
        if (simulation.kind === 'stream') {
          response.writeHead(200, { 'content-type': 'text/event-stream' });
          for (const { text } of simulation.events) response.write(text);
          response.end();
          return;
        }
        const status = simulation.kind === 'error' ? simulation.status : 200;
        response.writeHead(status, { 'content-type': 'application/json' }).end(simulation.body);
      } else if ('stream' in answer) {
        response.writeHead(200, { 'content-type': 'text/event-stream' }).end(answer.stream);
      } else {
        response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers }).end(answer.body);
      }
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    anthropic: new Anthropic({ baseURL: origin, apiKey: 'none', maxRetries: 0 }),
    openai: new OpenAI({ baseURL: `${origin}/v1`, apiKey: 'none', maxRetries: 0 }),
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

function dialectOf(path: string): Dialect {
  if (path.endsWith('/messages')) return 'anthropic';
  return path.endsWith('/responses') ? 'responses' : 'chat';
}
