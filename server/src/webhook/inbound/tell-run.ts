import type { Tx } from '../../pg/tx.ts';
import { type Handler, Refused, type Work } from './handlers.ts';
import { isFlat, textAt } from './pointer.ts';

/** An event as a run is told of it. */
export interface RunTold {
  readonly runId: string;
  readonly projectId: string;
  readonly type: string;
  readonly level: 'info' | 'error';
  readonly message: string;
  /** A JSON object, as text. */
  readonly data: string;
  /** Of the same id it is one event of the run, however often it is told. */
  readonly id: string;
  /** Epoch milliseconds. */
  readonly occurredAt: number;
}

/** Tells a run, in a transaction. @returns why it cannot be told, whatever is tried; null where it was told */
export type TellRun = (tx: Tx, told: RunTold) => Promise<string | null>;

/** What a run is told of an event in all, as JSON, and how deep its body may be nested: a run takes no more (run/event-input.ts). */
const toldBytesMax = 15 * 1024;
const toldDepthMax = 28;

/** Keeps an event for whoever reads it by the API. */
export const keep: Handler = {
  apply: async () => ({ state: 'kept', runId: null, note: '' }),
};

/** Tells the run that an event names of it: whoever watches the run sees it. */
export function tellRun(tell: TellRun): Handler {
  return {
    async apply(tx, work) {
      const { source, content } = work;
      const runId = textAt(content, source.options.run ?? '/');
      if (runId === null) return { state: 'kept', runId: null, note: 'It names no run.' };
      await tellOrRefuse(tell, tx, toldOf(work, runId));
      return { state: 'processed', runId, note: '' };
    },
  };
}

/** @throws Refused */
export async function tellOrRefuse(tell: TellRun, tx: Tx, told: RunTold): Promise<void> {
  const refused = await tell(tx, told);
  if (refused !== null) throw new Refused(refused);
}

/** @param more what is told beside the event itself */
export function toldOf({ event, source, content }: Work, runId: string, more: object = {}): RunTold {
  const head = {
    webhook_event_id: event.id,
    source: source.name,
    type: event.type,
    provider_event_id: event.providerEventId,
    ...more,
    body_bytes: event.bodyBytes,
    // KIE.ai signs the id of a task and nothing else: whoever reads this must not take the rest for proven.
    ...(source.options.scheme === 'kieai' && { body_signed: false }),
  };
  return {
    runId,
    projectId: event.projectId,
    type: `webhook.${source.name}`,
    level: 'info',
    message: event.type === '' ? `A webhook of ${source.name}.` : `A webhook of ${source.name}: ${event.type}.`,
    data: withBody(head, content),
    id: event.id,
    occurredAt: event.receivedAt,
  };
}

/** With the body where it fits: JSON that is written anew may be longer than it came. */
function withBody(head: object, content: unknown): string {
  if (content !== undefined && isFlat(content, toldDepthMax)) {
    const whole = JSON.stringify({ ...head, body: content });
    if (Buffer.byteLength(whole) <= toldBytesMax) return whole;
  }
  return JSON.stringify(head);
}
