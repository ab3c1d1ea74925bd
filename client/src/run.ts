import { PortcullisError } from './errors.ts';
import type { RunEventOptions } from './event.ts';
import { EventQueue } from './event-queue.ts';
import type { UsageTotals } from './gen/portcullis/v1/analytics_pb.ts';
import { type Run, RunState } from './gen/portcullis/v1/run_pb.ts';
import type { Portcullis } from './portcullis.ts';
import { clipped, clippedLine, textOf } from './text.ts';
import { after } from './timer.ts';

/** What run to start, and how it is told of. */
export interface RunOptions {
  /** The kind of task: 1 to 100 characters. Budgets, lists and the leaderboard go by it. */
  readonly workflow: string;
  /** The task that it is for: of the journal, or a name of the caller's own. Versions of prompts are compared over tasks. */
  readonly taskId?: string;
  /** The registered version of the workflow's prompt: its SHA-256 in hex, or its label. */
  readonly promptVersion?: string;
  /** How many further upstream attempts each of its model calls may make: 0 to 9. */
  readonly maxRetries?: number;
  /** The agent whose run it is; an agent leaves it out. */
  readonly agentId?: string;
  /** The project of the agent; only admin may name another than the key's own. */
  readonly projectId?: string;
  /**
   * What its start is known by, for 24 hours: a start that got no answer is found again by starting it under the same key. One
   * for each run. A random one unless given.
   */
  readonly idempotencyKey?: string;
  /** Aborted when the work is to stop, by SIGTERM, say. The run is then finished as cancelled. */
  readonly signal?: AbortSignal;
  /** How long its start, and the work, may go on after the signal, in milliseconds: 5 000 unless given. */
  readonly stopMs?: number;
  /** How long an event waits for others at most, in milliseconds: 1 000 unless given. */
  readonly flushMs?: number;
  /** Told once, at the end, when events were lost; {@link withRun} does then not reject for it. */
  readonly onEventsLost?: (error: PortcullisError) => void;
}

/** A run that is under way. */
export interface ActiveRun {
  /** Its id. */
  readonly id: string;
  /** The run as it was started. */
  readonly run: Run;
  /** Go with each model call that belongs to the run, in whatever SDK. */
  readonly headers: { readonly 'x-portcullis-run': string };
  /** Aborted when the work is to stop. */
  readonly signal: AbortSignal;
  /** What came of it, in a sentence: for lists of runs. A line of at most 500 characters is kept. */
  summary: string;
  /**
   * Tells of something that happened. It waits for nothing: events are sent in batches, in their order, and what is left at
   * the end of the run. At most 10 000 wait. Each is recorded once.
   * @param event - what happened
   * @throws {@link PortcullisError} `conflict` when the run is over
   */
  readonly event: (event: RunEventOptions) => void;
  /**
   * Waits until the gate has all events so far.
   * @throws {@link PortcullisError} when it did not take them now; they wait on
   */
  readonly flush: () => Promise<void>;
}

/** A run that succeeded. */
export interface RunResult<T> {
  /** What the work gave. */
  readonly value: T;
  /** The run as it was finished. */
  readonly run: Run;
  /** What its model calls used and cost. Calls still in flight are added when they settle: ask `runs.getRun` later. */
  readonly totals: UsageTotals | undefined;
}

/** For a batch of events: one that fails is told again later, and a process which is told to stop does. */
const eventsMs = 10_000;
/** For the last events and for the end: nobody tells them later, and many runs that end at once wait for the rate limit. */
const endMs = 120_000;
/** Of the gate. */
const errorLengthMax = 4_000;
const summaryLengthMax = 500;

/**
 * Does a piece of work as a run: starts it, does the work, tells its events, and finishes it: as succeeded when the work is
 * done, as failed with the text of what it threw, as cancelled when it was told to stop.
 * @param portcullis - the gate, with a key that may `runs:write` and, for events, `telemetry:write`
 * @param options - the run
 * @param work - is given the run; what it starts should end with `run.signal`
 * @returns what the work gave, with what it cost
 * @throws what the work threw, or the {@link PortcullisError} of what could not be told (its start, its events, its end);
 *   an AggregateError with all of them, the work's first, where it is more than one
 */
export async function withRun<T>(
  portcullis: Pick<Portcullis, 'runs'>,
  options: RunOptions,
  work: (run: ActiveRun) => Promise<T> | T,
): Promise<RunResult<T>> {
  const { signal = new AbortController().signal, stopMs = 5_000, flushMs = 1_000, onEventsLost } = options;
  const { runs } = portcullis;
  // Not at once: a start that is given up half-way may leave a run that nobody finishes.
  const start = (overdue: AbortSignal) => runs.startRun(startOf(options), startCall(options, overdue));
  const { run } = await untilStopped(start, signal, stopMs);
  if (!run) throw new PortcullisError('internal', 'The gate started a run and did not say which.');
  const of = { runId: run.id, ...(options.projectId !== undefined && { projectId: options.projectId }) };

  const events = new EventQueue(
    (batch, isLastTime) => runs.recordRunEvents({ ...of, events: batch }, { timeoutMs: isLastTime ? endMs : eventsMs }),
    flushMs,
  );
  const active: ActiveRun = {
    id: run.id,
    run,
    headers: { 'x-portcullis-run': run.id },
    signal,
    summary: '',
    event: (event) => events.add(event),
    flush: () => events.flush(),
  };

  const failures: unknown[] = [];
  const attempt = async <R>(what: () => Promise<R> | R): Promise<R | undefined> => {
    try {
      return await what();
    } catch (error) {
      failures.push(error);
      return undefined;
    }
  };
  const value = await attempt(() => untilStopped(() => work(active), signal, stopMs));
  const ofWork = [...failures];
  const lost = await attempt(() => events.close());
  if (lost && onEventsLost) await attempt(() => onEventsLost(lost));
  else if (lost) failures.push(lost);
  const finished = await attempt(() => runs.finishRun({ ...of, ...endOf(active, ofWork) }, { timeoutMs: endMs }));
  if (failures.length > 1) throw new AggregateError(failures, textOf(failures[0]));
  if (failures.length === 1) throw failures[0];
  return { value: value as T, run: finished?.run ?? run, totals: finished?.totals };
}

function startOf({ workflow, taskId, promptVersion, maxRetries, agentId, projectId }: RunOptions) {
  return {
    workflow,
    ...(taskId !== undefined && { taskId }),
    ...(promptVersion !== undefined && { promptVersion }),
    ...(maxRetries !== undefined && { maxRetries }),
    ...(agentId !== undefined && { agentId }),
    ...(projectId !== undefined && { projectId }),
  };
}

function startCall({ idempotencyKey }: RunOptions, signal: AbortSignal) {
  return { signal, ...(idempotencyKey !== undefined && { idempotencyKey }) };
}

function endOf(active: ActiveRun, failures: readonly unknown[]) {
  const { signal } = active;
  // Programs without types may have set anything.
  const summary = textOf(active.summary ?? '');
  if (failures.length === 0) {
    return { outcome: RunState.SUCCEEDED, summary: clippedLine(summary, summaryLengthMax) };
  }
  const text = textOf(failures[0]);
  return {
    outcome: signal.aborted ? RunState.CANCELLED : RunState.FAILED,
    summary: clippedLine(summary || text, summaryLengthMax),
    error: clipped(text, errorLengthMax),
  };
}

/**
 * What the work gives, or a rejection `stopMs` after the signal, which the signal that it is given tells of. After the signal it
 * does not begin.
 */
async function untilStopped<T>(
  work: (overdue: AbortSignal) => Promise<T> | T,
  signal: AbortSignal,
  stopMs: number,
): Promise<T> {
  if (signal.aborted) throw stopped(signal);
  const overdue = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let onAbort = () => {};
  const late = new Promise<never>((_, reject) => {
    onAbort = () => {
      timer = after(stopMs, () => {
        reject(stopped(signal));
        overdue.abort(signal.reason);
      });
    };
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([work(overdue.signal), late]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

function stopped({ reason }: AbortSignal): PortcullisError {
  return new PortcullisError('cancelled', `The run was told to stop: ${textOf(reason)}`, { cause: reason });
}
