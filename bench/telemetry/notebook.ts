import { brief, type Sample, type Samples } from '../harness/result.ts';

/** What was measured, and what could not be, and why. */
export class Notebook {
  readonly samples: Samples = new Map();
  readonly unavailable: Record<string, string> = {};
  readonly #progress: (text: string) => void;

  constructor(progress: (text: string) => void) {
    this.#progress = progress;
  }

  add(target: string, workload: string, sample: Sample): void {
    const taken = this.samples.get(target) ?? new Map<string, Sample[]>();
    this.samples.set(target, taken.set(workload, [...(taken.get(workload) ?? []), sample]));
    this.#progress(`${workload}: ${target} ${brief(sample)}`);
  }

  /** Measures a round. */
  take(target: string, workload: string, measure: () => Promise<Sample>): Promise<void> {
    return this.attempt(`${target}: ${workload}`, async () => this.add(target, workload, await measure()));
  }

  /** Does what may fail, unless it failed before; what fails is not tried again, and stops nothing else. */
  async attempt(name: string, work: () => Promise<void>): Promise<void> {
    if (name in this.unavailable) return;
    try {
      await work();
    } catch (error) {
      this.unavailable[name] = (error as Error).message;
      this.#progress(`${name} is not measured: ${this.unavailable[name]}`);
    }
  }
}
