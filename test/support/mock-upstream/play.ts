import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Performance } from './provider.ts';
import { nowMs, type RequestRecord } from './record.ts';
import type { Script } from './script.ts';

/** How an answer leaves: through node:http, or by hand where its head must trickle. */
interface Sink {
  open(): Promise<void>;
  write(text: string): Promise<void>;
  end(): Promise<void>;
}

/**
 * Sends the answer with the script's timing and faults. Resolves with `cut` where the script destroyed the connection;
 * for a stall only when the client has gone; rejects with an AbortError as soon as `gone` aborts.
 */
export async function play(
  { response, record, gone }: { response: ServerResponse; record: RequestRecord; gone: AbortSignal },
  performance: Performance,
  script: Script,
): Promise<'finished' | 'cut'> {
  const socket = response.socket;
  if (socket === null) throw new Error('the connection is gone');
  if (script.never) return await forever(gone);
  await wait(script.latencyMs, gone);
  if (script.reset) {
    socket.resetAndDestroy();
    return 'cut';
  }
  const sink =
    script.headerByteMs === undefined
      ? httpSink(response, performance, gone)
      : tricklingSink(socket, performance, script.headerByteMs, gone);
  record.status = performance.status;
  const startedMs = nowMs();
  if (performance.stream || script.headerByteMs !== undefined || script.cutAfter === 0 || script.stallAfter === 0) {
    await sink.open();
    record.firstByteAt = nowMs();
  }
  await wait(script.firstEventMs, gone);

  let tokens = 0;
  for (const [index, chunk] of performance.chunks.entries()) {
    if (index === script.cutAfter) return cut(socket);
    if (index === script.stallAfter) return await forever(gone);
    tokens += chunk.tokens;
    if (script.tokensPerSecond !== undefined && chunk.tokens > 0) {
      const dueMs = startedMs + (script.firstEventMs ?? 0) + (tokens / script.tokensPerSecond) * 1000;
      await wait(dueMs - nowMs(), gone);
    }
    record.firstByteAt ??= nowMs();
    await sink.write(index === script.malformedAt ? broken(chunk.text) : chunk.text);
    record.chunksSent = index + 1;
    if (performance.charge !== null) record.billed = { ...performance.charge, output: tokens };
  }
  if (performance.chunks.length === script.cutAfter) return cut(socket);
  if (performance.chunks.length === script.stallAfter) return await forever(gone);
  await sink.end();
  record.billed = performance.charge;
  return 'finished';
}

async function wait(ms: number | undefined, signal: AbortSignal): Promise<void> {
  if (ms !== undefined && ms > 0) await sleep(ms, undefined, { signal });
}

function forever(gone: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const end = () => reject(gone.reason as Error);
    if (gone.aborted) end();
    gone.addEventListener('abort', end, { once: true });
  });
}

/** What was written is in the kernel by now (every write was awaited), so that the client gets it before the end. */
function cut(socket: Socket): 'cut' {
  socket.destroy();
  return 'cut';
}

/** The same length, as Content-Length may be out already; the second half of the JSON is blanked. */
function broken(text: string): string {
  const middle = Math.ceil(text.trimEnd().length / 2);
  return text.slice(0, middle) + text.slice(middle).replace(/[^\n]/gu, ' ');
}

function httpSink(response: ServerResponse, { status, headers }: Performance, signal: AbortSignal): Sink {
  response.writeHead(status, headers);
  return {
    open: () => {
      response.flushHeaders();
      return Promise.resolve();
    },
    write: (text) => settled((done) => response.write(text, done), signal),
    end: () => settled((done) => response.end(done), signal),
  };
}

function tricklingSink(socket: Socket, { status, headers }: Performance, byteMs: number, signal: AbortSignal): Sink {
  const lines = Object.entries({ ...headers, connection: 'close' }).map(([name, value]) => `${name}: ${value}\r\n`);
  const write = (text: string) => settled((done) => socket.write(text, done), signal);
  return {
    open: async () => {
      for (const byte of `HTTP/1.1 ${status} Mock\r\n${lines.join('')}\r\n`) {
        await write(byte);
        await sleep(byteMs, undefined, { signal });
      }
    },
    write,
    end: () => settled((done) => socket.end(done), signal),
  };
}

/** Resolves when the bytes are with the kernel, so that back-pressure holds the script up and `chunksSent` is true. */
function settled(write: (done: (error?: Error | null) => void) => void, gone: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = () => reject(gone.reason as Error);
    gone.addEventListener('abort', end, { once: true });
    write((error) => {
      gone.removeEventListener('abort', end);
      if (error) reject(error);
      else resolve();
    });
  });
}
