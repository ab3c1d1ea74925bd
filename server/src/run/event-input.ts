import { hash } from 'node:crypto';
import { idTime, namedId, newId } from '../base/ids.ts';
import { clientIdCharsMax, nameCharsMax, runClockMarginMs } from '../base/limits.ts';
import {
  eventAgeMsMax,
  eventDataBytesMax,
  eventDataDepthMax,
  eventMessageBytesMax,
  eventSkewMs,
} from '../base/telemetry-limits.ts';
import { invalid } from '../identity/input.ts';
import { jsonDepth } from './json-depth.ts';
import type { RunEvent, ToldEvent } from './model.ts';
import { storable } from './storable.ts';

/** An event that may be written. */
export type CheckedEvent = Pick<RunEvent, 'id' | 'type' | 'level' | 'message' | 'data' | 'occurredAt'>;

const typePattern = new RegExp(`^[A-Za-z0-9_.:/-]{1,${nameCharsMax}}$`);

/** Checks events of one run, told at the same time; one object for a batch, since a batch has many. */
export class EventChecks {
  readonly #runId: string;
  readonly #now: number;
  readonly #earliest: number;

  /** @param now epoch milliseconds by the database's clock */
  constructor(runId: string, now: number) {
    this.#runId = runId;
    this.#now = now;
    this.#earliest = Math.max(now - eventAgeMsMax, (idTime(runId) ?? 0) - runClockMarginMs);
  }

  /**
   * @param at where it stands in the request, for refusals
   * @throws PortcullisError invalid_argument, naming the field
   */
  check(told: ToldEvent, at: string): CheckedEvent {
    const { type, level, message, data, clientId } = told;
    if (!typePattern.test(type))
      throw invalid(`${at}.type`, `${at}.type must be 1 to ${nameCharsMax} letters, digits or any of _.:/-`);
    if (isLonger(message, eventMessageBytesMax))
      throw invalid(`${at}.message`, `${at}.message must be at most ${eventMessageBytesMax} bytes.`);
    if (data !== null) checkData(data, `${at}.data`);
    const occurredAt = this.#timeOf(told, at);
    const id = clientId === null ? newId('evt', occurredAt) : this.#idOf(clientId, occurredAt, at);
    return { id, type, level, message: storable(message), data: data === null ? null : storable(data), occurredAt };
  }

  #timeOf({ occurredAt, clientId }: ToldEvent, at: string): number {
    const param = `${at}.occur_time`;
    if (occurredAt === null) {
      if (clientId === null) return this.#now;
      throw invalid(param, `${param} is required with client_id: an event that is told again occurred when it did.`);
    }
    if (occurredAt > this.#now + eventSkewMs)
      throw invalid(param, `${param} lies more than ${eventSkewMs / 60_000} minutes in the future: check the clock.`);
    if (occurredAt >= this.#earliest) return occurredAt;
    throw invalid(
      param,
      `${param} must lie within the last ${eventAgeMsMax / 86_400_000} days, and no more than a day before the run's start.`,
    );
  }

  /** Of the same run, name and time it is the same. */
  #idOf(clientId: string, occurredAt: number, at: string): string {
    if (clientId.length === 0 || clientId.length > clientIdCharsMax)
      throw invalid(`${at}.client_id`, `${at}.client_id must have 1 to ${clientIdCharsMax} characters.`);
    return namedId('evt', occurredAt, hash('sha256', `${this.#runId}\0${clientId}`, 'buffer'));
  }
}

/** @throws PortcullisError invalid_argument */
function checkData(data: string, param: string): void {
  if (isLonger(data, eventDataBytesMax)) throw invalid(param, `${param} must be at most ${eventDataBytesMax} bytes.`);
  if (!isObject(data)) throw invalid(param, `${param} must be a JSON object as text, like {"tool":"search"}.`);
  if (jsonDepth(data) > eventDataDepthMax)
    throw invalid(param, `${param} must be nested no deeper than ${eventDataDepthMax} levels.`);
}

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

/** In UTF-8, which has up to three bytes for a unit of UTF-16. */
function isLonger(text: string, bytesMax: number): boolean {
  return text.length * 3 > bytesMax && Buffer.byteLength(text) > bytesMax;
}
