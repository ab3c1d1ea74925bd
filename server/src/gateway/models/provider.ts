import type { ProviderType } from '../../budget/model.ts';
import type { Dialect } from '../../llm/dialect.ts';
import type { Operation } from './endpoints.ts';

export const providerKinds = ['anthropic', 'openai', 'openai-compatible', 'gemini', 'azure', 'sim'] as const;
export type ProviderKind = (typeof providerKinds)[number];

export interface UpstreamRequest {
  readonly dialect: Dialect;
  readonly operation: Operation;
  /** The id of the attempt: it goes upstream as the request id, and names the hold. */
  readonly attemptId: string;
  /** What of the client's query may pass: empty, or with its question mark. */
  readonly query: string;
  readonly body: Buffer;
  /** The client's headers that may pass (open lists of both dialects). */
  readonly headers: Readonly<Record<string, string>>;
  /** The caller's own credential, for a provider that works with it and for no other; null elsewhere. */
  readonly credential: Readonly<Record<string, string>> | null;
  /** Aborting it ends the call at once, with the reason as the error. */
  readonly signal: AbortSignal;
  /**
   * Runs in the tick of the upstream write, when the connection stands: after it money may be spent. Throwing prevents
   * the write. It is called once or never, so the caller knows whether anything was sent.
   */
  readonly beforeWrite: () => void;
}

export interface UpstreamAnswer {
  readonly status: number;
  readonly headers: UpstreamHeaders;
  readonly body: AsyncIterable<Buffer>;
  /**
   * What was not read when its reader left, or the call was ended: nothing, no more than was on its way at that moment, or
   * nobody knows how much, since the reader was behind.
   */
  readonly unread: () => 'nothing' | 'little' | 'unknown';
}

export interface Refusal {
  readonly status: number;
  readonly body: Buffer;
}

export type UpstreamHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** A backend that speaks one dialect or more. One folder a kind under `providers/`. */
export interface Provider {
  readonly name: string;
  readonly kind: ProviderKind;
  readonly type: ProviderType;
  /** The dialects that it speaks itself; the first is what others are translated to. */
  readonly dialects: readonly [Dialect, ...Dialect[]];
  /** Whose credential it is called with: the gate's own, or the caller's, whose account then pays. */
  readonly credential: 'gate' | 'caller';
  /** Whether it answers count_tokens itself. */
  readonly countsTokens: boolean;
  /** Whether it has embeddings. */
  readonly embeds: boolean;
  /** Sends a request. @throws PortcullisError upstream_error, deadline_exceeded, or the reason of the signal. */
  send(request: UpstreamRequest): Promise<UpstreamAnswer>;
  /** A refusal in the shape of its dialect, and with the status that it means. */
  refusal(status: number, body: Buffer): Refusal;
  /** Removes the provider's credential from bytes that go to a client. */
  scrub(bytes: Buffer): Buffer;
  close(): Promise<void>;
}
