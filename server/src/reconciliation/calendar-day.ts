const dayMs = 86_400_000;

/** The day (UTC) of a time in epoch milliseconds, as `2026-11-22`. */
export function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** When a day begins, in epoch milliseconds. @returns null when the text is no day of this century */
export function dayStart(day: string): number | null {
  const ms = /^20\d\d-\d\d-\d\d$/.test(day) ? Date.parse(day) : Number.NaN;
  // Date.parse takes February 30th for a day of March.
  return Number.isNaN(ms) || dayOf(ms) !== day ? null : ms;
}

/** The day `days` after this one. */
export function dayAfter(day: string, days = 1): string {
  return dayOf(Date.parse(day) + days * dayMs);
}
