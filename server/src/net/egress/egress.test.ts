import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { egressPoolsMax, egressRequestsPerPoolMax } from '../../base/limits.ts';
import { Authority } from '../../../../test/support/certificates.ts';
import { type NameServer, records, startNameServer } from '../../../../test/support/name-server.ts';
import { createEgress, type Egress, type EgressOptions, type EgressOutcome } from './egress.ts';
import { EgressError, type EgressRequest } from './model.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const opened: { close(): unknown }[] = [];
afterEach(async () => {
  for (const thing of opened.splice(0)) await thing.close();
});

let names: NameServer;
beforeAll(async () => {
  names = await startNameServer((name, type) => (type === 'A' ? records(name, 'A', '127.0.0.1') : []));
});
afterAll(() => names.close());

interface Site {
  readonly port: number;
  readonly sockets: Set<Socket>;
  readonly ended: () => number;
}

async function listen(server: Server): Promise<Site> {
  const sockets = new Set<Socket>();
  let ended = 0;
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => ended++);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  opened.push({
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  });
  return { port: (server.address() as AddressInfo).port, sockets, ended: () => ended };
}

const site = (handler: Handler) => listen(createServer(handler));

function egressTo(port: number, more: Partial<EgressOptions> = {}, host = '127.0.0.1'): Egress {
  const egress = createEgress({ allowPrivate: [{ host, port }], ...more });
  opened.push(egress);
  return egress;
}

const request = (url: string, more: Partial<EgressRequest> = {}): EgressRequest => ({
  owner: 'webhook',
  url,
  timeoutMs: 10_000,
  responseBytesMax: 1_000,
  ...more,
});

async function reasonOf(answer: Promise<unknown>): Promise<string> {
  const error: unknown = await answer.then(
    () => 'answered',
    (thrown: unknown) => thrown,
  );
  return error instanceof EgressError ? error.reason : String(error);
}

describe('A request', () => {
  it('arrives as it was given, and asks for an answer that is not encoded', async () => {
    const { port } = await site((asked, response) => {
      void asked
        .toArray()
        .then((chunks: Buffer[]) =>
          response
            .writeHead(201, { 'x-told': ['a', 'b'] })
            .end(JSON.stringify([asked.method, asked.url, asked.headers, Buffer.concat(chunks).toString()])),
        );
    });
    const answer = await egressTo(port).request(
      request(`http://127.0.0.1:${port}/hook?a=1#gone`, {
        method: 'POST',
        headers: { 'Webhook-Id': 'msg_1' },
        body: 'päckchen',
      }),
    );
    expect(answer.status).toBe(201);
    expect(answer.truncated).toBe(false);
    expect(answer.headers['x-told']).toEqual(['a', 'b']);
    const [method, url, headers, body] = JSON.parse(answer.body.toString()) as unknown[];
    expect([method, url, body]).toEqual(['POST', '/hook?a=1', 'päckchen']);
    expect(headers).toMatchObject({
      'webhook-id': 'msg_1',
      'accept-encoding': 'identity',
      'content-length': '9',
      'user-agent': 'portcullis',
      host: `127.0.0.1:${port}`,
    });
  });

  it('goes to the vetted address under the name of the URL, in TLS and in Host', async () => {
    const authority = new Authority('Test authority');
    const { cert, key } = authority.server({ dns: ['hooks.internal'] });
    const seen: unknown[] = [];
    const { port } = await listen(
      createTlsServer({ cert, key }, (asked, response) => {
        seen.push(asked.headers.host, (asked.socket as unknown as { servername: string }).servername);
        response.end('ok');
      }),
    );
    const told = { nameServers: [names.address] };
    const url = `https://Hooks.internal.:${port}/`;
    const trusting = egressTo(port, { ...told, ca: [authority.cert] }, 'hooks.internal');
    expect((await trusting.request(request(url))).body.toString()).toBe('ok');
    expect(seen).toEqual([`hooks.internal:${port}`, 'hooks.internal']);
    // Another name has no certificate here; and without the authority nobody has.
    const other = egressTo(port, { ...told, ca: [authority.cert] }, 'other.internal');
    expect(await reasonOf(other.request(request(`https://other.internal:${port}/`)))).toBe('tls');
    expect(await reasonOf(egressTo(port, told, 'hooks.internal').request(request(url)))).toBe('tls');
    expect(seen).toHaveLength(2);
  });

  it('finds names that the operator allows where the system does, and those of others at name servers alone', async () => {
    const { port } = await site((_, response) => void response.end('here'));
    const url = `http://localhost:${port}/`;
    expect((await egressTo(port, {}, 'localhost').request(request(url))).body.toString()).toBe('here');
    expect(await reasonOf(egressTo(port).request(request(url)))).toBe('scheme');
    expect((await egressTo(port).request(request(url, { writtenBy: 'operator' }))).status).toBe(200);
    const asked = names.asked.length;
    const others = egressTo(port, { nameServers: [names.address] });
    expect(await reasonOf(others.request(request('https://localhost.example/')))).toBe('private_answer');
    expect(names.asked.length).toBe(asked + 2);
  });

  it('does not follow redirects', async () => {
    const paths: (string | undefined)[] = [];
    const { port } = await site((asked, response) => {
      paths.push(asked.url);
      response.writeHead(302, { location: '/inside' }).end();
    });
    const { status, headers } = await egressTo(port).request(request(`http://127.0.0.1:${port}/`));
    expect([status, headers['location']]).toEqual([302, '/inside']);
    expect(paths).toEqual(['/']);
  });

  it('is refused before any connection for headers that would end a line, frame the message or name its target', async () => {
    const { port, sockets } = await site((_, response) => void response.end());
    const egress = egressTo(port);
    const hostile: Record<string, string>[] = [
      { 'x-a': 'b\r\nx-c: d' },
      { 'x-a': 'b\nc' },
      { 'x-a': 'b\0' },
      { 'x-a': 'ü' },
      { 'x-a\r\nx-c': 'd' },
      { 'x a': 'b' },
      { '': 'b' },
      { 'x-a:': 'b' },
      { Host: '169.254.169.254' },
      { 'transfer-encoding': 'chunked' },
      { 'Content-Length': '1' },
      { connection: 'upgrade' },
      { 'Accept-Encoding': 'gzip' },
      Object.fromEntries(Array.from({ length: 65 }, (_, n) => [`x-${n}`, 'a'])),
      { 'x-a': 'a'.repeat(9_000) },
    ];
    for (const headers of hostile) {
      const answer = egress.request(request(`http://127.0.0.1:${port}/`, { headers }));
      expect(await reasonOf(answer), JSON.stringify(headers).slice(0, 80)).toBe('header');
    }
    expect(sockets.size).toBe(0);
  });

  it('says what it found, once, to whoever counts', async () => {
    const { port } = await site((_, response) => void response.writeHead(500).end());
    const outcomes: EgressOutcome[] = [];
    const egress = egressTo(port, { onRequest: (_, outcome) => outcomes.push(outcome) });
    await egress.request(request(`http://127.0.0.1:${port}/`));
    await reasonOf(egress.request(request(`http://127.0.0.1:1/`)));
    await reasonOf(egress.request(request(`http://127.0.0.1:1/`, { writtenBy: 'operator' })));
    expect(outcomes).toEqual(['answered', 'refused', 'failed']);
    expect(await reasonOf(egress.request(request(`http://127.0.0.1:1/`, { writtenBy: 'operator' })))).toBe('connect');
    expect(() => egress.check('https://10.0.0.1/')).toThrow(/not on the public internet/);
    expect(egress.check('https://Example.com/x#y').href).toBe('https://example.com/x');
  });
});

describe('An answer', () => {
  it('that is larger than the bound is refused, or given up to the bound', async () => {
    const { port } = await site((_, response) => void response.end('x'.repeat(300_000)));
    const url = `http://127.0.0.1:${port}/`;
    const egress = egressTo(port);
    expect(await reasonOf(egress.request(request(url)))).toBe('too_large');
    const { body, truncated } = await egress.request(request(url, { take: 'start', responseBytesMax: 10 }));
    expect([body.toString(), truncated]).toEqual(['xxxxxxxxxx', true]);
    const exact = await egress.request(request(url, { responseBytesMax: 300_000 }));
    expect([exact.body.length, exact.truncated]).toEqual([300_000, false]);
  });

  it('that has no end is left when the bound is reached', async () => {
    const { port, ended } = await site((_, response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write('y'.repeat(10_000)), 1);
      response.on('close', () => clearInterval(timer));
    });
    const { body } = await egressTo(port).request(request(`http://127.0.0.1:${port}/`, { take: 'start' }));
    expect(body.length).toBe(1_000);
    await expect.poll(ended).toBe(1);
  });

  it('that is encoded is refused as a whole, and never decoded', async () => {
    const bomb = gzipSync(Buffer.alloc(10_000_000));
    const { port } = await site(
      (_, response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb),
    );
    const url = `http://127.0.0.1:${port}/`;
    const egress = egressTo(port);
    expect(await reasonOf(egress.request(request(url, { responseBytesMax: 1_000_000 })))).toBe('encoded');
    const { status, body } = await egress.request(request(url, { take: 'start', responseBytesMax: 100 }));
    expect([status, body]).toEqual([200, bomb.subarray(0, 100)]);
  });

  it('that breaks off, or is no HTTP, is an error', async () => {
    const { port } = await site((_, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('half');
      setTimeout(() => response.destroy(), 10);
    });
    expect(await reasonOf(egressTo(port).request(request(`http://127.0.0.1:${port}/`)))).toBe('broken');
    const ssh = createTcpServer((socket) => socket.on('error', () => undefined).end('SSH-2.0-OpenSSH_9.6\r\n'));
    const { port: other } = await listen(ssh as unknown as Server);
    expect(await reasonOf(egressTo(other).request(request(`http://127.0.0.1:${other}/`)))).toBe('broken');
  });
});

describe('The deadline', () => {
  it.each<[string, string, (socket: Socket) => void]>([
    ['TLS that never shakes hands', 'https', () => undefined],
    ['a head that does not come', 'http', () => undefined],
    ['a head that comes byte by byte', 'http', (socket) => drip(socket, 'HTTP/1.1 200 OK\r\nx-slow: ')],
    [
      'a body that comes byte by byte',
      'http',
      (socket) => drip(socket, 'HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n'),
    ],
  ])('ends %s', async (_, scheme, serve) => {
    const server = createTcpServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => serve(socket));
    });
    const { port } = await listen(server as unknown as Server);
    const answer = egressTo(port).request(request(`${scheme}://127.0.0.1:${port}/`, { timeoutMs: 300 }));
    expect(await reasonOf(answer)).toBe('deadline');
  });

  function drip(socket: Socket, start: string): void {
    socket.write(start);
    const timer = setInterval(() => socket.write('z'), 20);
    socket.on('close', () => clearInterval(timer));
  }
});

describe('Connections', () => {
  it('are used again by their holder, and by nobody else', async () => {
    const holders = new Map<Socket, Set<unknown>>();
    const { port } = await site((asked, response) => {
      holders.set(asked.socket, (holders.get(asked.socket) ?? new Set()).add(asked.headers['x-holder']));
      response.end();
    });
    const egress = egressTo(port);
    for (let n = 0; n < 40; n++) {
      const share = `prj_${n % 2}`;
      const owner = n % 4 < 2 ? 'webhook' : 'approval';
      const headers = { 'x-holder': `${owner} ${share}` };
      await egress.request(request(`http://127.0.0.1:${port}/`, { owner, share, headers }));
    }
    expect(holders.size).toBeLessThan(40);
    expect([...holders.values()].map(({ size }) => size).filter((size) => size !== 1)).toEqual([]);
  });

  it('are bounded: who has too many requests under way is refused, others are not', async () => {
    const waiting: ServerResponse[] = [];
    const { port, sockets } = await site((asked, response) => {
      if (asked.url === '/wait') waiting.push(response);
      else response.end();
    });
    const egress = egressTo(port);
    const url = `http://127.0.0.1:${port}`;
    const aborting = new AbortController();
    const many = Array.from({ length: egressRequestsPerPoolMax }, () =>
      reasonOf(egress.request(request(`${url}/wait`, { share: 'greedy', signal: aborting.signal }))),
    );
    await expect.poll(() => waiting.length).toBe(16);
    expect(await reasonOf(egress.request(request(`${url}/`, { share: 'greedy' })))).toBe('busy');
    expect((await egress.request(request(`${url}/`, { share: 'modest' }))).status).toBe(200);
    expect(sockets.size).toBe(17);
    aborting.abort();
    expect(new Set(await Promise.all(many))).toEqual(new Set(['cancelled']));
  });

  it('of the holder who used them longest ago end when there are too many holders', async () => {
    const { port, ended } = await site((_, response) => void response.end());
    const egress = egressTo(port);
    for (let n = 0; n < egressPoolsMax + 20; n++) {
      await egress.request(request(`http://127.0.0.1:${port}/`, { share: `prj_${n}` }));
    }
    await expect.poll(ended).toBeGreaterThanOrEqual(20);
  });

  it('end with egress: what is under way fails, what comes later too', async () => {
    const { port, sockets, ended } = await site(() => undefined);
    const egress = egressTo(port);
    const url = `http://127.0.0.1:${port}/`;
    const under = reasonOf(egress.request(request(url)));
    await expect.poll(() => sockets.size).toBe(1);
    await egress.close();
    expect(await under).toBe('closed');
    expect(await reasonOf(egress.request(request(url)))).toBe('closed');
    await expect.poll(ended).toBe(1);
  });
});
