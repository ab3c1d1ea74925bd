import { status } from '@grpc/grpc-js';
import { Pool } from 'undici';
import { StockClient } from '../../../test/support/grpc.ts';
import type { Door } from './job.ts';

/** Makes calls of the control API as a client does that speaks one protocol. */
export interface Caller {
  /** @param key another one than the door's. @throws Error when it is refused */
  call(method: string, request: object, key?: string): Promise<void>;
  close(): Promise<void>;
}

export function newCaller(door: Door, connections: number): Caller {
  return door.protocol === 'connect' ? connectCaller(door, connections) : grpcCaller(door);
}

let visitors = 0;

/** The gate counts strangers' calls by address, and takes a proxy's word for it: each call is of another (RFC 2544's range). */
function forwardedFor(): string {
  visitors += 1;
  return `198.18.${(visitors >> 8) & 255}.${visitors & 255}`;
}

/** Connect's JSON over HTTP/1.1. */
function connectCaller({ url, key }: Door, connections: number): Caller {
  const pool = new Pool(url, { connections, pipelining: 1 });
  return {
    call: async (method, request, callKey = key) => {
      const { statusCode, body } = await pool.request({
        path: `/portcullis.v1.${method}`,
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          authorization: `Bearer ${callKey}`,
          'x-forwarded-for': forwardedFor(),
        },
        body: JSON.stringify(request),
      });
      const text = await body.text();
      if (statusCode !== 200) throw new Error(`${method}: ${statusCode} ${text.slice(0, 300)}`);
    },
    close: () => pool.close(),
  };
}

/** gRPC's own client, on one connection. */
function grpcCaller({ url, key }: Door): Caller {
  const client = new StockClient(url);
  return {
    call: async (method, request, callKey = key) => {
      const headers = { authorization: `Bearer ${callKey}`, 'x-forwarded-for': forwardedFor() };
      const { code, sentence } = await client.call(method, binary(request) as object, headers);
      if (code !== status.OK) throw new Error(`${method}: ${code} ${sentence}`);
    },
    close: () => Promise.resolve(client.close()),
  };
}

const timestamp = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

/** A message in protobuf's JSON as the loader of schemas wants it: a time is seconds and nanoseconds. */
function binary(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(binary);
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, binary(member)]));
  if (typeof value !== 'string' || !timestamp.test(value)) return value;
  const ms = Date.parse(value);
  return { seconds: Math.floor(ms / 1_000), nanos: (ms % 1_000) * 1_000_000 };
}
