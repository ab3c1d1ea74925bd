import { openSecret, type SealingKey, sealSecret } from '../../base/sealed-secret.ts';

/** Bodies as they are stored: sealed for the id of their event, where their source says so. */
export class Bodies {
  readonly #key: SealingKey;

  constructor(key: SealingKey) {
    this.#key = key;
  }

  store(eventId: string, body: Buffer, seal: boolean): Buffer {
    return seal ? sealSecret(this.#key, body, `webhook body ${eventId}`) : body;
  }

  /** @returns null for what was sealed under another key, or damaged */
  open(eventId: string, stored: Buffer, sealed: boolean): Buffer | null {
    return sealed ? openSecret(this.#key, stored, `webhook body ${eventId}`) : stored;
  }
}
