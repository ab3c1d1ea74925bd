import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Calendar, calendarUnits, calendarWindow, canonicalTimeZone } from './calendar.ts';

const iso = (ms: number) => new Date(ms).toISOString().replace('.000Z', 'Z');

describe('calendarWindow', () => {
  it.each([
    ['hour', 'UTC', '2026-11-22T14:30:00Z', '2026-11-22T14+00:00', '2026-11-22T14:00:00Z', '2026-11-22T15:00:00Z'],
    [
      'hour',
      'Asia/Kolkata',
      '2026-04-04T14:40:00Z',
      '2026-04-04T20+05:30',
      '2026-04-04T14:30:00Z',
      '2026-04-04T15:30:00Z',
    ],
    ['day', 'America/New_York', '2026-11-22T04:59:59Z', '2026-11-21', '2026-11-21T05:00:00Z', '2026-11-22T05:00:00Z'],
    ['month', 'UTC', '2026-02-15T00:00:00Z', '2026-02', '2026-02-01T00:00:00Z', '2026-03-01T00:00:00Z'],
    ['month', 'Asia/Tokyo', '2026-12-31T14:59:59Z', '2026-12', '2026-11-30T15:00:00Z', '2026-12-31T15:00:00Z'],
    // The clock goes back: the hour from two to three is there twice, and is two windows; the day has 25 hours.
    [
      'hour',
      'Europe/Berlin',
      '2026-10-25T00:30:00Z',
      '2026-10-25T02+02:00',
      '2026-10-25T00:00:00Z',
      '2026-10-25T01:00:00Z',
    ],
    [
      'hour',
      'Europe/Berlin',
      '2026-10-25T01:30:00Z',
      '2026-10-25T02+01:00',
      '2026-10-25T01:00:00Z',
      '2026-10-25T02:00:00Z',
    ],
    ['day', 'Europe/Berlin', '2026-10-25T12:00:00Z', '2026-10-25', '2026-10-24T22:00:00Z', '2026-10-25T23:00:00Z'],
    // The clock goes forward: a day of 23 hours.
    ['day', 'Europe/Berlin', '2026-03-29T12:00:00Z', '2026-03-29', '2026-03-28T23:00:00Z', '2026-03-29T22:00:00Z'],
    // A zone that changes by half an hour.
    [
      'hour',
      'Australia/Lord_Howe',
      '2026-04-04T15:10:00Z',
      '2026-04-05T01+10:30',
      '2026-04-04T15:00:00Z',
      '2026-04-04T15:30:00Z',
    ],
    // A zone without midnight on the day of the change.
    ['day', 'Africa/Cairo', '2026-04-24T12:00:00Z', '2026-04-24', '2026-04-23T22:00:00Z', '2026-04-24T21:00:00Z'],
    // An island that left out a day.
    ['day', 'Pacific/Apia', '2011-12-29T12:00:00Z', '2011-12-29', '2011-12-29T10:00:00Z', '2011-12-30T10:00:00Z'],
  ] as const)('the %s in %s at %s is %s', (unit, zone, at, key, from, endsAt) => {
    const window = calendarWindow(unit, zone, Date.parse(at));
    expect({ key: window.key, from: iso(window.from), endsAt: iso(window.endsAt) }).toEqual({ key, from, endsAt });
  });

  it('covers time without gap or overlap, in every zone', () => {
    const zones = fc.constantFrom(
      'UTC',
      'Europe/London',
      'America/Los_Angeles',
      'Australia/Lord_Howe',
      'Asia/Kathmandu',
      'America/Havana',
    );
    const instants = fc.integer({ min: Date.parse('2020-01-01'), max: Date.parse('2035-01-01') });
    fc.assert(
      fc.property(fc.constantFrom(...calendarUnits), zones, instants, (unit, zone, at) => {
        const window = calendarWindow(unit, zone, at);
        expect(window.from).toBeLessThanOrEqual(at);
        expect(window.endsAt).toBeGreaterThan(at);
        expect(calendarWindow(unit, zone, window.endsAt - 1)).toEqual(window);
        expect(calendarWindow(unit, zone, window.endsAt)).toMatchObject({ from: window.endsAt });
        expect(calendarWindow(unit, zone, window.endsAt).key).not.toBe(window.key);
      }),
      { numRuns: 60 },
    );
  });

  // Both hemispheres, offsets of 30 and 45 minutes, changes by half an hour and by two, at midnight, and at none.
  const zones = fc.constantFrom(
    'UTC',
    'Europe/Berlin',
    'Europe/Lisbon',
    'America/New_York',
    'America/St_Johns',
    'America/Havana',
    'America/Santiago',
    'Africa/Cairo',
    'Africa/Casablanca',
    'Asia/Kolkata',
    'Asia/Kathmandu',
    'Asia/Beirut',
    'Australia/Lord_Howe',
    'Australia/Eucla',
    'Pacific/Chatham',
    'Pacific/Kiritimati',
    'Antarctica/Troll',
  );
  const years = fc.integer({ min: 2024, max: 2034 });
  const months = fc.integer({ min: 1, max: 12 });
  const two = (number: number) => String(number).padStart(2, '0');
  const noonUtc = (year: number, month: number, day: number) => Date.UTC(year, month - 1, day, 12);
  const hourMs = 3_600_000;

  /** All windows of a unit from the one around `from` to the one before `to`. */
  function windowsBetween(unit: 'hour' | 'day', zone: string, from: number, to: number) {
    const found = [];
    for (let at = from; at < to; at = found.at(-1)!.endsAt) found.push(calendarWindow(unit, zone, at));
    return found;
  }

  it('makes a month of exactly its days, leap days included, in every zone', () => {
    fc.assert(
      fc.property(zones, years, months, (zone, year, month) => {
        const window = calendarWindow('month', zone, noonUtc(year, month, 15));
        const days = windowsBetween('day', zone, window.from, window.endsAt);
        const count = new Date(Date.UTC(year, month, 0)).getUTCDate();
        const name = `${year}-${two(month)}`;
        expect(window.key).toBe(name);
        expect(days.map(({ key }) => key)).toEqual(
          Array.from({ length: count }, (_, day) => `${name}-${two(day + 1)}`),
        );
        expect([days[0]?.from, days.at(-1)?.endsAt]).toEqual([window.from, window.endsAt]);
      }),
      { numRuns: 25 },
    );
  });

  it('makes a day of its hours, each of them its own though the clock shows it twice', () => {
    fc.assert(
      fc.property(zones, years, months, fc.integer({ min: 1, max: 28 }), (zone, year, month, day) => {
        const window = calendarWindow('day', zone, noonUtc(year, month, day));
        const hours = windowsBetween('hour', zone, window.from, window.endsAt);
        expect([hours[0]?.from, hours.at(-1)?.endsAt]).toEqual([window.from, window.endsAt]);
        expect(new Set(hours.map(({ key }) => key)).size).toBe(hours.length);
        for (const hour of hours) {
          expect(hour.key.startsWith(`${window.key}T`)).toBe(true);
          expect(hour.endsAt - hour.from).toBeLessThanOrEqual(hourMs);
        }
        expect(window.endsAt - window.from).toBeGreaterThanOrEqual(21 * hourMs);
        expect(window.endsAt - window.from).toBeLessThanOrEqual(27 * hourMs);
      }),
      { numRuns: 60 },
    );
  });

  it('counts 24 hours in a day, but where the clock changes one more or less, once each way in a year', () => {
    const lengths = (zone: string, year: number) =>
      windowsBetween('day', zone, calendarWindow('day', zone, noonUtc(year, 1, 1)).from, noonUtc(year, 12, 31))
        .map(({ from, endsAt }) => (endsAt - from) / hourMs)
        .filter((hours) => hours !== 24)
        .sort((one, other) => one - other);
    expect(lengths('Europe/Berlin', 2028)).toEqual([23, 25]);
    expect(lengths('America/New_York', 2027)).toEqual([23, 25]);
    expect(lengths('Australia/Sydney', 2026)).toEqual([23, 25]);
    expect(lengths('Australia/Lord_Howe', 2026)).toEqual([23.5, 24.5]);
    expect(lengths('Asia/Kathmandu', 2028)).toEqual([]);
  });

  it('gives every instant between its ends the same key, and those just outside another', () => {
    const instants = fc.integer({ min: Date.UTC(2024, 0, 1), max: Date.UTC(2034, 0, 1) });
    fc.assert(
      fc.property(
        fc.constantFrom(...calendarUnits),
        zones,
        instants,
        fc.array(fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), { minLength: 1, maxLength: 4 }),
        (unit, zone, at, parts) => {
          const window = calendarWindow(unit, zone, at);
          const { key, from, endsAt } = window;
          for (const part of parts) {
            expect(calendarWindow(unit, zone, from + Math.floor((endsAt - from) * part))).toEqual(window);
          }
          expect([from - 1, endsAt].map((outside) => calendarWindow(unit, zone, outside).key)).not.toContain(key);
        },
      ),
      { numRuns: 80 },
    );
  });

  it('is the same from a calendar that remembers, forwards and backwards', () => {
    const calendar = new Calendar();
    const start = Date.parse('2026-10-24T12:00:00Z');
    const minutes = fc.array(fc.integer({ min: -3_000, max: 3_000 }), { maxLength: 20 });
    fc.assert(
      fc.property(fc.constantFrom(...calendarUnits), minutes, (unit, steps) => {
        for (const minute of steps) {
          const at = start + minute * 60_000;
          expect(calendar.at(unit, 'Europe/Berlin', at)).toEqual(calendarWindow(unit, 'Europe/Berlin', at));
        }
      }),
      { numRuns: 30 },
    );
  });
});

it('keeps one spelling of a time zone, and knows which are none', () => {
  expect(canonicalTimeZone('europe/berlin')).toBe('Europe/Berlin');
  expect(canonicalTimeZone('UTC')).toBe('UTC');
  for (const name of ['', 'Mars/Olympus', 'Europe', '../etc/passwd', '+05:30', '-0800', '+01'])
    expect(canonicalTimeZone(name)).toBeNull();
});
