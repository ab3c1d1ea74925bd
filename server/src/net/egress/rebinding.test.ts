import { randomInt } from 'node:crypto';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { once } from 'node:events';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type NameServer, records, startNameServer, type Zone } from '../../../../test/support/name-server.ts';
import { createEgress, type Egress } from './egress.ts';
import { EgressError } from './model.ts';

// Of 2000::/3: public, and never connected to, since another address of the same answer is not.
const nobody = '2000::1';
// Egress goes to 443 and 8443 alone; Linux has the whole of 127.0.0.0/8, so that others who listen are not in the way.
const inside = process.platform === 'linux' ? `127.53.${randomInt(1, 255)}.${randomInt(1, 255)}` : '127.0.0.1';

let canary: Server;
let connections = 0;
let names: NameServer;
let zone: Zone = () => [];
let egress: Egress;
beforeAll(async () => {
  canary = createServer((socket) => {
    connections++;
    socket.destroy();
  });
  canary.listen(8443, inside);
  await once(canary, 'listening');
  names = await startNameServer((...question) => zone(...question));
  egress = createEgress({ allowPrivate: [], nameServers: [names.address] });
});
afterAll(async () => {
  await egress?.close();
  await names?.close();
  canary?.close();
});
beforeEach(() => {
  connections = 0;
});

const ask = (host: string, timeoutMs = 1_500, by = egress) =>
  by.request({ owner: 'webhook', url: `https://${host}:8443/`, timeoutMs, responseBytesMax: 1_000 }).then(
    () => 'answered',
    (error: unknown) => (error instanceof EgressError ? error.reason : String(error)),
  );

describe('A name that means one thing for the guard and another for the connection', () => {
  it('is dangerous: the canary counts who comes', async () => {
    const { port } = canary.address() as AddressInfo;
    await once(connect(port, inside), 'close');
    expect(connections).toBe(1);
  });

  it('gains nothing by answering with an address that may be reached first and with another one ever after', async () => {
    const host = 'flip.example';
    // Nothing public may be reached from a test: what may is an exception here, which is never one for metadata services.
    const lenient = createEgress({ allowPrivate: [{ host, port: 8443 }], nameServers: [names.address] });
    zone = (name, type, count) => {
      if (type === 'AAAA') return [];
      return records(name, 'A', count === 0 ? inside : '169.254.169.254');
    };
    expect(await ask(host, 1_500, lenient)).not.toBe('answered');
    expect(connections).toBe(1);
    // What was vetted is what was connected to: the name was asked for once.
    expect(names.asked.filter((line) => line.endsWith(host))).toHaveLength(2);
    for (let n = 0; n < 5; n++) expect(await ask(host, 1_500, lenient)).toBe('private_answer');
    expect(connections).toBe(1);
    await lenient.close();
  });

  it('gains nothing by changing with every answer, with many who ask at once', async () => {
    zone = (name, type, count) => {
      if (type === 'AAAA') return [];
      return records(name, 'A', count % 2 === 0 ? '127.0.0.1' : inside);
    };
    const reasons = await Promise.all(Array.from({ length: 40 }, (_, n) => ask(`a${n % 4}.example`)));
    expect(new Set(reasons)).toEqual(new Set(['private_answer']));
    expect(connections).toBe(0);
  });

  it.each<[string, Zone, string]>([
    ['A and AAAA differ', (name, type) => records(name, type, type === 'A' ? inside : nobody), 'mixed_answer'],
    [
      'one of many is private',
      (name, type) => (type === 'A' ? records(name, 'A', '93.184.216.34', inside) : []),
      'mixed_answer',
    ],
    [
      'it is mapped into IPv6',
      (name, type) => (type === 'AAAA' ? records(name, 'AAAA', `::ffff:${inside}`) : []),
      'private_answer',
    ],
    ['it has no addresses', () => [], 'unresolved'],
    [
      'its server fails for one type',
      (name, type) => (type === 'A' ? records(name, 'A', '93.184.216.34') : 'servfail'),
      'unresolved',
    ],
    [
      'an alias leads inside',
      (name, type) =>
        type === 'A'
          ? [{ name, type: 'CNAME', ttl: 0, data: 'in.example' }, ...records('in.example', 'A', inside)]
          : [{ name, type: 'CNAME', ttl: 0, data: 'in.example' }],
      'private_answer',
    ],
  ])('is refused when %s', async (title, answers, reason) => {
    zone = answers;
    expect(await ask(`${title.replaceAll(/\W+/g, '-').toLowerCase()}.example`, 10_000)).toBe(reason);
    expect(connections).toBe(0);
  });

  it('is refused when its server says nothing until the deadline', async () => {
    zone = () => 'silence';
    expect(await ask('silent.example', 300)).toBe('deadline');
    expect(connections).toBe(0);
  });
});
