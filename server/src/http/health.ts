import type { FastifyInstance } from 'fastify';

/** The state of one dependency: `ok`, or a word that says what is wrong. `needed` ones that are not ok make 503. */
export interface Readiness {
  readonly name: string;
  readonly needed: boolean;
  /** Resolves to `ok`, `degraded`, `not_configured` or `failed`; a slow check counts as failed. */
  check(): Promise<string>;
}

const checkTimeoutMs = 2_000;

/** `/healthz` (alive, touches nothing) and `/readyz` (each dependency, with its own time limit). Neither asks for a credential. */
export function registerHealth(app: FastifyInstance, checks: readonly Readiness[], draining: () => boolean): void {
  app.get('/healthz', { helmet: false }, (_request, reply) => reply.type('text/plain').send('ok'));
  app.get('/readyz', async (_request, reply) => {
    const results = await Promise.all(checks.map(async (check) => ({ ...check, state: await stateOf(check) })));
    const ready =
      !draining() && results.every(({ needed, state }) => !needed || state === 'ok' || state === 'degraded');
    const body = {
      server: draining() ? 'draining' : 'ok',
      ...Object.fromEntries(results.map(({ name, state }) => [name, state])),
      timestamp: new Date().toISOString(),
    };
    return reply.code(ready ? 200 : 503).send(body);
  });
}

async function stateOf(check: Readiness): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve('failed'), checkTimeoutMs);
  });
  try {
    return await Promise.race([check.check(), late]);
  } catch {
    return 'failed';
  } finally {
    clearTimeout(timer);
  }
}
