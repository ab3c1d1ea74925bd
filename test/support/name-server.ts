import { createSocket } from 'node:dgram';
import { decode, encode, type Answer } from 'dns-packet';

export type RecordType = 'A' | 'AAAA';

/** What a name has: addresses of a type; or silence. `count` is how often this type of it was asked for before. */
export type Zone = (name: string, type: RecordType, count: number) => readonly Answer[] | 'silence' | 'servfail';

export interface NameServer {
  /** As `dns.setServers` takes it. */
  readonly address: string;
  /** `A hooks.example`, in the order in which they came. */
  readonly asked: readonly string[];
  close(): Promise<void>;
}

/** A DNS server on a socket of this machine, which answers as a test says, with times to live of 0. */
export async function startNameServer(zone: Zone): Promise<NameServer> {
  const asked: string[] = [];
  const socket = createSocket('udp4');
  socket.on('message', (message, { address, port }) => {
    const query = decode(message);
    const question = query.questions?.[0];
    if (question === undefined || (question.type !== 'A' && question.type !== 'AAAA')) return;
    const line = `${question.type} ${question.name}`;
    const answers = zone(question.name, question.type, asked.filter((other) => other === line).length);
    asked.push(line);
    if (answers === 'silence') return;
    // A response (0x8000) to a question with recursion; SERVFAIL is 2 (RFC 1035, 4.1.1).
    const flags = 0x8180 | (answers === 'servfail' ? 2 : 0);
    const id = query.id ?? 0;
    const records = answers === 'servfail' ? [] : [...answers];
    socket.send(encode({ type: 'response', id, flags, questions: [question], answers: records }), port, address);
  });
  await new Promise<void>((done) => socket.bind(0, '127.0.0.1', done));
  const { port } = socket.address();
  return {
    address: `127.0.0.1:${port}`,
    asked,
    close: () => new Promise((done) => socket.close(() => done())),
  };
}

/** Address records of a name. */
export function records(name: string, type: RecordType, ...addresses: readonly string[]): Answer[] {
  return addresses.map((data) => ({ name, type, ttl: 0, data }));
}
