import type { FastifyInstance } from 'fastify';
import { PortcullisError } from '../base/errors.ts';

export interface ListenOptions {
  /** The option that says where, for the operator who reads a refusal. */
  readonly option: string;
  readonly host: string;
  readonly port: number;
  /** How many further ports may be tried when one is taken. */
  readonly furtherPorts: number;
}

/**
 * Listens on the first free port from `port` on.
 * @returns the URL, with the port that it became
 * @throws PortcullisError unavailable, for the operator, when it cannot
 */
export async function listen(app: FastifyInstance, options: ListenOptions): Promise<string> {
  const { host, port, furtherPorts } = options;
  for (let candidate = port; ; candidate++) {
    try {
      return await app.listen({ host, port: candidate });
    } catch (cause) {
      const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
      const another = code === 'EADDRINUSE' && port !== 0 && candidate < Math.min(port + furtherPorts, 65_535);
      if (!another) throw cannotListen(options, code, cause);
    }
  }
}

function cannotListen({ option, host, port }: ListenOptions, code: string, cause: unknown): PortcullisError {
  const why: Readonly<Record<string, string>> = {
    EADDRINUSE: 'another program listens there',
    EACCES: 'this user may not use that port',
    EADDRNOTAVAIL: 'this machine has no such address',
    ENOTFOUND: 'there is no such host',
  };
  const reason = why[code] ?? (cause instanceof Error ? cause.message : String(cause));
  return new PortcullisError('unavailable', `${option}=${host}:${port} cannot be used: ${reason}.`, { cause });
}

const idleCheckMs = 50;
const graceMs = 2_000;

/**
 * Takes no more connections and waits for the answers under way. When they take longer than `drainMs`, `tooLate` is
 * called to end them; whatever is then still open a little later is cut.
 */
export async function close(app: FastifyInstance, drainMs: number, tooLate: () => void): Promise<void> {
  const late = setTimeout(tooLate, drainMs);
  const cut = setTimeout(() => app.server.closeAllConnections(), drainMs + graceMs);
  // A connection that was busy when the listener closed would be kept alive after its answer.
  const idle = setInterval(() => app.server.closeIdleConnections(), idleCheckMs);
  try {
    await app.close();
  } finally {
    clearTimeout(late);
    clearTimeout(cut);
    clearInterval(idle);
  }
}
