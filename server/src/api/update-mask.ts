import type { FieldMask } from '@bufbuild/protobuf/wkt';
import { invalid } from '../identity/input.ts';

/**
 * What a request says it changes.
 * @param given the fields that can be changed, by their names in the schema, as they stand in the request
 * @throws PortcullisError invalid_argument when nothing or something else is named, or something is given and not named
 */
export function changesIn<Name extends string>(
  mask: FieldMask | undefined,
  given: Readonly<Record<Name, unknown>>,
): ReadonlySet<Name> {
  const names = Object.keys(given) as Name[];
  const changes = new Set(names.filter((name) => mask?.paths.includes(name)));
  if (changes.size === 0 || !mask?.paths.every((path) => names.some((name) => name === path))) {
    throw invalid('update_mask', `update_mask must name what to change, of ${names.join(', ')}.`);
  }
  for (const name of names) {
    if (given[name] !== undefined && !changes.has(name)) {
      throw invalid('update_mask', `${name} is given but not named in update_mask.`);
    }
  }
  return changes;
}
