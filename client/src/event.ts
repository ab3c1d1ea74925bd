import { create } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { PortcullisError } from './errors.ts';
import { type RunEventInput, RunEventInputSchema, RunEventLevel } from './gen/portcullis/v1/run_event_pb.ts';
import { randomId } from './random-id.ts';
import { clippedToBytes } from './text.ts';

/** Something that happened in a run. */
export interface RunEventOptions {
  /** What kind of event: 1 to 100 of letters, digits and `_.:/-`. */
  readonly type: string;
  /** How much it matters: `info` unless given. */
  readonly level?: 'info' | 'warn' | 'error';
  /** For people; what is longer than 8 KiB is clipped. */
  readonly message?: string;
  /** For programs: at most 16 KiB as JSON, 32 levels deep. */
  readonly data?: object;
  /** When it occurred, within the last 30 days: now unless given. */
  readonly occurredAt?: Date;
}

// The gate's bounds: what breaks them would be refused there, and not alone.
const typePattern = /^[A-Za-z0-9_.:/-]{1,100}$/;
const messageBytesMax = 8 * 1024;
const dataBytesMax = 16 * 1024;
const dataDepthMax = 32;
const ageMsMax = 30 * 86_400_000;
const skewMs = 5 * 60_000;
const levels = { info: RunEventLevel.INFO, warn: RunEventLevel.WARN, error: RunEventLevel.ERROR };

/** The event as it is told, with an id of its own. @throws PortcullisError invalid_argument for what a gate would refuse */
export function toEvent(options: RunEventOptions): RunEventInput {
  if (typeof options !== 'object' || options === null) throw invalid('An event must be an object with a type.');
  const { type, level = 'info', message = '', data, occurredAt = new Date() } = options;
  if (typeof type !== 'string' || !typePattern.test(type)) {
    throw invalid('The type of an event must be 1 to 100 letters, digits or any of _.:/-');
  }
  if (!Object.hasOwn(levels, level)) throw invalid('The level of an event must be info, warn or error.');
  if (typeof message !== 'string') throw invalid('The message of an event must be text.');
  return create(RunEventInputSchema, {
    type,
    level: levels[level],
    message: clippedToBytes(message, messageBytesMax),
    ...(data !== undefined && data !== null && { data: dataText(data) }),
    occurTime: timestampFromDate(checkedTime(occurredAt)),
    clientId: randomId(),
  });
}

function dataText(data: object): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(data);
  } catch (cause) {
    throw invalid('The data of an event cannot be written as JSON.', cause);
  }
  if (!text?.startsWith('{')) throw invalid('The data of an event must be an object.');
  if (text.length > dataBytesMax || new TextEncoder().encode(text).length > dataBytesMax) {
    throw invalid(`The data of an event must be at most ${dataBytesMax} bytes as JSON.`);
  }
  if (depthOf(text) > dataDepthMax) {
    throw invalid(`The data of an event must be nested no deeper than ${dataDepthMax} levels.`);
  }
  return text;
}

/** How deep objects and arrays are nested in a text that is JSON. */
function depthOf(json: string): number {
  let depth = 0;
  let deepest = 0;
  // Strings are matched whole, so that what is in them is not looked at.
  for (const [token] of json.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"|[[\]{}]/g)) {
    if (token === '{' || token === '[') deepest = Math.max(deepest, ++depth);
    else if (token === '}' || token === ']') depth--;
  }
  return deepest;
}

function checkedTime(time: Date): Date {
  if (!(time instanceof Date) || Number.isNaN(time.getTime())) {
    throw invalid('The occurredAt of an event must be a valid Date.');
  }
  const ageMs = Date.now() - time.getTime();
  if (ageMs > ageMsMax) throw invalid('The occurredAt of an event must lie within the last 30 days.');
  if (ageMs < -skewMs)
    throw invalid('The occurredAt of an event lies more than 5 minutes in the future: check the clock.');
  return time;
}

function invalid(sentence: string, cause?: unknown): PortcullisError {
  return new PortcullisError('invalid_argument', sentence, { final: true, cause });
}
