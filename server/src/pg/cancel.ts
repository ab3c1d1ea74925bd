import { type ClientBase, Connection } from 'pg';
import { cancelMsMax } from '../base/limits.ts';

declare module 'pg' {
  // The driver has these; its types do not.
  interface ClientBase {
    readonly host: string;
    readonly port: number;
    readonly ssl: boolean;
    readonly sslNegotiation: 'postgres' | 'direct';
    readonly processID: number | null;
    readonly secretKey: number | null;
  }
  interface Connection {
    connect(port: number, host: string): void;
    connect(socketPath: string): void;
    requestSsl(): void;
    cancel(processID: number, secretKey: number): void;
  }
}

/**
 * Asks the server to cancel what runs on a connection (PostgreSQL's protocol, "Canceling Requests in Progress"): over
 * another one, encrypted where the first one is. The server never says what came of it, and a request that meets no
 * statement cancels nothing: whoever needs the end of a statement asks until it has ended.
 */
export function requestCancel({ host, port, ssl, sslNegotiation, processID, secretKey }: ClientBase): void {
  if (processID === null || secretKey === null) return;
  const encryption = { ssl, sslNegotiation };
  const connection = new Connection(encryption);
  const giveUp = setTimeout(() => connection.stream.destroy(), cancelMsMax);
  connection.on('error', () => undefined);
  connection.once('end', () => clearTimeout(giveUp));
  const cancel = () => connection.cancel(processID, secretKey);
  connection.once('sslconnect', cancel);
  if (!ssl) connection.once('connect', cancel);
  else if (sslNegotiation !== 'direct') connection.once('connect', () => connection.requestSsl());
  if (host.startsWith('/')) connection.connect(`${host}/.s.PGSQL.${port}`);
  else connection.connect(port, host);
}
