import type { JsonValue } from '../audit/canonical-json.ts';
import { invalid } from '../identity/input.ts';
import type { Queryable } from '../pg/tx.ts';
import type { Approval } from './model.ts';

/**
 * For what others run: the arguments must be an object as before. Whoever runs it evaluates policy, kill switch and budgets for
 * the edited arguments before, as for any others: an approval is no permission by itself.
 */
export async function editObject(_db: Queryable, _approval: Approval, edited: JsonValue): Promise<JsonValue> {
  if (isObject(edited)) return edited;
  throw invalid('edited_arguments', 'edited_arguments must be a JSON object, as those that were asked for.');
}

/** Whether it is an object of JSON. */
export function isObject(value: JsonValue): value is { readonly [name: string]: JsonValue } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
