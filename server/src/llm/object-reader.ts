import type { PortcullisError } from '../base/errors.ts';
import type { JsonObject } from './conversation.ts';
import type { Losses } from './losses.ts';

/**
 * Reads one JSON object member by member and remembers which were asked for, so that `close` can refuse or list all
 * the others: a field that nobody wrote code for cannot vanish. Null counts as absent, as in both vendors' APIs.
 */
export class ObjectReader {
  readonly #json: JsonObject;
  readonly #path: string;
  readonly #losses: Losses;
  readonly #read = new Set<string>();

  /** `path` is where the object stands in the body, empty for the body itself. */
  constructor(json: unknown, path: string, losses: Losses) {
    if (!isJsonObject(json)) throw losses.malformed(path, 'a JSON object');
    this.#json = json;
    this.#path = path;
    this.#losses = losses;
  }

  path(name: string): string {
    return this.#path === '' ? name : `${this.#path}.${name}`;
  }

  /** The member's value as it stands; undefined when absent or null. */
  any(name: string): unknown {
    this.#read.add(name);
    return Object.hasOwn(this.#json, name) ? (this.#json[name] ?? undefined) : undefined;
  }

  optionalString(name: string): string | null {
    const value = this.any(name);
    if (value === undefined) return null;
    if (typeof value !== 'string') throw this.malformed(name, 'a string');
    return value;
  }

  string(name: string): string {
    const value = this.optionalString(name);
    if (value === null || value === '') throw this.malformed(name, 'a string that is not empty');
    return value;
  }

  optionalNumber(name: string): number | null {
    const value = this.any(name);
    if (value === undefined) return null;
    if (typeof value !== 'number') throw this.malformed(name, 'a number');
    return value;
  }

  optionalPositiveInteger(name: string): number | null {
    const value = this.optionalNumber(name);
    if (value !== null && (!Number.isSafeInteger(value) || value < 1)) {
      throw this.malformed(name, 'a whole number above 0');
    }
    return value;
  }

  optionalBoolean(name: string): boolean | null {
    const value = this.any(name);
    if (value === undefined) return null;
    if (typeof value !== 'boolean') throw this.malformed(name, 'true or false');
    return value;
  }

  /** A list, empty when absent. */
  list(name: string): readonly unknown[] {
    const value = this.any(name) ?? [];
    if (!Array.isArray(value)) throw this.malformed(name, 'a list');
    return value;
  }

  /** A list of at most `max` strings. */
  strings(name: string, max: number): string[] {
    const list = this.list(name);
    if (list.length > max) throw this.malformed(name, `a list of ${max} at most`);
    return list.map((value, i) => {
      if (typeof value !== 'string') throw this.malformed(`${name}[${i}]`, 'a string');
      return value;
    });
  }

  optionalObject(name: string): JsonObject | null {
    const value = this.any(name);
    if (value === undefined) return null;
    if (!isJsonObject(value)) throw this.malformed(name, 'a JSON object');
    return value;
  }

  /** A reader of a member that is an object; null when absent. */
  child(name: string): ObjectReader | null {
    const value = this.any(name);
    return value === undefined ? null : new ObjectReader(value, this.path(name), this.#losses);
  }

  /** Accepts a member whose value is what the other side does anyway; any other value is left for `close` to name. */
  neutral(name: string, ...values: readonly unknown[]): void {
    const json = JSON.stringify(this.#json[name]);
    if (values.some((value) => JSON.stringify(value) === json)) this.#read.add(name);
  }

  /** Drops and lists a member that cannot change the meaning of the answer. */
  hint(name: string): void {
    if (carriesSomething(this.any(name))) this.#losses.hint(this.path(name));
  }

  malformed(name: string, expected: string): PortcullisError {
    return this.#losses.malformed(this.path(name), expected);
  }

  /** Ends the reading. @throws PortcullisError for the first member left over, unless the route allows losses. */
  close(): void {
    for (const name in this.#json) {
      if (!this.#read.has(name) && carriesSomething(this.#json[name])) this.#losses.drop(this.path(name));
    }
  }

  /** Ends the reading of an open list of members, such as a provider's answer: what is left over is listed only. */
  closeOpen(): void {
    for (const name in this.#json) {
      if (!this.#read.has(name) && carriesSomething(this.#json[name])) this.#losses.hint(this.path(name));
    }
  }
}

/** A number that is kept as its text (exact-json.ts) is an object to JavaScript alone. */
export function isJsonObject(json: unknown): json is JsonObject {
  return typeof json === 'object' && json !== null && !Array.isArray(json) && !JSON.isRawJSON(json);
}

/** False for what says nothing in either dialect: null, an empty list, an empty object, an empty string. */
function carriesSomething(value: unknown): boolean {
  if (value === undefined || value === null || value === '') return false;
  return typeof value !== 'object' || Object.keys(value).length > 0;
}
