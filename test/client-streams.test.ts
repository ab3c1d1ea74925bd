import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect, createServer as createLink, type Server } from 'node:net';
import { type ConnectRouter, Code, ConnectError, type HandlerContext } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createPortcullis, PortcullisError, RunService, type WatchRunRequest } from '../client/src/index.ts';

// What the client does when a stream breaks at any byte: against Connect's own server with a stream of known messages.

const messages = 40;
let told: number[];
let ended: number;
let fail: ((context: HandlerContext, sent: number) => void) | null;
/** Each stream begins with the run as it stands. */
let hasOpening: boolean;

async function* watchRun({ position }: WatchRunRequest, context: HandlerContext) {
  const first = position === '' ? 0 : Number(position);
  told.push(first);
  try {
    if (hasOpening) yield { position: String(first), told: { case: 'run' as const, value: { id: 'run_1' } } };
    for (let n = first + 1; n <= messages; n++) {
      fail?.(context, n);
      const message = `${n} `.padEnd(n * 10, 'x');
      yield { position: String(n), told: { case: 'event' as const, value: { type: 'n', message } } };
      // A message that says only that the stream lives.
      if (n % 7 === 0) yield { position: String(n) };
    }
  } finally {
    ended++;
  }
}

const handle = connectNodeAdapter({ routes: (router: ConnectRouter) => router.service(RunService, { watchRun }) });
const gate = createServer((request, response) => {
  // Each try has a connection of its own, which the link breaks where the test says.
  response.setHeader('connection', 'close');
  handle(request, response);
});
/** After how many bytes of answers each connection breaks; those after the last of them do not. */
let cuts: number[];
/** It is then silent, instead of broken. */
let isSilent: boolean;
const link: Server = createLink((client) => {
  const upstream = connect((gate.address() as AddressInfo).port, '127.0.0.1');
  let left = cuts.shift() ?? Infinity;
  for (const socket of [client, upstream]) socket.on('error', () => undefined);
  client.on('close', () => upstream.destroy()).on('data', (chunk) => upstream.write(chunk));
  upstream.on('close', () => isSilent || client.destroy());
  upstream.on('data', (chunk: Buffer) => {
    if (chunk.length < left) client.write(chunk);
    else if (left > 0) client.write(chunk.subarray(0, left), () => isSilent || client.destroy());
    left -= chunk.length;
  });
});

let url: string;
beforeAll(async () => {
  for (const server of [gate, link]) {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  }
  url = `http://127.0.0.1:${(link.address() as AddressInfo).port}`;
});
afterAll(() => {
  link.close();
  gate.close();
  gate.closeAllConnections();
});
beforeEach(() => {
  [told, ended, fail, hasOpening, cuts, isSilent] = [[], 0, null, false, [], false];
});

const all = Array.from({ length: messages }, (_, i) => i + 1);

function watch(options = {}, client = {}) {
  return createPortcullis({ url, key: 'pcl_k', ...client }).runs.watchRun({ runId: 'run_1' }, options);
}

async function read(stream: ReturnType<typeof watch>): Promise<number[]> {
  const numbers: number[] = [];
  for await (const { told } of stream) {
    if (told.case === 'event') numbers.push(Number(told.value.message.split(' ')[0]));
  }
  return numbers;
}

async function failureOf(work: Promise<unknown>): Promise<PortcullisError> {
  const failure = await work.then(
    () => null,
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(PortcullisError);
  return failure as PortcullisError;
}

describe('a stream', () => {
  it('that does not break is read once', async () => {
    expect(await read(watch())).toEqual(all);
    expect(told).toEqual([0]);
  });

  it('tells each message once, in order, wherever its connections break', { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 9_000 }), { minLength: 1, maxLength: 4 }), async (bytes) => {
        cuts = [...bytes];
        expect(await read(watch())).toEqual(all);
      }),
      { numRuns: 15 },
    );
  });

  it('goes on when the gate is away for a moment, and not when it refuses', async () => {
    fail = ({ requestHeader }, n) => {
      if (n === 10 && told.length < 3) throw new ConnectError('Stopping.', Code.Unavailable, requestHeader);
      if (n === 20) throw new ConnectError('No.', Code.PermissionDenied);
    };
    const numbers: number[] = [];
    const failure = await failureOf(
      (async () => {
        for await (const { told } of watch()) if (told.case === 'event') numbers.push(told.value.message.length);
      })(),
    );
    expect(failure).toMatchObject({ code: 'permission_denied', message: 'No.' });
    expect(numbers).toEqual(all.slice(0, 19).map((n) => Math.max(`${n} `.length, n * 10)));
    expect(told).toEqual([0, 9, 9]);
  });

  it('goes on when its connection has gone silent', async () => {
    [cuts, isSilent] = [[50, 4_000], true];
    expect(await read(watch({}, { silenceMs: 300 }))).toEqual(all);
    expect(told.length).toBeGreaterThan(1);
    const failure = await failureOf(
      read(watch({}, { silenceMs: 50, repeatsMax: 0, fetch: () => new Promise(() => undefined) })),
    );
    expect(failure.code).toBe('unreachable');
  });

  it('is given up when it makes no progress', async () => {
    fail = () => {
      throw new ConnectError('Away.', Code.Unavailable);
    };
    expect((await failureOf(read(watch({}, { repeatsMax: 2 })))).code).toBe('unavailable');
    expect(told).toEqual([0, 0, 0]);
  });

  it('is given up also when all that comes is where the run stands', async () => {
    hasOpening = true;
    fail = (_context, n) => {
      if (n === 4) throw new ConnectError('Away.', Code.Unavailable);
    };
    expect((await failureOf(read(watch({}, { repeatsMax: 2 })))).code).toBe('unavailable');
    expect(told).toEqual([0, 3, 3]);
  });

  it.each([Infinity, 2 ** 40])('may be silent, and last, for %d ms', async (ms) => {
    expect(await read(watch({ timeoutMs: ms }, { silenceMs: ms }))).toEqual(all);
    expect(told).toEqual([0]);
  });

  it('ends at the gate as well when its reader stops, aborts, or its time is over', async () => {
    for await (const { position } of watch()) if (position === '3') break;
    await expect.poll(() => ended).toBe(1);

    const controller = new AbortController();
    const reason = new Error('enough');
    const aborted = failureOf(
      (async () => {
        for await (const { position } of watch({ signal: controller.signal })) {
          if (position === '3') controller.abort(reason);
        }
      })(),
    );
    expect(await aborted).toMatchObject({ code: 'cancelled', cause: reason });
    await expect.poll(() => ended).toBe(2);

    fail = (_context, n) => {
      if (n === 5) throw new ConnectError('Away.', Code.Unavailable);
    };
    expect((await failureOf(read(watch({ timeoutMs: 700 }, { repeatsMax: 1_000 })))).code).toMatch(
      /^(unavailable|deadline_exceeded)$/,
    );
  });
});
