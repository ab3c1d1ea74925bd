import { createHmac, timingSafeEqual } from 'node:crypto';
import type { DescMethod } from '@bufbuild/protobuf';
import { PortcullisError } from '../base/errors.ts';

/**
 * Seals the cursors of lists: a token says where the next page begins, holds for one method and one project, and
 * cannot be made by a caller. It is signed, not encrypted: a cursor holds nothing that its page did not show.
 */
export class PageTokens {
  readonly #key: Uint8Array;

  /** @param key 32 bytes or more, the same on every replica */
  constructor(key: Uint8Array) {
    this.#key = key;
  }

  seal(method: DescMethod, projectId: string, cursor: string): string {
    const signed = Buffer.from(cursor);
    return Buffer.concat([this.#signature(method, projectId, signed), signed]).toString('base64url');
  }

  /** @throws PortcullisError invalid_argument for a token of another list, of another project, or of nobody's */
  open(method: DescMethod, projectId: string, token: string): string {
    const bytes = Buffer.from(token, 'base64url');
    const cursor = bytes.subarray(signatureBytes);
    const signature = bytes.subarray(0, signatureBytes);
    const expected = this.#signature(method, projectId, cursor);
    if (signature.length !== signatureBytes || !timingSafeEqual(signature, expected)) {
      throw new PortcullisError(
        'invalid_argument',
        'page_token does not belong to this list: take it from next_page_token of the page before, unchanged.',
        { param: 'page_token' },
      );
    }
    return cursor.toString();
  }

  #signature(method: DescMethod, projectId: string, cursor: Uint8Array): Buffer {
    // Neither names of methods nor project ids contain a zero byte, so no two lists share an input.
    return createHmac('sha256', this.#key)
      .update(`${method.parent.typeName}.${method.name}\0${projectId}\0`)
      .update(cursor)
      .digest()
      .subarray(0, signatureBytes);
  }
}

const signatureBytes = 16;
