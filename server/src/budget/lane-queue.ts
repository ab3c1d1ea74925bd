import { settleWaitMs } from '../base/limits.ts';
import type { HoldRequest, ShadowVerdict } from './model.ts';
import { holdTimedOut, notSettled } from './lane-errors.ts';
import type { CounterKey, EndingRow } from './store.ts';

/** What a call that was let in is told. */
export interface Granted {
  readonly shadowVerdicts: readonly ShadowVerdict[];
  /** The counters that it is held on. */
  readonly counters: readonly CounterKey[];
}

/** A call that waits for its hold. */
export interface QueuedHold {
  readonly request: HoldRequest;
  /** Null once the caller has its answer. */
  answer: { readonly granted: (granted: Granted) => void; readonly refused: (error: unknown) => void } | null;
}

/** An ending that waits for its commit. */
export interface QueuedEnding {
  readonly ending: EndingRow;
  /** The hold may or may not be there. */
  readonly inDoubt: boolean;
  /** How often the database refused it alone. */
  refusals: number;
  readonly written: () => void;
  readonly failed: (error: unknown) => void;
}

/** A place in the queue whose owner waits `waitMs` at most: the hold may be granted after that, and nobody is there. */
export function queuedHold(
  request: HoldRequest,
  waitMs: number,
  granted: (granted: Granted) => void,
  refused: (error: unknown) => void,
): QueuedHold {
  const queued: QueuedHold = {
    request,
    answer: {
      granted: (value) => {
        close();
        granted(value);
      },
      refused: (error) => {
        close();
        refused(error);
      },
    },
  };
  const timer = setTimeout(() => queued.answer?.refused(holdTimedOut()), waitMs);
  return queued;

  function close(): void {
    clearTimeout(timer);
    queued.answer = null;
  }
}

/** An ending whose owner waits as long as the end of an answer may be kept back; it goes on without its owner. */
export function queuedEnding(ending: EndingRow, written: () => void, failed: (error: unknown) => void): QueuedEnding {
  const timer = setTimeout(() => failed(notSettled()), settleWaitMs);
  return {
    ending,
    inDoubt: false,
    refusals: 0,
    written: () => {
      clearTimeout(timer);
      written();
    },
    failed: (error) => {
      clearTimeout(timer);
      failed(error);
    },
  };
}
