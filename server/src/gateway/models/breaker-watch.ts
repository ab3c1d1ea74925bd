import type { BreakerLevel } from '../../base/metrics.ts';

/** A target that is called no more, or again. */
export interface BreakerChange {
  readonly provider: string;
  readonly model: string;
  readonly opened: boolean;
}

/** Compares how targets stand with how they stood. A half open one is called by probes alone: it is not closed yet. */
export class BreakerWatch {
  #open = new Map<string, Pick<BreakerLevel, 'provider' | 'model'>>();

  /** What changed since the last look that was `settled`; targets that the configuration has no more are forgotten. */
  look(levels: readonly BreakerLevel[]): { readonly changes: readonly BreakerChange[]; readonly settled: () => void } {
    const open = new Map<string, Pick<BreakerLevel, 'provider' | 'model'>>();
    const changes: BreakerChange[] = [];
    for (const { provider, model, state } of levels) {
      const key = `${provider} ${model}`;
      const was = this.#open.has(key);
      if (state !== 'closed') open.set(key, { provider, model });
      if (was !== (state !== 'closed')) changes.push({ provider, model, opened: !was });
    }
    return { changes, settled: () => (this.#open = open) };
  }
}
