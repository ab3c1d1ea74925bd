import { PortcullisError } from '../base/errors.ts';
import { nameSet } from './body-fields.ts';
import { isJsonObject } from './object-reader.ts';

/** What names a thing that the provider stores for its account, and with it for every tenant of the gate. */
const storedNames = nameSet(`
  file_id file_ids vector_store_ids container_id skill_id tunnel_id comparison_response_id previous_response_id
`);

/** What callers and models make up themselves: a name in it names nothing. */
const ownNames = nameSet('parameters input_schema output_schema schema arguments metadata annotations');

/** The refusal of a field that needs what the provider stores (decision 0011). */
export function storedState(field: string, advice: string): PortcullisError {
  return new PortcullisError(
    'invalid_argument',
    `The field "${field}" needs state that the provider stores, which the gate does not allow: ${advice}.`,
    { param: field },
  );
}

/**
 * Refuses names of stored things, wherever they stand. A connector of OpenAI's (`connector_id`) is none: it is the same
 * for every account, and opens nothing without an authorization that the request brings.
 * @throws PortcullisError invalid_argument naming the first
 */
export function refuseReferences(json: unknown, path: string): void {
  if (Array.isArray(json)) {
    for (const [i, each] of json.entries()) refuseReferences(each, `${path}[${i}]`);
  } else if (isJsonObject(json)) {
    for (const [name, value] of Object.entries(json)) {
      if (ownNames.has(name)) continue;
      const at = `${path}.${name}`;
      if (storedNames.has(name) && (value ?? null) !== null) throw storedState(at, 'send the content itself');
      refuseReferences(value, at);
    }
  }
}
