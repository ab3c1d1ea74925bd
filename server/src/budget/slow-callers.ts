import { slowCallerMs, slowCallersMax } from '../base/limits.ts';
import type { HoldRequest } from './model.ts';

/**
 * Callers who were refused lately, or let in against a dry-run budget: their calls are decided apart, call by call, so that
 * the commits of all others do not fail for their sake.
 */
export class SlowCallers {
  /** Monotonic milliseconds, by caller. */
  readonly #until = new Map<string, number>();

  note(request: HoldRequest): void {
    if (this.#until.size >= slowCallersMax) this.#until.clear();
    this.#until.set(nameOf(request), performance.now() + slowCallerMs);
  }

  has(request: HoldRequest): boolean {
    if (this.#until.size === 0) return false;
    const name = nameOf(request);
    const until = this.#until.get(name);
    if (until === undefined) return false;
    if (performance.now() < until) return true;
    this.#until.delete(name);
    return false;
  }
}

function nameOf({ attempt: { projectId, keyId, agentId, personId } }: HoldRequest): string {
  return `${projectId} ${keyId ?? agentId ?? personId ?? ''}`;
}
