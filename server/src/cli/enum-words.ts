import { type DescEnum, enumFromJson, type EnumJsonType, type EnumShape } from '@bufbuild/protobuf';
import { InvalidArgumentError, Option } from 'commander';

/** An enum's value in our words: `BUDGET_MODE_DRY_RUN` is `dry_run`. */
export function enumWord(desc: DescEnum, value: number): string {
  return desc.value[value]?.localName.toLowerCase() ?? String(value);
}

/** The words of an enum, but for the one that says nothing. */
export function enumWords(desc: DescEnum): string[] {
  return desc.values.filter(({ number }) => number !== 0).map(({ localName }) => localName.toLowerCase());
}

/** The value of a word of {@link enumWords}. */
export function enumValue<Desc extends DescEnum>(desc: Desc, word: string): EnumShape<Desc> {
  const value = desc.values.find(({ localName }) => localName.toLowerCase() === word);
  if (value === undefined) throw new Error(`${desc.typeName} has no value for "${word}".`);
  return enumFromJson(desc, value.name as EnumJsonType<Desc>);
}

/** An option whose value is a word of an enum; the action gets its number. */
export function enumOption(flags: string, description: string, desc: DescEnum): Option {
  const words = enumWords(desc);
  return new Option(flags, description).choices(words).argParser((word) => {
    const value = desc.values.find(({ localName }) => localName.toLowerCase() === word);
    if (value === undefined || !words.includes(word)) throw new InvalidArgumentError(`Choose ${words.join(', ')}.`);
    return value.number;
  });
}
