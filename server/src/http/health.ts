import type { FastifyInstance } from 'fastify';
import { readinessMs } from '../base/limits.ts';

/** The state of one dependency. One that is `needed` and neither `ok` nor `degraded` makes the process not ready. */
export interface Readiness {
  readonly name: string;
  readonly needed: boolean;
  /** Resolves to `ok`, or a word that says what is wrong; a check that throws or takes too long counts as `failed`. */
  check(): string | Promise<string>;
}

/** `/healthz` (alive, touches nothing) and `/readyz` (each dependency, with its own time limit). Neither asks for a credential. */
export function registerHealth(app: FastifyInstance, checks: readonly Readiness[], draining: () => boolean): void {
  app.get('/healthz', { config: { page: false } }, (_request, reply) => reply.type('text/plain').send('ok'));
  app.get('/readyz', async (_request, reply) => {
    const results = await Promise.all(checks.map(async (check) => ({ ...check, state: await stateOf(check) })));
    const ready = results.every(({ needed, state }) => !needed || state === 'ok' || state === 'degraded');
    const body = {
      server: draining() ? 'draining' : 'ok',
      ...Object.fromEntries(results.map(({ name, state }) => [name, state])),
      timestamp: new Date().toISOString(),
    };
    return reply.code(ready && !draining() ? 200 : 503).send(body);
  });
}

async function stateOf(check: Readiness): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve('failed'), readinessMs);
  });
  try {
    return await Promise.race([check.check(), late]);
  } catch {
    return 'failed';
  } finally {
    clearTimeout(timer);
  }
}
