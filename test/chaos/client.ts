import { type Agent, request as httpRequest } from 'node:http';
import type { Plan } from './plan.ts';
import { sideOf } from './sides.ts';

/** What a client got of a run. */
export interface Received {
  /** Null: not even a head came. */
  readonly status: number | null;
  readonly contentType: string;
  readonly text: string;
  /** The answer came to its end, as HTTP knows it. */
  readonly whole: boolean;
  readonly left: boolean;
}

/** Makes the call of a run; it ends with the answer, or with `leave`. */
export function call(
  { url, secret, agent }: { readonly url: string; readonly secret: string; readonly agent: Agent },
  plan: Plan,
  requestId: string,
): { readonly received: Promise<Received>; readonly leave: () => void } {
  const side = sideOf(plan.dialectIn);
  const body = JSON.stringify(side.request(plan.model, plan.wantsUsage));
  let left = false;
  const chunks: Buffer[] = [];
  const request = httpRequest(url + side.path, {
    method: 'POST',
    agent,
    headers: {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      authorization: `Bearer ${secret}`,
      'x-request-id': requestId,
    },
  });
  const received = new Promise<Received>((resolve) => {
    let status: number | null = null;
    let contentType = '';
    const end = (whole: boolean) =>
      resolve({ status, contentType, text: Buffer.concat(chunks).toString(), whole, left });
    request.once('response', (response) => {
      status = response.statusCode ?? 0;
      contentType = String(response.headers['content-type']);
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', () => end(false));
      response.once('close', () => end(response.complete && !left));
    });
    request.once('error', () => end(false));
  });
  request.end(body);
  return {
    received,
    leave: () => {
      left = true;
      request.destroy();
    },
  };
}
