import type { ChaosBudget } from './cast.ts';
import type { ClockChange } from './database.ts';

const widthMs = { HOUR: 3_600_000, DAY: 86_400_000 } as const;

/** A gateway learns the database's time by its heartbeat; one that did not learn it for this long may hold nothing. */
const learnedWithinMs = 20_000;

/** The calendar windows, by their number since 1970, in which money may be that was held in [from, to] (epoch milliseconds, by our own clock). */
export function windowsOf(
  { window, zoneMs }: Pick<ChaosBudget, 'window' | 'zoneMs'>,
  clock: readonly ClockChange[],
  from: number,
  to: number,
): Set<number> {
  const width = window === 'DAY' ? widthMs.DAY : widthMs.HOUR;
  const offsets = clock.filter(
    (change, i) => change.at <= to && (clock[i + 1]?.at ?? Infinity) >= from - learnedWithinMs,
  );
  const numbers = new Set<number>();
  for (const { offsetMs } of offsets) {
    for (const at of [from, to]) numbers.add(Math.floor((at + offsetMs + zoneMs) / width));
  }
  return numbers;
}

/** The number of the window that ends then, by the database's clock. */
export function windowBefore({ window, zoneMs }: Pick<ChaosBudget, 'window' | 'zoneMs'>, endsAt: number): number {
  return Math.floor((endsAt - 1 + zoneMs) / (window === 'DAY' ? widthMs.DAY : widthMs.HOUR));
}

/** The number of the window of that name, such as `2026-11-23` or `2026-11-23T05+05:30`. */
export function windowNamed(budget: Pick<ChaosBudget, 'window' | 'zoneMs'>, key: string): number {
  const [date = '', hour] = key.split('T');
  const beginsAt =
    hour === undefined
      ? Date.parse(date) - budget.zoneMs
      : Date.parse(`${date}T${hour.slice(0, 2)}:00:00${hour.slice(2)}`);
  return windowBefore(budget, beginsAt + 1);
}
