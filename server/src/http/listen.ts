import type { FastifyInstance } from 'fastify';

export interface ListenOptions {
  readonly host: string;
  readonly port: number;
  /** How many further ports may be tried when one is taken. */
  readonly furtherPorts: number;
}

/**
 * Listens on the first free port from `port` on.
 * @returns the URL, with the port that it became
 * @throws Error EADDRINUSE when all are taken
 */
export async function listen(app: FastifyInstance, { host, port, furtherPorts }: ListenOptions): Promise<string> {
  for (let candidate = port; ; candidate++) {
    try {
      return await app.listen({ host, port: candidate });
    } catch (error) {
      const taken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
      if (!taken || port === 0 || candidate >= port + furtherPorts) throw error;
    }
  }
}

/** Takes no more requests, and waits for those under way; `tooLate` is called when they take longer than `drainMs`. */
export async function close(app: FastifyInstance, drainMs: number, tooLate: () => void): Promise<void> {
  const timer = setTimeout(tooLate, drainMs);
  await app.close();
  clearTimeout(timer);
}
