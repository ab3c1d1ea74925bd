import { createHash } from 'node:crypto';

const digestChars = 12;

/**
 * Names that both sides accept: letters, digits, `_` and `-`, of bounded length. A legal name stays; any other becomes
 * its own cleaned start and a digest of the whole, so that the same name always maps the same way (the provider's
 * prompt cache depends on it), and maps back.
 */
export class LegalNames {
  readonly #charsMax: number;
  readonly #originals = new Map<string, string>();

  constructor(charsMax: number) {
    this.#charsMax = charsMax;
  }

  legal(name: string): string {
    if (name.length <= this.#charsMax && /^[a-zA-Z0-9_-]+$/.test(name)) return name;
    const digest = createHash('sha256').update(name).digest('hex').slice(0, digestChars);
    const start = name.replaceAll(/[^a-zA-Z0-9_-]/g, '_').slice(0, this.#charsMax - digestChars - 1);
    const legal = `${start}_${digest}`;
    this.#originals.set(legal, name);
    return legal;
  }

  /** The name that `legal` was made from, or `legal` itself. */
  original(legal: string): string {
    return this.#originals.get(legal) ?? legal;
  }
}
