/** What a worker is told by its argument, as JSON. */
export interface WorkerJob {
  /** Connects as the application's own role. */
  readonly url: string;
  /** The 40 bytes of the key that seals secrets, in hex: its id and the key itself. */
  readonly sealingKey: string;
  /** Where the receivers listen, on 127.0.0.1. */
  readonly ports: readonly number[];
  readonly timeoutMs: number;
  readonly claimMs: number;
}

/** What a worker prints when it works. */
export const readyLine = 'delivers';
