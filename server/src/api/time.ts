import { type Duration, type Timestamp, timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { invalid } from '../identity/input.ts';

/** A time in epoch milliseconds as the schema has it; null is absent. */
export function toTimestamp(ms: number | null): Timestamp | undefined {
  return ms === null ? undefined : timestampFromMs(ms);
}

/** Epoch milliseconds; absent is null. @throws PortcullisError invalid_argument for a time outside of years 1 to 9999 */
export function fromTimestamp(param: string, time: Timestamp | undefined): number | null {
  if (time === undefined) return null;
  const ms = timestampMs(time);
  if (ms >= -62_135_596_800_000 && ms < 253_402_300_800_000) return ms;
  throw invalid(param, `${param} must be a time from year 1 to 9999.`);
}

/** @throws PortcullisError invalid_argument for a part of a second, or more seconds than can be counted */
export function wholeSeconds(param: string, { seconds, nanos }: Duration): number {
  if (nanos === 0 && seconds >= 0n && seconds <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(seconds);
  throw invalid(param, `${param} must be a number of whole seconds, such as 3600s.`);
}
