import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type IncomingMessage, request as httpRequest } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { AgentService } from '../server/src/gen/portcullis/v1/agent_pb.ts';
import { startGate, type TestGate } from './support/gate.ts';

/** The proxy configuration that is shipped (deploy/Caddyfile), in a real Caddy in front of a real gate. */

const caddyfile = resolve(import.meta.dirname, '../deploy/Caddyfile');
const missing = spawnSync('caddy', ['version']).error !== undefined;
if (missing && process.env['REQUIRE_ALL'] === '1')
  throw new Error('caddy is not installed, and nothing may be left out');
if (missing) console.warn('The shipped Caddyfile is not tried: caddy is not installed.');

const [publicHost, grpcHost] = ['gate.localhost', 'grpc.localhost'];
let gate: TestGate;
let caddy: ChildProcess;
let folder: string;
let httpPort: number;
let httpsPort: number;
let authority: string;

beforeAll(async () => {
  if (missing) return;
  gate = await startGate({
    env: { PUBLIC_URL: `https://${publicHost}`, ALLOWED_HOSTS: grpcHost, TRUSTED_PROXIES: '127.0.0.1/32' },
  });
  folder = mkdtempSync(join(tmpdir(), 'portcullis-caddy-'));
  [httpPort, httpsPort] = [await freePort(), await freePort()];
  caddy = spawn('caddy', ['run', '--config', caddyfile, '--adapter', 'caddyfile'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: folder,
      XDG_DATA_HOME: folder,
      XDG_CONFIG_HOME: folder,
      PORTCULLIS_HOST: publicHost,
      PORTCULLIS_GRPC_HOST: grpcHost,
      PORTCULLIS_TLS: 'internal',
      PORTCULLIS_HTTP_PORT: String(httpPort),
      PORTCULLIS_HTTPS_PORT: String(httpsPort),
      PORTCULLIS_HTTP_UPSTREAM: new URL(gate.url).host,
      PORTCULLIS_GRPC_UPSTREAM: new URL(gate.grpcUrl).host,
    },
  });
  let said = '';
  caddy.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await vi
    .waitFor(
      async () => {
        authority = readFileSync(join(folder, 'caddy/pki/authorities/local/root.crt'), 'utf8');
        for (const host of [publicHost, grpcHost]) (await tls({ servername: host })).destroy();
      },
      { timeout: 30_000, interval: 200 },
    )
    .catch((cause: unknown) => {
      throw new Error(`caddy did not come up:\n${said}`, { cause });
    });
}, 60_000);

afterAll(async () => {
  if (missing) return;
  const gone = once(caddy, 'exit');
  caddy.kill();
  await gone;
  await gate.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function tls(options: ConnectionOptions) {
  const socket = connectTls({ host: '127.0.0.1', port: httpsPort, ca: authority, ...options });
  await once(socket, 'secureConnect');
  return socket;
}

function grpcClient(host: string) {
  return createClient(
    AgentService,
    createGrpcTransport({
      baseUrl: `https://${host}:${httpsPort}`,
      nodeOptions: { ca: authority, servername: host, lookup: loopback },
      interceptors: [
        (next) => (request) => {
          request.header.set('authorization', `Bearer ${gate.adminKey}`);
          return next(request);
        },
      ],
    }),
  );
}

// Names below localhost are this machine (RFC 6761, section 6.3); not every resolver knows it.
const loopback: NonNullable<ConnectionOptions['lookup']> = (_name, options, found) => {
  if (options.all === true) found(null, [{ address: '127.0.0.1', family: 4 }]);
  else found(null, '127.0.0.1', 4);
};

async function plain(host: string, path: string, headers: Readonly<Record<string, string>> = {}) {
  const request = httpRequest({ host: '127.0.0.1', port: httpPort, path, headers: { host, ...headers } }).end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  response.resume();
  return response;
}

async function overTls(host: string, headers: Readonly<Record<string, string>>) {
  const session = connectHttp2(`https://${host}:${httpsPort}`, { ca: authority, servername: host, lookup: loopback });
  try {
    const stream = session.request({ ':path': '/healthz', ...headers });
    stream.end();
    const [answer] = (await once(stream, 'response')) as [Record<string, unknown>];
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    return { status: answer[':status'], headers: answer, text: Buffer.concat(chunks).toString() };
  } finally {
    session.close();
  }
}

describe.skipIf(missing)('P0-09: the shipped Caddyfile passes gRPC alone on its name, by TLS 1.2 or 1.3', () => {
  test('passes a real gRPC call, a read and a write, to the gate and its errors back', async () => {
    const client = grpcClient(grpcHost);
    const { agent } = await client.createAgent({ name: 'behind a proxy' });
    expect((await client.listAgents({})).agents.map(({ id }) => id)).toContain(agent?.id);
    await expect(client.getAgent({ agentId: 'agt_00000000000000000000000000' })).rejects.toThrow(/not_found/);
  });

  test('answers what is no gRPC with 404 on the name for gRPC', async () => {
    expect((await overTls(grpcHost, {})).status).toBe(404);
    expect((await overTls(grpcHost, { ':method': 'POST', 'content-type': 'application/json' })).status).toBe(404);
    expect((await overTls(grpcHost, { ':path': '/v1/models' })).status).toBe(404);
    expect((await overTls(grpcHost, { ':path': '/metrics' })).status).toBe(404);
  });

  test('speaks HTTP/2 alone there, and TLS 1.2 or later everywhere', async () => {
    const both = await tls({ servername: grpcHost, ALPNProtocols: ['h2', 'http/1.1'] });
    expect(both.alpnProtocol).toBe('h2');
    both.destroy();
    const old = await tls({ servername: grpcHost, ALPNProtocols: ['http/1.1'] });
    expect(old.alpnProtocol).toBe(false);
    old.write(`POST /portcullis.v1.AgentService/ListAgents HTTP/1.1\r\nhost: ${grpcHost}\r\ncontent-length: 0\r\n\r\n`);
    const [answer] = (await once(old, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1.1 404 /);
    old.destroy();
    for (const servername of [publicHost, grpcHost]) {
      const weak: ConnectionOptions = {
        servername,
        minVersion: 'TLSv1.1',
        maxVersion: 'TLSv1.1',
        ciphers: 'ALL@SECLEVEL=0',
      };
      await expect(tls(weak)).rejects.toThrow(/version|alert/);
    }
  });

  test('serves nothing without TLS: the name for gRPC is 404, the other leads to https', async () => {
    expect((await plain(grpcHost, '/portcullis.v1.AgentService/ListAgents')).statusCode).toBe(404);
    const response = await plain(publicHost, '/healthz');
    expect(response.statusCode).toBe(308);
    expect(response.headers.location).toMatch(/^https:/);
  });

  test('does not take a request for one name on a connection that was made to the other', async () => {
    expect((await overTls(publicHost, { ':authority': grpcHost, 'content-type': 'application/grpc' })).status).toBe(
      421,
    );
  });

  test('tells the gate who calls, and keeps what a caller says of itself from it', async () => {
    const { status } = await overTls(publicHost, {
      ':path': '/v1/models',
      authorization: `Bearer ${gate.adminKey}`,
      'x-forwarded-for': '203.0.113.9',
      'x-request-id': 'through-the-proxy',
      'client-cert': ':AAAA:',
    });
    expect(status).toBe(200);
    const line = (await gate.settledLog()).split('\n').find((one) => one.includes('"through-the-proxy"'));
    expect(JSON.parse(line ?? '{}')).toMatchObject({ ip: '127.0.0.1', status: 200 });
  });
});
