import { InvalidArgumentError } from 'commander';
import { dayOf, dayStart } from '../../reconciliation/calendar-day.ts';
import { parseDuration } from '../durations.ts';

/**
 * Reads a day (UTC): "2026-11-22", or "7d" for the day so long ago.
 * @throws InvalidArgumentError, which commander reports with the option's name
 */
export function parseDay(text: string): string {
  if (dayStart(text) !== null) return text;
  if (/^[1-9]\d{0,3}[dw]$/.test(text)) return dayOf(Date.now() - parseDuration(text));
  throw new InvalidArgumentError('Write a day like 2026-11-22, or how far back, like 7d.');
}

/** The days of a time, both included. */
export interface DaySpan {
  readonly since?: string;
  readonly until?: string;
}

/** The span with its default: the last `daysBack` days that are over. */
export function closedDays({ since, until }: DaySpan, daysBack: number): { firstDay: string; lastDay: string } {
  const yesterday = dayOf(Date.now() - 86_400_000);
  const lastDay = until !== undefined && until < yesterday ? until : yesterday;
  return { firstDay: since ?? dayOf(Date.parse(lastDay) - (daysBack - 1) * 86_400_000), lastDay };
}
