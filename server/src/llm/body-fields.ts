import { PortcullisError } from '../base/errors.ts';
import { modelNameCharsMax, smallFieldBytesMax } from '../base/limits.ts';
import { type JsonKind, type Member, type ScannedBody, readBoolean, readNumber, readString } from './json-scan.ts';

/**
 * The top-level fields that the gate reads, each by its range in the body. Null counts as absent, as in both vendors'
 * APIs. A wrong type is refused by name, never coerced: another parser might coerce it differently.
 */
export class BodyFields {
  readonly #body: Buffer;
  readonly #scanned: ScannedBody;

  /**
   * `names` are all fields that the dialect's facts read.
   * @throws PortcullisError invalid_argument for a spelling of one of them in other letter cases: parsers that ignore case
   * (Go's encoding/json) would take it for the field, and we would not
   */
  constructor(body: Buffer, scanned: ScannedBody, names: ReadonlySet<string>) {
    this.#body = body;
    this.#scanned = scanned;
    for (const name of scanned.members.keys()) {
      const folded = name.toUpperCase().toLowerCase();
      if (folded === name || !names.has(folded)) continue;
      throw new PortcullisError('invalid_argument', `The field "${name}" must be written "${folded}".`, {
        param: name,
      });
    }
  }

  /** @throws PortcullisError invalid_argument */
  model(): { readonly model: string; readonly modelRange: Member } {
    const modelRange = this.#member('model', 'string', 'a string');
    const model = modelRange ? readString(this.#body, modelRange) : '';
    if (!modelRange || model === '')
      throw refusal('model', 'The field "model" is missing: it names the model to call.');
    requireModelName(model, 'model');
    return { model, modelRange };
  }

  string(name: string): string | null {
    const member = this.#member(name, 'string', 'a string');
    return member && readString(this.#body, member);
  }

  boolean(name: string): boolean | null {
    const member = this.#member(name, 'boolean', 'true or false');
    return member && readBoolean(this.#body, member);
  }

  /** A whole number that is at least `min`. */
  integer(name: string, min: number): number | null {
    const expected = `a whole number of at least ${min}`;
    const member = this.#member(name, 'number', expected);
    if (!member) return null;
    const value = readNumber(this.#body, member);
    if (!Number.isSafeInteger(value) || value < min) throw wrongType(name, expected);
    return value;
  }

  /** The number of elements of a list, 0 where it is absent. */
  length(name: string): number {
    return this.#member(name, 'array', 'a list')?.count ?? 0;
  }

  /** The whole value of a small field; larger ones are refused, since a request can hold more than is worth parsing. */
  json(name: string): unknown {
    const member = this.#scanned.members.get(name);
    if (member && member.end - member.start > smallFieldBytesMax) {
      throw refusal(name, `The field "${name}" may have ${smallFieldBytesMax} bytes at most.`);
    }
    return member && (JSON.parse(this.#body.toString('utf8', member.start, member.end)) as unknown);
  }

  has(name: string): boolean {
    return (this.#scanned.members.get(name)?.kind ?? 'null') !== 'null';
  }

  #member(name: string, kind: JsonKind, expected: string): Member | null {
    const member = this.#scanned.members.get(name);
    if (!member || member.kind === 'null') return null;
    if (member.kind !== kind) throw wrongType(name, expected);
    return member;
  }
}

/**
 * Refuses a name that looks like another one, which a rule or a limit may be about.
 * @throws PortcullisError invalid_argument, naming `field`
 */
export function requireModelName(model: string, field: string): void {
  if (model.length <= modelNameCharsMax && !/[\s\p{C}]/u.test(model)) return;
  throw refusal(
    field,
    `The model's name must have ${modelNameCharsMax} characters at most, and neither white space nor invisible characters.`,
  );
}

/** A refusal of `field`, which must be `expected`. */
export function wrongType(field: string, expected: string): PortcullisError {
  return refusal(field, `The field "${field}" must be ${expected}.`);
}

function refusal(param: string, sentence: string): PortcullisError {
  return new PortcullisError('invalid_argument', sentence, { param });
}

/** A set of the names in `text`, which white space parts. */
export function nameSet(text: string): ReadonlySet<string> {
  return new Set(text.trim().split(/\s+/));
}

/** Whether every string that the body has in a `type` is one of `known`: then it holds nothing but what they name. */
export function hasOnlyTypes({ sightings }: ScannedBody, known: ReadonlySet<string>): boolean {
  const types = sightings.get('type');
  return types === undefined || (types.complete && types.values.isSubsetOf(known));
}

/** Whether a cache lifetime that costs more than the usual one may be asked for (Anthropic's 1h, OpenAI's 12h). */
export function hasLongTtl({ sightings }: ScannedBody): boolean {
  const ttl = sightings.get('ttl');
  return ttl !== undefined && !(ttl.complete && ttl.values.isSubsetOf(shortTtls));
}

const shortTtls: ReadonlySet<string> = new Set(['5m', '30m']);
