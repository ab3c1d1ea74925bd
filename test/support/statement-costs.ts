import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { escapeIdentifier } from 'pg';
import { queryAsOwner, type TestDatabase } from './database.ts';

/** What statements cost PostgreSQL: counts that do not depend on how busy the machine is. */
export interface Cost {
  readonly statements: number;
  /** Rows and entries of indexes that were looked at, whether they were of use or not; checks of foreign keys included. */
  readonly rows: number;
  /** Pages of tables and indexes. */
  readonly pages: number;
}

/** A statement with what it cost. */
export interface Statement extends Omit<Cost, 'statements'> {
  readonly text: string;
  /** Tells connections apart. */
  readonly connection: number;
  /** What the connection calls itself (application_name). */
  readonly application: string;
}

export interface CostReader {
  /** The URL of the application's role, through a link that reads along. */
  readonly url: string;
  /** What was run since the last call. */
  take(): Statement[];
  close(): Promise<void>;
}

/**
 * Lets PostgreSQL say what each statement on a database really did (auto_explain), to its client; the link between them
 * keeps that to itself.
 */
export async function readCosts(database: TestDatabase): Promise<CostReader> {
  await explainEverything(database);
  let statements: Statement[] = [];
  const link = await openLink(database.appUrl, (statement) => statements.push(statement));
  return {
    ...link,
    take: () => {
      const taken = statements;
      statements = [];
      return taken;
    },
  };
}

export function costOf(statements: readonly Statement[]): Cost {
  const sum = (of: 'rows' | 'pages') => statements.reduce((total, statement) => total + statement[of], 0);
  return { statements: statements.length, rows: sum('rows'), pages: sum('pages') };
}

/** From the next connections on. */
async function explainEverything(database: TestDatabase): Promise<void> {
  const [current] = await queryAsOwner<{ name: string }>(database, 'SELECT current_database() AS name');
  const settings: Readonly<Record<string, string>> = {
    session_preload_libraries: 'auto_explain',
    'auto_explain.log_min_duration': '0',
    'auto_explain.log_analyze': 'on',
    'auto_explain.log_timing': 'off',
    'auto_explain.log_buffers': 'on',
    'auto_explain.log_nested_statements': 'on',
    'auto_explain.log_format': 'json',
    'auto_explain.log_level': 'notice',
  };
  // Its settings are known to a session that has loaded it.
  const alter = (setting: string, value: string) =>
    `ALTER DATABASE ${escapeIdentifier(current?.name ?? '')} SET ${setting} = '${value}'`;
  const statements = Object.entries(settings).map(([setting, value]) => alter(setting, value));
  await queryAsOwner(database, ["LOAD 'auto_explain'", ...statements].join('; '));
}

async function openLink(
  serverUrl: string,
  told: (statement: Statement) => void,
): Promise<Pick<CostReader, 'url' | 'close'>> {
  const { hostname, port } = new URL(serverUrl);
  const host = decodeURIComponent(hostname);
  // PostgreSQL names its socket so.
  const target = host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port: Number(port) };
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((client) => {
    const connection = connections++;
    const upstream = connect(target);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on('error', () => undefined);
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
    let application = '';
    client.once('data', (chunk) => (application = applicationIn(Buffer.from(chunk))));
    client.on('data', (chunk) => upstream.write(chunk));
    const read = messageReader((statement) => told({ ...statement, connection, application }));
    upstream.on('data', (chunk) => client.write(read(Buffer.from(chunk))));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(serverUrl);
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as AddressInfo).port);
  return {
    url: url.href,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Of the first message of a connection: names and values, each up to a zero byte (PostgreSQL, StartupMessage). */
function applicationIn(startup: Buffer): string {
  const [, name = ''] = /\0application_name\0([^\0]*)\0/.exec(startup.toString()) ?? [];
  return name;
}

const noticeResponse = 'N'.charCodeAt(0);

/** Passes whole messages of the server on, but for the notices that tell of costs (PostgreSQL, "Message Formats"). */
function messageReader(
  told: (statement: Omit<Statement, 'connection' | 'application'>) => void,
): (chunk: Buffer) => Buffer {
  let unread = Buffer.alloc(0);
  return (chunk) => {
    unread = Buffer.concat([unread, chunk]);
    const passed: Buffer[] = [];
    while (unread.length >= 5) {
      const end = 1 + unread.readUInt32BE(1);
      if (unread.length < end) break;
      const message = unread.subarray(0, end);
      unread = unread.subarray(end);
      const statement = message[0] === noticeResponse ? statementIn(message.toString()) : null;
      if (statement) told(statement);
      else passed.push(message);
    }
    return Buffer.concat(passed);
  };
}

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Actual Rows': number;
  readonly 'Actual Loops': number;
  readonly 'Rows Removed by Filter'?: number;
  readonly 'Rows Removed by Index Recheck'?: number;
  readonly 'Shared Hit Blocks'?: number;
  readonly 'Shared Read Blocks'?: number;
  readonly Plans?: readonly PlanNode[];
}

function statementIn(notice: string): Omit<Statement, 'connection' | 'application'> | null {
  const [, json] = /duration: [\d.]+ ms {2}plan:\n(\{.*\n\})\0/s.exec(notice) ?? [];
  if (json === undefined) return null;
  const { 'Query Text': text, Plan: plan } = JSON.parse(json) as { 'Query Text': string; Plan: PlanNode };
  const pages = (plan['Shared Hit Blocks'] ?? 0) + (plan['Shared Read Blocks'] ?? 0);
  return { text, rows: Math.round(rowsRead(plan)), pages };
}

/** A scan of bitmaps reads the entries of its indexes, and then no more rows than these. */
const scans = new Set(['Seq Scan', 'Index Scan', 'Index Only Scan', 'Bitmap Index Scan', 'Tid Scan', 'Sample Scan']);

function rowsRead(node: PlanNode): number {
  const below = (node.Plans ?? []).reduce((sum, child) => sum + rowsRead(child), 0);
  if (!scans.has(node['Node Type'])) return below;
  const { 'Actual Rows': found, 'Actual Loops': loops } = node;
  const useless = (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Index Recheck'] ?? 0);
  return below + (found + useless) * loops;
}
