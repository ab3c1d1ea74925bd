import { InvalidArgumentError } from 'commander';

const unitMs: Readonly<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
};

/** A length of whole seconds as `parseDuration` reads it, in its largest unit. */
export function durationText(ms: number): string {
  const unit = (['w', 'd', 'h', 'm'] as const).find((name) => ms % (unitMs[name] ?? 1) === 0) ?? 's';
  return `${ms / (unitMs[unit] ?? 1)}${unit}`;
}

/**
 * Reads a length of time ("90d", "1h", "30m", "2w", "45s") into milliseconds.
 * @throws InvalidArgumentError, which commander reports with the option's name
 */
export function parseDuration(text: string): number {
  const [, count, unit] = /^([1-9]\d{0,5})([smhdw])$/.exec(text) ?? [];
  const ms = unitMs[unit ?? ''];
  if (ms === undefined) throw new InvalidArgumentError('Write a length of time like 30m, 1h, 90d or 2w.');
  return Number(count) * ms;
}
