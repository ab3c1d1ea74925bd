/** What every part of the composition is made with. Part of the composition root: see main.ts. */
import { PortcullisError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import type { Stops } from '../base/stops.ts';
import { messageOf } from '../cli/last-words.ts';
import type { Config } from '../config/config.ts';

/** What every part below is made with. */
export interface Base {
  readonly config: Config;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly stops: Stops;
  readonly notice: (line: string) => void;
}

/** A part that writes in the background from now on, and what is left when it stops. */
export function startWriter<T extends { start(): void; stop(): Promise<void> }>(
  { stops }: Base,
  name: string,
  writer: T,
): T {
  writer.start();
  stops.add(name, () => writer.stop());
  return writer;
}

export function reporter(log: Logger, what: string): (err: unknown) => void {
  return (err) => log.error({ err }, `${what} could not be written to the database`);
}

export function refuseToStart(cause: unknown): never {
  throw new PortcullisError('unavailable', messageOf(cause), { cause });
}
