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
  for (const name of ['', 'Mars/Olympus', 'Europe', '../etc/passwd']) expect(canonicalTimeZone(name)).toBeNull();
});
