import { once } from 'node:events';
import { type IncomingHttpHeaders, connect } from 'node:http2';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { methodTable } from '../server/src/api/methods.ts';
import { publicRoutes } from '../server/src/api/public-routes.ts';
import { send } from './support/doors.ts';
import { type MtlsGate, serverAuthority, startMtlsGate } from './support/mtls.ts';

// Every route of every listener is knocked at without a credential (at MTLS_ADDR with a certificate that names
// nobody). What answers must stand in the reviewed table.

let mtls: MtlsGate;
beforeAll(async () => {
  mtls = await startMtlsGate({
    env: { LOG_LEVEL: 'debug', ENABLE_REFLECTION: 'true', ALLOWED_ORIGINS: 'https://app.example.com' },
  });
});
afterAll(() => mtls?.stop());

interface Served {
  readonly routes: readonly string[];
  readonly address: { readonly port: number };
}

async function served(): Promise<Served[]> {
  const lines = (await mtls.gate.settledLog()).split('\n').filter((line) => line.includes('what a listener serves'));
  return lines.map((line) => JSON.parse(line) as Served);
}

const form = 'application/x-www-form-urlencoded';

/** The status of the answer, and whether it is one: gRPC tells its refusals in trailers. */
interface Outcome {
  readonly status: number;
  readonly location: string;
  readonly grpcStatus: string;
}

async function knock1(port: number, method: string, path: string, type: string): Promise<Outcome> {
  const headers = {
    host: 'localhost',
    // A preflight comes from elsewhere, a form from our own page.
    origin: method === 'OPTIONS' ? 'https://app.example.com' : 'http://localhost',
    'access-control-request-method': 'POST',
    ...(method === 'POST' && { 'content-type': type }),
  };
  const answer = await send(`http://127.0.0.1:${port}`, { method, path, headers, body: method === 'POST' ? '{}' : '' });
  return { status: answer.status, location: answer.headers.location ?? '', grpcStatus: '' };
}

async function knock2(origin: string, method: string, path: string, type: string): Promise<Outcome> {
  // One certificate that the listener takes, and that names nobody.
  const session = connect(origin, { ca: serverAuthority.cert, ...mtls.authority.agent('nobody') });
  const stream = session.request({
    ':method': method,
    ':path': path,
    origin,
    ...(method === 'POST' && { 'content-type': type }),
  });
  const trailers: IncomingHttpHeaders[] = [];
  stream.on('trailers', (got: IncomingHttpHeaders) => trailers.push(got));
  if (method === 'POST') stream.end(type === 'application/grpc' ? Buffer.alloc(5) : '{}');
  const [head] = (await once(stream, 'response')) as [IncomingHttpHeaders & { ':status': number }];
  if (!path.endsWith('/Watch')) await text(stream);
  session.destroy();
  const grpcStatus = String(head['grpc-status'] ?? trailers[0]?.['grpc-status'] ?? '');
  return { status: head[':status'], location: '', grpcStatus };
}

/** Unauthenticated; resource exhausted, since too many strangers came from here. */
const closedGrpc = new Set(['16', '8']);
/** 404, 405, 415: nothing of this kind is here. 429: too many strangers came from here. */
const closed = new Set([401, 403, 404, 405, 415, 429]);

function isOpen({ status, location, grpcStatus }: Outcome): boolean {
  return !closed.has(status) && !closedGrpc.has(grpcStatus) && !location.startsWith('/sign-in');
}

it('no route answers without a credential that is not in the reviewed table', async () => {
  const listeners = await served();
  expect(listeners).toHaveLength(3);
  const open = new Set<string>();
  const known = new Set<string>();
  for (const { routes, address } of listeners) {
    const origin = [mtls.gate.grpcUrl, mtls.url].find((url) => new URL(url).port === String(address.port));
    for (const route of routes) {
      const [method = '', path = ''] = route.split(' ');
      known.add(route);
      const real = path.replace('*', '/any').replaceAll(/:[a-z_]+/gi, 'x');
      for (const type of [origin === undefined ? form : 'application/grpc', 'application/json']) {
        const outcome =
          origin === undefined
            ? await knock1(address.port, method, real, type)
            : await knock2(origin, method, real, type);
        if (isOpen(outcome)) open.add(`${method.replace('HEAD', 'GET')} ${path}`);
      }
    }
  }
  const table = publicRoutes.map(({ method, path }) => `${method} ${path}`);
  expect([...open].filter((route) => !table.includes(route))).toEqual([]);
  expect(table.filter((route) => !known.has(route))).toEqual([]);
  // The knocking knew all that there is.
  for (const { path } of methodTable()) expect(known).toContain(`POST ${path}`);
  expect(known).toContain('POST /v1/messages');
}, 180_000);
