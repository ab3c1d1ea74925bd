import { Time } from './values.ts';

const nsPerMs = 1_000_000n;
// The years 1 to 9999, as google.protobuf.Timestamp has them; durations as many nanoseconds as 64 bits hold.
const timestampNsMin = -62_135_596_800_000_000_000n;
const timestampNsMax = 253_402_300_799_999_999_999n;
const durationNsMax = 2n ** 63n - 1n;

/** A timestamp or duration of so many nanoseconds; undefined beyond what CEL has. */
export function timeOf(kind: Time['kind'], ns: bigint): Time | undefined {
  const [min, max] = kind === 'timestamp' ? [timestampNsMin, timestampNsMax] : [-durationNsMax - 1n, durationNsMax];
  return ns < min || ns > max ? undefined : new Time(kind, ns);
}

const dateTime = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})$/;

/** Reads a time of RFC 3339; undefined for anything else, or a day that is none. */
export function readTimestamp(text: string): Time | undefined {
  const [, seconds, fraction = '', offset] = dateTime.exec(text) ?? [];
  if (seconds === undefined || offset === undefined) return undefined;
  const ms = Date.parse(`${seconds}${offset}`);
  // Date takes a February 31 for March 3: the local time must come back as it went in.
  if (Number.isNaN(ms) || !new Date(Date.parse(`${seconds}Z`)).toISOString().startsWith(seconds)) return undefined;
  return timeOf('timestamp', BigInt(ms) * nsPerMs + BigInt(fraction.padEnd(9, '0')));
}

const units: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  ms: nsPerMs,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};
const durationText = /^[+-]?(?:\d{1,19}(?:\.\d{1,9})?(?:ns|us|ms|s|m|h)){1,6}$/;

/** Reads a duration such as `90m`, `1h30m` or `-1.5s`; undefined for anything else. */
export function readDuration(text: string): Time | undefined {
  if (text === '0') return new Time('duration', 0n);
  if (!durationText.test(text)) return undefined;
  let ns = 0n;
  for (const [, whole = '0', fraction = '', unit = 'ns'] of text.matchAll(/(\d+)(?:\.(\d+))?([a-z]+)/g))
    ns += (BigInt(whole + fraction) * (units[unit] ?? 1n)) / 10n ** BigInt(fraction.length);
  return timeOf('duration', text.startsWith('-') ? -ns : ns);
}

/** Gives the moment at which UTC's clock shows what the clock of a zone shows at this one. */
export type Zone = (ms: number) => Date;

export const utc: Zone = (ms) => new Date(ms);

const fixedOffset = /^([+-]?)(\d{2}):(\d{2})$/;

/** A zone of the IANA database, or a fixed offset such as `+02:00`; undefined where there is no such zone. */
export function readZone(name: string): Zone | undefined {
  const [, sign, hours, minutes] = fixedOffset.exec(name) ?? [];
  if (hours !== undefined && minutes !== undefined) {
    const offsetMs = (Number(hours) * 60 + Number(minutes)) * 60_000 * (sign === '-' ? -1 : 1);
    return (ms) => new Date(ms + offsetMs);
  }
  try {
    return namedZone(name);
  } catch {
    return undefined;
  }
}

function namedZone(name: string): Zone {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: name,
    calendar: 'gregory',
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  return (ms) => {
    const parts = new Map(format.formatToParts(ms).map(({ type, value }) => [type, Number(value)]));
    const of = (type: Intl.DateTimeFormatPartTypes) => parts.get(type) ?? 0;
    // Not by Date.UTC, which takes the years 0 to 99 for those of the twentieth century.
    const local = new Date(0);
    local.setUTCFullYear(of('year'), of('month') - 1, of('day'));
    local.setUTCHours(of('hour'), of('minute'), of('second'), ((ms % 1000) + 1000) % 1000);
    return local;
  };
}

const dayMs = 86_400_000;

/** The calendar functions of timestamps, with CEL's ways to count: months and days of the year from 0, Sunday is 0. */
export const calendar: Readonly<Record<string, (local: Date) => number>> = {
  getFullYear: (local) => local.getUTCFullYear(),
  getMonth: (local) => local.getUTCMonth(),
  getDate: (local) => local.getUTCDate(),
  getDayOfMonth: (local) => local.getUTCDate() - 1,
  getDayOfWeek: (local) => local.getUTCDay(),
  getDayOfYear: (local) => Math.floor((local.getTime() - new Date(local).setUTCMonth(0, 1)) / dayMs),
  getHours: (local) => local.getUTCHours(),
  getMinutes: (local) => local.getUTCMinutes(),
  getSeconds: (local) => local.getUTCSeconds(),
  getMilliseconds: (local) => local.getUTCMilliseconds(),
};

/** Epoch milliseconds, rounded down. */
export function millisecondsOf({ ns }: Time): number {
  return Number((ns - (((ns % nsPerMs) + nsPerMs) % nsPerMs)) / nsPerMs);
}
