import type { Tx } from '../../pg/tx.ts';
import type { EventState, WebhookEvent } from './model.ts';
import type { Source } from './sources.ts';

/** What is to be done of an event. */
export interface Work {
  readonly event: WebhookEvent;
  readonly source: Source;
  /** As it was signed. */
  readonly body: Buffer;
  /** Parsed; undefined is not JSON, or too large to be looked into. */
  readonly content: unknown;
}

/** What came of it. */
export interface Effect {
  readonly state: Exclude<EventState, 'pending' | 'dead'>;
  /** The run that was told of it. */
  readonly runId: string | null;
  /** Why nothing was done; empty otherwise. */
  readonly note: string;
}

/**
 * A use that events are put to. What it does, it does in the transaction that ends the event's job: once in effect, however often
 * it is tried.
 */
export interface Handler {
  /** What must be asked of others before; no transaction is open meanwhile. @throws what is tried again */
  prepare?(work: Work, signal: AbortSignal): Promise<unknown>;
  /** @param prepared what `prepare` gave @throws Refused for what no further try can change, and anything else to be tried again */
  apply(tx: Tx, work: Work, prepared: unknown): Promise<Effect>;
}

/** The uses that there are, by name. */
export const uses = ['keep', 'tell_run', 'tell_run_of_job'] as const;
export type Use = (typeof uses)[number];

export type Handlers = Readonly<Record<Use, Handler>>;

/** To what use a source puts its events. */
export function useOf({ scheme, options }: Source): Use {
  if (scheme === null) return 'tell_run_of_job';
  return options.run === undefined ? 'keep' : 'tell_run';
}

/** Thrown where no further try can change it: the event is dead until somebody replays it. Its message is kept with the event. */
export class Refused extends Error {}
