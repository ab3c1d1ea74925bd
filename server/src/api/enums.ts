import type { DescEnum } from '@bufbuild/protobuf';
import { PortcullisError } from '../base/errors.ts';

/**
 * The number of our name for an enum's value: `dry_run` is `BUDGET_MODE_DRY_RUN`.
 * @throws Error when the schema has no such value
 */
export function enumNumber(desc: DescEnum, name: string): number {
  const value = desc.values.find((candidate) => candidate.localName === name.toUpperCase());
  if (!value) throw new Error(`${desc.typeName} has no value for "${name}".`);
  return value.number;
}

/**
 * Our name for the number that a caller sent in `field`.
 * @throws PortcullisError invalid_argument when it is unspecified, unknown or not among `names`
 */
export function enumName<T extends string>(desc: DescEnum, names: readonly T[], number: number, field: string): T {
  const local = desc.value[number]?.localName.toLowerCase();
  const name = names.find((candidate) => candidate === local);
  if (name === undefined) {
    throw new PortcullisError('invalid_argument', `${field} must be one of ${names.join(', ')}.`, { param: field });
  }
  return name;
}
