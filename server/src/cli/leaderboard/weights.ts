import { InvalidArgumentError } from 'commander';
import { type ScorePart, scoreParts, type Weights } from '../../telemetry/leaderboard/model.ts';

/** Reads `success=3,cost=1`: what is not named does not count. */
export function parseWeights(text: string): Partial<Weights> {
  const weights: Partial<Record<ScorePart, number>> = {};
  for (const pair of text.split(',')) {
    const [, name = '', number = ''] = /^\s*([a-z]+)=(\d{1,4}(?:\.\d{1,6})?)\s*$/.exec(pair) ?? [];
    const part = scoreParts.find((known) => known === name);
    if (part === undefined || weights[part] !== undefined) {
      throw new InvalidArgumentError(`Write each of ${scoreParts.join(', ')} once at most, as in success=3,cost=1.`);
    }
    weights[part] = Number(number);
  }
  return weights;
}
