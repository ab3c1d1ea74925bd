import type { DescEnum } from '@bufbuild/protobuf';
import { InvalidArgumentError, Option } from 'commander';

/** An enum's value in our words: `BUDGET_MODE_DRY_RUN` is `dry_run`. */
export function enumWord(desc: DescEnum, value: number): string {
  return desc.value[value]?.localName.toLowerCase() ?? String(value);
}

/** An option whose value is a word of an enum; the action gets its number. */
export function enumOption(flags: string, description: string, desc: DescEnum): Option {
  const words = desc.values.filter(({ number }) => number !== 0).map(({ localName }) => localName.toLowerCase());
  return new Option(flags, description).choices(words).argParser((word) => {
    const value = desc.values.find(({ localName }) => localName.toLowerCase() === word);
    if (value === undefined || !words.includes(word)) throw new InvalidArgumentError(`Choose ${words.join(', ')}.`);
    return value.number;
  });
}
