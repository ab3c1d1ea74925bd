import type { FastifyInstance } from 'fastify';
import { readinessMs } from '../base/limits.ts';

/** The state of one dependency. One that is `needed` and neither `ok` nor `degraded` makes the process not ready. */
export interface Readiness {
  readonly name: string;
  readonly needed: boolean;
  /** Resolves to `ok`, or a word that says what is wrong; a check that throws or takes too long counts as `failed`. */
  check(): string | Promise<string>;
}

/** What a gate depends on, as it is now. */
interface ReadinessReport {
  readonly ready: boolean;
  /** The state of each, by its name. */
  readonly states: Readonly<Record<string, string>>;
}

/** Whether everything that is needed is there. Who asks while an answer is being found shares it: anybody may ask. */
export class ReadinessCheck {
  readonly #checks: readonly Readiness[];
  #current: Promise<ReadinessReport> | null = null;

  constructor(checks: readonly Readiness[]) {
    this.#checks = checks;
  }

  report(): Promise<ReadinessReport> {
    this.#current ??= this.#look().finally(() => (this.#current = null));
    return this.#current;
  }

  async #look(): Promise<ReadinessReport> {
    const results = await Promise.all(this.#checks.map(async (check) => ({ ...check, state: await stateOf(check) })));
    return {
      ready: results.every(({ needed, state }) => !needed || state === 'ok' || state === 'degraded'),
      states: Object.fromEntries(results.map(({ name, state }) => [name, state])),
    };
  }
}

/** `/healthz` (alive, touches nothing) and `/readyz` (each dependency, with its own time limit). Neither asks for a credential. */
export function registerHealth(app: FastifyInstance, readiness: ReadinessCheck, draining: () => boolean): void {
  app.get('/healthz', { config: { page: false } }, (_request, reply) => reply.type('text/plain').send('ok'));
  app.get('/readyz', async (_request, reply) => {
    const { ready, states } = await readiness.report();
    const body = { server: draining() ? 'draining' : 'ok', ...states, timestamp: new Date().toISOString() };
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
