import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { buffer } from 'node:stream/consumers';
import { isRefusal } from '../support/mock-upstream/dialect.ts';
import { type Performance, type Plan, type Step, perform } from './plan.ts';
import { sideOf } from './sides.ts';

/** What the upstream knows of one run. */
export interface Watched {
  readonly plan: Plan;
  /** Called when the upstream is where the client is to leave, or the kill switch to strike. */
  readonly trigger: () => void;
  /** The ids under which the gate came: one an attempt. */
  readonly attempts: string[];
  /** What it was to be told; of the last attempt. */
  performance: Performance | null;
  /** Requests that the gate has not let go of. */
  open: number;
}

export interface ChaosUpstream {
  readonly url: string;
  /** Waits for the requests of this run. */
  expect(watched: Watched): void;
  forget(watched: Watched): void;
  stop(): Promise<void>;
}

/** A provider that does to each request what the plan of its model says. */
export async function startChaosUpstream(): Promise<ChaosUpstream> {
  const expected = new Map<string, Watched>();
  const server = createServer((request, response) => {
    serve(request, response).catch((error: unknown) => {
      process.stderr.write(`chaos upstream: ${String(error)}\n`);
      response.destroy();
    });
  });
  server.keepAliveTimeout = 120_000;
  server.listen(0, '127.0.0.1');
  await new Promise((listening) => server.once('listening', listening));

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await buffer(request).catch(() => null);
    if (body === null) return;
    const json = JSON.parse(body.toString()) as Record<string, unknown>;
    const watched = expected.get(String(json['model']));
    if (!watched) throw new Error(`nobody planned ${String(json['model'])}`);
    watched.attempts.push(String(request.headers['x-request-id']));
    watched.open++;
    response.once('close', () => watched.open--);
    const asked = sideOf(watched.plan.dialectOut).upstream.read(json);
    if (isRefusal(asked)) throw new Error(`the gate asked badly: ${asked.message}`);
    const performance = perform(watched.plan, asked, watched.attempts.length);
    watched.performance = performance;
    for (const step of performance.steps) {
      if (response.destroyed) return;
      await take(step, response, watched);
    }
  }

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    expect: (watched) => expected.set(watched.plan.model, watched),
    forget: ({ plan }) => expected.delete(plan.model),
    stop: () =>
      new Promise((stopped) => {
        server.close(() => stopped());
        server.closeAllConnections();
      }),
  };
}

async function take(step: Step, response: ServerResponse, { trigger }: Watched): Promise<void> {
  switch (step.do) {
    case 'wait':
      await sleep(step.ms);
      return;
    case 'refuse':
      response.writeHead(step.status, { 'content-type': 'application/json' }).end(step.body);
      return;
    case 'head':
      response.writeHead(200, head).flushHeaders();
      return;
    case 'write':
      if (!response.headersSent) response.writeHead(200, head);
      response.write(step.bytes);
      // Another turn, so that the pieces leave as pieces.
      await nextTurn();
      return;
    case 'trigger':
      trigger();
      return;
    case 'stall':
      if (!response.headersSent) response.writeHead(200, head).flushHeaders();
      await new Promise((gone) => response.once('close', gone));
      return;
    case 'cut':
      // What was written is to arrive before the end.
      await sleep(1);
      response.destroy();
      return;
    default:
      if (!response.headersSent) response.writeHead(200, head);
      response.end();
  }
}

const head = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' };
