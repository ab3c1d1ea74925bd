/** The stretch of time that a counter stands for: the same key from `from` until just before `endsAt` (epoch milliseconds). */
export interface CalendarWindow {
  readonly key: string;
  readonly from: number;
  readonly endsAt: number;
}

export const calendarUnits = ['hour', 'day', 'month'] as const;
export type CalendarUnit = (typeof calendarUnits)[number];

const hourMs = 3_600_000;

// Longer than any such window, shortened or lengthened clocks included, and shorter than two of them.
const spanMs: Readonly<Record<CalendarUnit, number>> = {
  hour: 1.75 * hourMs,
  day: 36 * hourMs,
  month: 33 * 24 * hourMs,
};

/** The name under which a time zone of the IANA database is kept, whatever its case was; null for an unknown one. */
export function canonicalTimeZone(name: string): string | null {
  // ECMA-402 knows offsets too (`+05:30`).
  if (/^[+-]/.test(name)) return null;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone;
  } catch {
    return null;
  }
}

/**
 * The calendar hour, day or month of a time zone around an instant. An hour's key carries its offset from UTC, so that
 * the hour that a clock change repeats is two windows; days and months of 23, 25 or more hours are one.
 */
export function calendarWindow(unit: CalendarUnit, timeZone: string, atMs: number): CalendarWindow {
  const formatter = formatterOf(timeZone);
  const key = keyAt(formatter, unit, atMs);
  const differs = (ms: number) => keyAt(formatter, unit, ms) !== key;
  return {
    key,
    from: boundary(atMs, atMs - spanMs[unit], (ms) => !differs(ms)),
    endsAt: boundary(atMs, atMs + spanMs[unit], (ms) => !differs(ms)) + 1,
  };
}

/** Remembers the current window of each zone, since finding its ends is a search. Bounded by zones times units. */
export class Calendar {
  readonly #current = new Map<string, CalendarWindow>();

  at(unit: CalendarUnit, timeZone: string, atMs: number): CalendarWindow {
    const name = `${unit} ${timeZone}`;
    const known = this.#current.get(name);
    if (known && known.from <= atMs && atMs < known.endsAt) return known;
    const found = calendarWindow(unit, timeZone, atMs);
    this.#current.set(name, found);
    return found;
  }
}

/** The last millisecond from `inside` towards `outside` at which `holds`, by bisection. */
function boundary(inside: number, outside: number, holds: (ms: number) => boolean): number {
  let near = inside;
  let far = outside;
  while (Math.abs(far - near) > 1) {
    const middle = Math.trunc((near + far) / 2);
    if (holds(middle)) near = middle;
    else far = middle;
  }
  return near;
}

function keyAt(formatter: Intl.DateTimeFormat, unit: CalendarUnit, ms: number): string {
  const part: Partial<Record<Intl.DateTimeFormatPartTypes, string>> = {};
  for (const { type, value } of formatter.formatToParts(ms)) part[type] = value;
  const month = `${part.year}-${part.month}`;
  if (unit === 'month') return month;
  const day = `${month}-${part.day}`;
  // `GMT` alone is how the offset zero is written.
  return unit === 'day' ? day : `${day}T${part.hour}${part.timeZoneName?.replace(/^GMT$/, 'GMT+00:00').slice(3)}`;
}

const formatters = new Map<string, Intl.DateTimeFormat>();

function formatterOf(timeZone: string): Intl.DateTimeFormat {
  let formatter = formatters.get(timeZone);
  if (!formatter) {
    formatter = new Intl.DateTimeFormat('en', {
      timeZone,
      calendar: 'gregory',
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      timeZoneName: 'longOffset',
    });
    formatters.set(timeZone, formatter);
  }
  return formatter;
}
