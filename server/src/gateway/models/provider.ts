import { type ErrorCode, type ErrorOptions, PortcullisError } from '../../base/errors.ts';
import type { ProviderType } from '../../budget/model.ts';
import type { Dialect } from '../../llm/dialect.ts';
import type { Operation } from './endpoints.ts';

export const providerKinds = ['anthropic', 'openai', 'openai-compatible', 'sim'] as const;
export type ProviderKind = (typeof providerKinds)[number];

export interface UpstreamRequest {
  readonly dialect: Dialect;
  readonly operation: Operation;
  /** The id of the attempt: it goes upstream as the request id, and names the hold. */
  readonly attemptId: string;
  readonly body: Buffer;
  /** The client's headers that may pass (open lists of both dialects). */
  readonly headers: Readonly<Record<string, string>>;
  /** Aborting it ends the call at once, with the reason as the error. */
  readonly signal: AbortSignal;
  /**
   * Runs in the tick of the upstream write, after which money may be spent; throwing prevents the write. It is called
   * exactly once or never, so the caller knows whether anything was sent.
   */
  readonly beforeWrite: () => void;
}

export interface UpstreamAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: AsyncIterable<Buffer>;
}

/** A backend that speaks one dialect or more. One folder a kind under `providers/`. */
export interface Provider {
  readonly name: string;
  readonly kind: ProviderKind;
  readonly type: ProviderType;
  /** The dialects that it speaks itself; the first is what others are translated to. */
  readonly dialects: readonly Dialect[];
  /** Whether it answers count_tokens itself. */
  readonly countsTokens: boolean;
  /** Sends a request. @throws PortcullisError upstream_error, deadline_exceeded, or the reason of the signal. */
  send(request: UpstreamRequest): Promise<UpstreamAnswer>;
  /** Removes the provider's credential from a body that goes to a client. */
  scrub(body: Buffer): Buffer;
  close(): Promise<void>;
}

/** A call that the provider did not answer. `sent` is false when no byte of the request left, so nothing was spent. */
export class UpstreamFailure extends PortcullisError {
  readonly sent: boolean;

  constructor(code: ErrorCode, message: string, sent: boolean, options: ErrorOptions) {
    super(code, message, options);
    this.sent = sent;
  }
}
