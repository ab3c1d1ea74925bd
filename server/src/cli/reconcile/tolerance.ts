import { type Command, InvalidArgumentError } from 'commander';
import { driftToleranceBasisPoints, driftToleranceBasisPointsMax, driftToleranceNanousd } from '../../base/limits.ts';
import { formatUsd, parseUsd } from '../../base/money.ts';

/** What differences a command tolerates. */
export interface ToleranceOptions {
  readonly tolerancePercent?: number;
  readonly toleranceUsd?: bigint;
}

/** Adds the bounds beyond which a difference counts. */
export function withTolerance(command: Command): Command {
  return command
    .option(
      '--tolerance-percent <number>',
      `a difference beyond this share of the bill counts (default: ${driftToleranceBasisPoints / 100})`,
      parseBasisPoints,
    )
    .option(
      '--tolerance-usd <amount>',
      `and so does one beyond this amount (default: ${formatUsd(driftToleranceNanousd)})`,
      parseAmount,
    );
}

/** The tolerance of a request; what is not given is for the gate to decide. */
export function toleranceOf({ tolerancePercent, toleranceUsd }: ToleranceOptions) {
  return {
    ...(tolerancePercent !== undefined && { basisPoints: tolerancePercent }),
    ...(toleranceUsd !== undefined && { nanousd: toleranceUsd }),
  };
}

function parseBasisPoints(text: string): number {
  const [, whole = '', decimals = ''] = /^(\d{1,3})(?:\.(\d{1,2}))?$/.exec(text) ?? [];
  const points = whole === '' ? Number.NaN : Number(whole) * 100 + Number(decimals.padEnd(2, '0'));
  if (!(points <= driftToleranceBasisPointsMax))
    throw new InvalidArgumentError('Write a percentage from 0 to 100, like 1 or 0.25.');
  return points;
}

function parseAmount(text: string): bigint {
  try {
    return parseUsd(text);
  } catch {
    throw new InvalidArgumentError('Write an amount in USD, like 5 or 0.25.');
  }
}
