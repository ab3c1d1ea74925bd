import { createHmac, timingSafeEqual } from 'node:crypto';
import type { DescMethod } from '@bufbuild/protobuf';
import { invalid } from '../identity/input.ts';
import type { Page, PageRequest } from '../identity/page.ts';

/** One list: what a method says of a project. */
export interface ListOf {
  readonly method: DescMethod;
  readonly projectId: string;
}

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

  /**
   * What a caller asks for.
   * @throws PortcullisError invalid_argument for a token of another list, of another project, or of nobody's
   */
  read(list: ListOf, request: { readonly pageSize: number; readonly pageToken: string }): PageRequest {
    const { pageSize, pageToken } = request;
    const cursor = pageToken === '' ? null : this.open(list, pageToken);
    if (cursor !== null || pageToken === '') return { pageSize, cursor };
    throw invalid(
      'page_token',
      'page_token is not of this list: take it unchanged from next_page_token of the page before.',
    );
  }

  /** The token of the next page; empty after the last. */
  next(list: ListOf, { nextCursor }: Page<unknown>): string {
    return nextCursor === null ? '' : this.seal(list, nextCursor);
  }

  /** Seals a place in what a method says of a project. */
  seal(list: ListOf, place: string): string {
    const cursor = Buffer.from(place);
    return Buffer.concat([this.#signature(list, cursor), cursor]).toString('base64url');
  }

  /** The place that was sealed; null for a token of another method, of another project, or of nobody's. */
  open(list: ListOf, token: string): string | null {
    const bytes = Buffer.from(token, 'base64url');
    const cursor = bytes.subarray(signatureBytes);
    const signature = bytes.subarray(0, signatureBytes);
    const isOurs = signature.length === signatureBytes && timingSafeEqual(signature, this.#signature(list, cursor));
    return isOurs ? cursor.toString() : null;
  }

  #signature({ method, projectId }: ListOf, cursor: Uint8Array): Buffer {
    // Neither names of methods nor project ids contain a zero byte, so no two lists share an input.
    return createHmac('sha256', this.#key)
      .update(`${method.parent.typeName}.${method.name}\0${projectId}\0`)
      .update(cursor)
      .digest()
      .subarray(0, signatureBytes);
  }
}

const signatureBytes = 16;
