import { type DescEnum, enumFromJson, type EnumJsonType, type EnumShape } from '@bufbuild/protobuf';
import { invalid } from '../identity/input.ts';

/**
 * Our name as the schema's value: `dry_run` is `BUDGET_MODE_DRY_RUN`.
 * @throws Error when the schema has no such value
 */
export function toEnum<Desc extends DescEnum>(desc: Desc, name: string): EnumShape<Desc> {
  const value = desc.values.find((candidate) => candidate.localName === name.toUpperCase());
  if (!value) throw new Error(`${desc.typeName} has no value for "${name}".`);
  return enumFromJson(desc, value.name as EnumJsonType<Desc>);
}

/**
 * The schema's value that a caller sent in `param` as our name.
 * @throws PortcullisError invalid_argument when it is unspecified, unknown or not among `names`
 */
export function fromEnum<T extends string>(desc: DescEnum, names: readonly T[], number: number, param: string): T {
  const local = desc.value[number]?.localName.toLowerCase();
  const name = names.find((candidate) => candidate === local);
  if (name === undefined) throw invalid(param, `${param} must be one of ${names.join(', ')}.`);
  return name;
}
