// How figures are written for people.

/** In whole percents: the public leaderboard is rounded to them. @param part 0 to 1 */
export function percentText(part: number): string {
  return `${percents(part)} %`;
}

/** Both ends of an interval. @param low 0 to 1 @param high 0 to 1 */
export function percentsText(low: number, high: number): string {
  return `${percents(low)} to ${percentText(high)}`;
}

/** "850 ms", "12.3 s", "4 min 10 s", "2 h 5 min". */
export function durationText(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function percents(part: number): number {
  return Math.round(part * 100);
}
